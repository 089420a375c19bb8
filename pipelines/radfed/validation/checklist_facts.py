"""What a report and its release say, as answers to the items of reporting checklists.

A fact is there only if it is known. Each names where it is found: a heading of the report, or a file of the release.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from radfed.task import OutcomeTask, SegmentationTask, Survival, TaskSpec
from radfed.validation.background import Background
from radfed.validation.history import History
from radfed.validation.results import Split
from radfed.validation.wording import SPLITS, listed, plural, spoken

ENVIRONMENT, JOB = "training/environment.txt", "training/job.json"


@dataclass(frozen=True)
class Seen:
    """What the report shows.

    Attributes:
        cases: number of them.
        patients: number of them.
        sites: their sites.
        split: which cases.
        history: of the training, if known.
        traits: characteristics by which groups are compared, without the site.
        pictures: whether failures are shown in pictures.
        decision_curve: whether there is one.
    """

    cases: int
    patients: int
    sites: tuple[str, ...]
    split: Split
    history: History | None
    traits: tuple[str, ...]
    pictures: bool
    decision_curve: bool


def checklist_facts(given: Background, task: TaskSpec, seen: Seen) -> dict[str, str]:
    """Answers by name, see ``checklists/``."""
    return _of_report(given, task, seen) | _of_task(task) | _of_training(given, seen)


def _of_report(given: Background, task: TaskSpec, seen: Seen) -> dict[str, str]:
    found = {
        "summary": "Summary.",
        "intended_use": f"Intended use and its limits: {task.intended_use}",
        "limitations": "Intended use and its limits.",
        "objective": f"Evaluation of a trained model: {task.description} Scored on {SPLITS[seen.split]}.",
        "sites": f"{plural(len(seen.sites), 'site')}: {listed(seen.sites)}.",
        "size": f"{plural(seen.cases, 'case')} of {plural(seen.patients, 'patient')}; intervals in Results.",
        "pseudonyms": "Cases and patients are known by pseudonyms alone; the report holds no name, date or place.",
        "partition": "By a hash of the patient's pseudonym, before training.",
        "partition_level": "Patient: all scans of a patient are in one split.",
        "metrics": "Results; Methods and words.",
        "uncertainty": "95% intervals by patient within site; which kind stands in Methods and words.",
        "performance": "Results.",
        "data_stay": "No scan or record left its site; the sites hold them.",
        "updating": "The model was not changed after the evaluation.",
        "prediction": "The exported model.onnx of the release answered every case (Identity).",
        "interaction": "None: an input goes in, an answer comes out; what it is used for is a reader's decision.",
    }
    if len(seen.sites) > 1:
        found["heterogeneity"] = "Results and Subgroups, by site."
    if given.flow:
        found["flow"] = "Where the cases went."
        found["exclusions"] = "Automatic checks; what was refused, and why: Where the cases went."
    if seen.traits:
        found["subgroups"] = f"Subgroups: {listed(seen.traits)}."
    known = [name for name in seen.traits if name in ("sex", "age")]
    if known:
        found["demographics"] = f"Test cases by {listed(known)}: Subgroups."
    if seen.decision_curve:
        found["utility"] = "Decision curve."
    if seen.pictures:
        found["failures"] = "Pictures: failures, and a random sample; Case by case."
    if given.model_digest:
        found["release"] = f"Release {task.name} {task.version}, model.onnx with SHA-256 {given.model_digest[:16]}..."
    for name, path, what in (("environment", ENVIRONMENT, "every package and version"), ("job", JOB, "all settings")):
        if path in given.release_files:
            found[name] = f"{path} of the release: {what}."
    return found


def _of_task(task: TaskSpec) -> dict[str, str]:
    contract = "task.yaml of the release, and in model.onnx itself"
    found = {"preprocessing": f"One implementation for training and use; its settings: {contract}."}
    if isinstance(task, SegmentationTask):
        channels = task.channels
        network: str = task.network.name
        found |= {
            "reference": f"Masks drawn at the sites: {listed([spoken(label.name) for label in task.labels])}.",
            "output": "A mask a structure on the scanner's own grid; each voxel is the likeliest class.",
            "missing": "A case without one of its channels is refused.",
            "imbalance": f"Loss {task.loss}; {contract}.",
            "predictors": f"The image alone: {listed([spoken(one.name) for one in channels])}.",
        }
    elif isinstance(task, OutcomeTask):
        channels = task.image.channels if task.image is not None else ()
        network = task.network.encoder.name if task.network.encoder is not None else "a network without image"
        names = [spoken(one.name) for one in (*channels, *task.covariates)]
        survival = isinstance(task.outcome, Survival)
        found |= {
            "reference": f"What the sites recorded: {listed([spoken(name) for name in task.finds])}.",
            "output": "A log hazard, by which cases are ordered." if survival
            else "A probability for each answer; the operating point stands in Results.",
            "missing": "A value that is missing is given to the network as missing; a case without a required one "
            "is refused.",
            "predictors": f"{len(names)}: {listed(names)}.",
        }  # fmt: skip
        if task.class_weights is not None:
            found["imbalance"] = f"Weights of classes in the loss: {contract}."
        if not survival:
            found["diagnostic"] = "Results: areas, and shares at the operating point."
    else:
        return found
    found["model"] = f"{network}; {contract}; weights in model.safetensors."
    found["method"] = f"A neural network, trained federated ({network})."
    found["poor_input"] = f"What does not fit the contract's limits is refused with a reason; {contract}."
    if channels:
        modalities = sorted({channel.modality for channel in channels})
        found["channels"] = f"How channels are found among a study's series: {contract}."
        found["acquisition"] = f"Modality {listed(modalities)}; makers under Subgroups where they are recorded."
    return found


def _of_training(given: Background, seen: Seen) -> dict[str, str]:
    history = seen.history
    if history is None:
        return {}
    took_part = {site.site for site in history.sites}
    inside: Sequence[str] = [site for site in seen.sites if site in took_part]
    outside = [site for site in seen.sites if site not in took_part]
    found = {
        "training": f"Training: {plural(history.rounds, 'round')} at {plural(len(took_part), 'site')}.",
        "ensembling": "None: one network, whose weights are means of the sites' in every round.",
    }
    if history.best_round is not None:
        found["selection"] = f"Training: round {history.best_round} scored best on the sites' validation cases."
    if inside:
        found["internal"] = f"Results: {listed(inside)}, which took part in training; {SPLITS[seen.split]}."
    if outside:
        found["external"] = f"Results: {listed(outside)}, which took no part in training."
    return found
