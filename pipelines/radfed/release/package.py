"""A run folder to a release: everything another clinic needs to run, check and rebuild the model, or nothing at all."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from radfed.errors import GateError, InvalidInputError
from radfed.inference.model import OnnxModel
from radfed.inference.opened import MODEL
from radfed.inference.operating import OPERATING
from radfed.job import Job
from radfed.ledger import final_of, read_ledger
from radfed.metrics.pooling import FederatedEvaluation
from radfed.release.card import model_card
from radfed.release.cases import GivenCase
from radfed.release.conformance import synthetic_cases, write_vectors
from radfed.release.export import export_onnx
from radfed.release.facts import TrainingFacts, training_facts
from radfed.release.metadata import bundle_metadata, installed_packages
from radfed.release.outcome_conformance import write_outcome_vectors
from radfed.release.outcome_parity import OutcomeParityReport, check_outcome_parity
from radfed.release.parity import ParityReport, check_parity
from radfed.release.seal import check_sums, seal
from radfed.task import OutcomeTask, SegmentationTask
from radfed.weights import load_weights, save_weights, weights_digest

WEIGHTS, TASK, METADATA, CARD = "model.safetensors", "task.yaml", "metadata.json", "README.md"
TRAINING, EVALUATION, CONFORMANCE = "training", "evaluation", "conformance"
PARITY, FEDERATED = f"{EVALUATION}/parity.json", f"{EVALUATION}/federated.json"
METRICS = f"{EVALUATION}/metrics.json"
"""Added later, by who scored the release."""
RUN_EVALUATION = "evaluation.json"
"""In a run folder: the sites' test scores, pooled by the server."""
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class _Run:
    """A run that may be released."""

    folder: Path
    job: Job
    facts: TrainingFacts
    weights: dict[str, NDArray[Any]]
    digest: str
    evaluation: FederatedEvaluation | None


def build_release(
    run: Path,
    out: Path,
    cases: Sequence[GivenCase] = (),
    version: str | None = None,
    phantom: bool = False,
    dicom: Sequence[Path] = (),
    datasets: Sequence[Path] = (),
) -> Path:
    """Package the best model of a run as ``<out>/<task>-<version>/``.

    Args:
        run: what ``radfed job simulate`` wrote.
        out: the folder in which the release's folder is made.
        cases: cases for the parity check of whole cases; without any, made-up ones alone.
        version: of the release; None takes the task's.
        phantom: whether the model was trained on made-up data; a task that says so of itself counts too.
        dicom: folders of DICOM files for the parity check from the files on; without any, made-up ones alone.
        datasets: prepared datasets whose validation cases fix the operating point of an outcome task.

    Returns:
        The release's folder. On any error nothing is left behind.

    Raises:
        InvalidInputError: the run is incomplete, the version is malformed, or the release is already there.
        GateError: the run failed, its model is not the one in its ledger, or parity was not reached.
    """
    opened = _read_run(run)
    task = opened.job.task
    version = version or task.version
    if not _VERSION.fullmatch(version):
        raise InvalidInputError(f"a release's version must be like 1.0.0, got {version!r}")
    name = f"{task.name}-{version}"
    target = out / name
    if target.exists():
        raise InvalidInputError(f"{target}: is already there; give another version, or move it away")
    out.mkdir(parents=True, exist_ok=True)
    stage = out / f".{name}.{secrets.token_hex(4)}"
    stage.mkdir()
    try:
        parity = _write_model(stage, opened, cases, dicom)
        _fill(stage, opened, parity, version, phantom or _says_phantom(task), datasets)
        seal(stage)
        os.rename(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return target


def add_evaluation(release: Path, files: Mapping[str, Path]) -> None:
    """Copy files into ``evaluation/`` and seal the release again.

    Args:
        release: a sealed release whose files are as listed.
        files: by the path that each gets inside ``evaluation/``, for example ``metrics.json``.

    Raises:
        InvalidInputError: a name leads out of ``evaluation/`` or is ``parity.json``, or a file is missing.
        GateError: the release is not as its list says; sealing it again would bless the change.
    """
    for name, source in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or ".." in path.parts or path.as_posix() != name or "\n" in name:
            raise InvalidInputError(f"evaluation file names are relative paths like metrics.json, got {name!r}")
        if name == "parity.json":
            raise InvalidInputError("parity.json is the gate's own report and is not replaced; give another name")
        if not source.is_file():
            raise InvalidInputError(f"{source}: is no file")
    check_sums(release)
    for name, source in files.items():
        target = release / EVALUATION / name
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            shutil.copyfile(source, beside)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    seal(release)


def _read_run(run: Path) -> _Run:
    if not (run / "job.json").is_file():
        raise InvalidInputError(f"{run}: holds no job.json; give a folder that 'radfed job simulate' wrote")
    job = Job.read_json(run / "job.json")
    lines = read_ledger(run / "ledger.jsonl")
    final = final_of(lines)
    if final is None:
        raise GateError("the run's ledger has no final line, so the run did not end; run the job again")
    if final.outcome == "FAILED":
        raise GateError("the run FAILED by its ledger; only a COMPLETED or DEGRADED run can be released")
    weights = load_weights(run / "best.safetensors")
    digest = weights_digest(weights)
    if digest != final.digest:
        raise GateError(
            f"best.safetensors is not the model in the ledger: its digest is {digest[:12]}, "
            f"the ledger's last line says {str(final.digest)[:12]}; run the job again"
        )
    return _Run(run, job, training_facts(lines, final), weights, digest, _evaluation(run / RUN_EVALUATION, digest))


def _evaluation(path: Path, digest: str) -> FederatedEvaluation | None:
    """What the sites' test cases say of the model, if they were asked."""
    if not path.is_file():
        return None
    evaluation = FederatedEvaluation.read(path)
    if evaluation.model != digest:
        raise GateError(f"{path.name} is of another model ({evaluation.model[:12]}); run the job again")
    return evaluation


def _fill(
    stage: Path,
    run: _Run,
    parity: ParityReport | OutcomeParityReport,
    version: str,
    phantom: bool,
    datasets: Sequence[Path],
) -> None:
    # Statistics take a second to import, and who verifies a release needs names from here only.
    from radfed.release.operating import find_thresholds

    task = run.job.task
    (stage / TASK).write_text(task.to_yaml(), encoding="utf-8")
    (stage / EVALUATION).mkdir()
    (stage / PARITY).write_text(parity.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if run.evaluation is not None:
        (stage / FEDERATED).write_text(run.evaluation.model_dump_json(indent=1) + "\n", encoding="utf-8")
    model = OnnxModel.load(stage / MODEL)
    operating = find_thresholds(model, datasets) if isinstance(task, OutcomeTask) else None
    if operating is not None:
        (stage / OPERATING).write_text(operating.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if isinstance(task, OutcomeTask):
        write_outcome_vectors(stage / CONFORMANCE, model, operating.thresholds if operating else {})
    else:
        write_vectors(stage / CONFORMANCE, model)
    _write_training(stage / TRAINING, run)
    _write_json(stage / METADATA, bundle_metadata(task, version, phantom))
    card = model_card(task, version, run.facts, parity, phantom, run.evaluation, operating)
    (stage / CARD).write_text(card, encoding="utf-8")


def _write_model(
    stage: Path, run: _Run, cases: Sequence[GivenCase], dicom: Sequence[Path]
) -> ParityReport | OutcomeParityReport:
    """Write both forms of the model and let them pass the gate."""
    import torch

    from radfed.training.networks import build_network

    task, path = run.job.task, stage / MODEL
    network = build_network(task, run.job.job.training.seed)
    try:
        network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in run.weights.items()})
    except RuntimeError as error:
        raise GateError(f"best.safetensors does not fit the task's {task.network.name}: {str(error)[:300]}") from error
    save_weights(stage / WEIGHTS, run.weights)
    export_onnx(network, task, path, run.digest)
    if isinstance(task, OutcomeTask):
        return check_outcome_parity(network, path, task, cases, dicom)
    volumes = tuple(case.volume for case in cases if case.volume is not None)
    return check_parity(network, path, task, volumes or synthetic_cases(task), dicom)


def _write_training(folder: Path, run: _Run) -> None:
    folder.mkdir()
    run.job.write_json(folder / "job.json")
    shutil.copyfile(run.folder / "ledger.jsonl", folder / "ledger.jsonl")
    (folder / "history.json").write_text(run.facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "environment.txt").write_text(installed_packages(), encoding="utf-8")


def _says_phantom(task: SegmentationTask | OutcomeTask) -> bool:
    return "phantom" in f"{task.name} {task.description}".lower()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
