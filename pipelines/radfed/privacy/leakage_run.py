"""A run or a release on the datasets it was trained on: what ``radfed audit leakage`` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from radfed.dataset.layout import Dataset
from radfed.errors import GateError, InvalidInputError
from radfed.inference.opened import MODEL, listed_file, open_model
from radfed.job import Job
from radfed.ledger import Line, SiteLine, final_of, read_ledger
from radfed.privacy.leakage import Leakage, LeakagePolicy, Model, pool_leakage, site_leakage
from radfed.privacy.leakage_scores import Progress
from radfed.weights import load_weights, weights_digest

JOB, LEDGER, WEIGHTS = "job.json", "ledger.jsonl", "best.safetensors"
_TRAINING = "training"


class NotTrainedError(InvalidInputError):
    """The model was not trained on the dataset."""

    reason = "not_trained_on"


@dataclass(frozen=True)
class Audited:
    """What is audited.

    Attributes:
        model: the one that would be, or was, released.
        job: how it was trained.
        trained: of each site in the ledger, the numbers of training cases that it said it had.
    """

    model: Model
    job: Job
    trained: Mapping[str, frozenset[int]]


def audit_leakage(
    audited: Audited,
    datasets: Mapping[str, Dataset],
    policy: LeakagePolicy | None = None,
    on_progress: Progress | None = None,
    shadows: int = 0,
    inversion: int = 0,
) -> Leakage:
    """Attack a model with the patients of sites that it was trained on.

    Args:
        audited: from ``open_audited``.
        datasets: by site, as they were when the model was trained.
        policy: what is measured and allowed; None takes the defaults.
        on_progress: called as cases are done, site by site.
        shadows: models to train for the attack ``lira``; 0 leaves it out.
        inversion: iterations of the attack on updates; 0 leaves it out.

    Raises:
        InvalidInputError: there is no dataset, or one is not that of a site that took part.
        DataError: a case cannot be used with the task.
    """
    if not datasets:
        raise InvalidInputError("give the prepared dataset of at least one site that took part in training")
    for site, dataset in datasets.items():
        check_trained(site, dataset, audited.trained)
    more: Mapping[str, Mapping[str, float]] = {}
    if shadows:
        from radfed.privacy.shadow import shadow_scores

        more = shadow_scores(audited.model, audited.job, datasets, shadows, on_progress)
    reports = {
        site: site_leakage(
            audited.model, dataset, policy, on_progress, {"lira": more[site]} if site in more else None
        )
        for site, dataset in sorted(datasets.items())
    }  # fmt: skip
    found = None
    if inversion:
        from radfed.privacy.inversion import invert_updates

        found = invert_updates(audited.job, datasets, inversion)
    return pool_leakage(reports, tuple(audited.trained), shadows=shadows, inversion=found)


def open_audited(folder: Path) -> Audited:
    """Open a run (``job.json``, ``best.safetensors``) or a release (``model.onnx``).

    Raises:
        InvalidInputError: it is neither.
        GateError: the model is not the one in the ledger, or not the one that the release lists.
    """
    if (folder / JOB).is_file():
        return _open_run(folder)
    if (folder / MODEL).is_file():
        return open_release(folder)
    raise InvalidInputError(
        f"{folder}: holds neither {JOB} nor {MODEL}; give a folder that 'radfed job simulate' or 'radfed release "
        "build' wrote"
    )


def open_release(folder: Path, threads: int | None = None) -> Audited:
    """Open a release.

    Args:
        folder: of the release.
        threads: CPU threads of its model; None takes all cores.

    Raises:
        InvalidInputError: it lists no model, no job or no ledger.
        GateError: one of them is not the one that it lists, or the model is not the one in the ledger.
    """
    lines = read_ledger(listed_file(folder, f"{_TRAINING}/{LEDGER}"))
    job = Job.read_json(listed_file(folder, f"{_TRAINING}/{JOB}"))
    model = open_model(folder, threads)
    _check_digest(model.weights_digest, lines)
    return Audited(model, job, _trained(lines))


def _open_run(folder: Path) -> Audited:
    from radfed.privacy.torch_model import TorchModel

    job, lines = Job.read_json(folder / JOB), read_ledger(folder / LEDGER)
    weights = load_weights(folder / WEIGHTS)
    model = TorchModel.of(job.task, weights, weights_digest(weights))
    _check_digest(model.weights_digest, lines)
    return Audited(model, job, _trained(lines))


def _check_digest(digest: str, lines: list[Line]) -> None:
    final = final_of(lines)
    if final is None or final.digest != digest:
        said = "no final line" if final is None else str(final.digest)[:12]
        raise GateError(f"the model ({digest[:12]}) is not the one in its ledger ({said}); run the job again")


def _trained(lines: list[Line]) -> dict[str, frozenset[int]]:
    counts: dict[str, set[int]] = {}
    for line in lines:
        if isinstance(line, SiteLine) and line.accepted and line.weight is not None:
            counts.setdefault(line.site, set()).add(int(line.weight))
    return {site: frozenset(found) for site, found in counts.items()}


def check_trained(site: str, dataset: Dataset, trained: Mapping[str, frozenset[int]]) -> None:
    """Patients who were never trained on would be members that no attack finds: a pass for nothing.

    Args:
        site: as the ledger would name it.
        dataset: the site's.
        trained: see ``Audited``.

    Raises:
        NotTrainedError: the site took no part, or not with this dataset.
    """
    if site not in trained:
        raise NotTrainedError(
            f"{site}: took no part in this training; by the ledger these did: {', '.join(sorted(trained))}. "
            "If the site is called otherwise in its dataset, give --dataset SITE=DIR"
        )
    cases = len(dataset.split("training"))
    if cases not in trained[site]:
        said = ", ".join(str(count) for count in sorted(trained[site]))
        raise NotTrainedError(
            f"{site}: the dataset has {cases} training case(s), by the ledger the site trained on {said}; "
            "give the dataset that the model was trained on"
        )
