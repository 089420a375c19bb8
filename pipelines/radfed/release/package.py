"""A run folder to a release: everything another clinic needs to run, check and rebuild the model, or nothing at all."""

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from radfed.errors import GateError, InvalidInputError
from radfed.inference.model import OnnxModel
from radfed.inference.opened import MODEL
from radfed.inference.operating import OPERATING
from radfed.job import Job
from radfed.ledger import final_of, read_ledger
from radfed.metrics.pooling import FederatedEvaluation
from radfed.metrics.signed import ROOT, check_statements
from radfed.metrics.signed import SITES as RUN_SITES
from radfed.privacy.leakage_file import LEAKAGE as LEAKAGE_FILE
from radfed.privacy.leakage_file import read_leakage
from radfed.release.bundle import inference_config
from radfed.release.cases import GivenCase
from radfed.release.code import code_facts
from radfed.release.conformance import synthetic_cases, write_vectors
from radfed.release.contents import privacy_of
from radfed.release.derived import as_json, finish
from radfed.release.export import export_onnx
from radfed.release.facts import TrainingFacts, training_facts
from radfed.release.layout import (
    BUNDLE_METADATA,
    CODE,
    CONFIGS,
    CONFORMANCE,
    ENVIRONMENT,
    EVALUATION,
    FEDERATED,
    HISTORY,
    INFERENCE,
    JOB,
    LEAKAGE,
    LEDGER,
    METADATA,
    PARITY,
    PRIVACY,
    SITES,
    TASK,
    TRAINING,
    WEIGHTS,
)
from radfed.release.metadata import bundle_metadata, installed_packages
from radfed.release.outcome_conformance import write_outcome_vectors
from radfed.release.outcome_parity import OutcomeParityReport, check_outcome_parity
from radfed.release.parity import ParityReport, check_parity
from radfed.release.signing import check_key, write_signature
from radfed.task import OutcomeTask, SegmentationTask
from radfed.weights import load_weights, save_weights, weights_digest

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
    key: Path | None = None,
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
        key: signs the release; None leaves it unsigned.

    Returns:
        The release's folder. On any error nothing is left behind.

    Raises:
        InvalidInputError: the run is incomplete, the version is malformed, the release is already there, or the key
            cannot sign.
        GateError: the run failed, its model is not the one in its ledger, or parity was not reached.
    """
    if key is not None:
        check_key(key)
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
        finish(stage)
        if key is not None:
            write_signature(stage, key)
        os.rename(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return target


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


def _copy_statements(source: Path, target: Path, evaluation: FederatedEvaluation) -> None:
    """Copy what the sites signed, if they had keys, once it is what the evaluation was made from."""
    if not source.is_dir():
        return
    found = check_statements(source, evaluation)
    if found.problems:
        raise GateError(f"the sites' signed scores do not bear the evaluation: {'; '.join(found.problems[:5])}")
    target.mkdir()
    for name in (ROOT, *(f"{site}.json" for site in found.sites)):
        if (source / name).is_symlink():
            raise GateError(f"{RUN_SITES}/{name} of the run is a link; put the file itself there")
        shutil.copyfile(source / name, target / name)


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
        _copy_statements(run.folder / RUN_SITES, stage / SITES, run.evaluation)
    model = OnnxModel.load(stage / MODEL)
    operating = find_thresholds(model, datasets) if isinstance(task, OutcomeTask) else None
    if operating is not None:
        (stage / OPERATING).write_text(operating.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if isinstance(task, OutcomeTask):
        write_outcome_vectors(stage / CONFORMANCE, model, operating.thresholds if operating else {})
    else:
        write_vectors(stage / CONFORMANCE, model)
    _write_training(stage, run)
    _copy_evidence(stage, run)
    text = as_json(bundle_metadata(task, version, phantom))
    (stage / CONFIGS).mkdir()
    for name in (METADATA, BUNDLE_METADATA):
        (stage / name).write_text(text, encoding="utf-8")
    (stage / INFERENCE).write_text(as_json(inference_config(task)), encoding="utf-8")


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


def _write_training(stage: Path, run: _Run) -> None:
    (stage / TRAINING).mkdir()
    run.job.write_json(stage / JOB)
    shutil.copyfile(run.folder / "ledger.jsonl", stage / LEDGER)
    (stage / HISTORY).write_text(run.facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (stage / ENVIRONMENT).write_text(installed_packages(), encoding="utf-8")
    (stage / CODE).write_text(code_facts().model_dump_json(indent=1) + "\n", encoding="utf-8")


def _copy_evidence(stage: Path, run: _Run) -> None:
    """What the ledger shows of privacy spent, and the run's audit of leakage, if it is of this model."""
    spent = privacy_of(run.job, read_ledger(stage / LEDGER))
    if spent is not None:
        (stage / PRIVACY).write_text(spent.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if (run.folder / LEAKAGE_FILE).is_file():
        read_leakage(run.folder / LEAKAGE_FILE, run.digest)
        shutil.copyfile(run.folder / LEAKAGE_FILE, stage / LEAKAGE)


def _says_phantom(task: SegmentationTask | OutcomeTask) -> bool:
    return "phantom" in f"{task.name} {task.description}".lower()
