"""The claims about content: each function checks one, says what it saw, and raises ``GateError`` where it is false."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radfed.errors import GateError
from radfed.imaging.nifti import read_image, read_label
from radfed.inference.checksums import file_digest
from radfed.inference.opened import MODEL
from radfed.inference.segment import segment
from radfed.ledger import FinalLine, Line, RoundLine, answers_of, conclude, read_ledger, required_of
from radfed.metrics.pooling import FederatedEvaluation
from radfed.release.conformance import CASES, VECTORS
from radfed.release.contents import contract_of, job_of, read_json
from radfed.release.dicom_parity import DISTANCE_TOLERANCE_MM
from radfed.release.layout import CONFORMANCE, FEDERATED, METADATA, METRICS, PARITY, TASK, TRAINING, WEIGHTS
from radfed.release.metadata import network_data_format
from radfed.release.parity import DISAGREEMENT_TOLERANCE, LOGIT_TOLERANCE, ParityReport, torch_predictor
from radfed.release.reading import NotVerifiableError, Release
from radfed.release.travelling import check_travels
from radfed.weights import load_weights, weights_digest

if TYPE_CHECKING:
    import torch

# Means are written with all their digits; adding them up in another order may change the last.
_ROUNDING = 1e-9


def check_contract(release: Release) -> str:
    """``task.yaml`` and the job's task equal the contract inside ``model.onnx``."""
    task = contract_of(release)
    job = job_of(release)
    for where, other in ((MODEL, release.model.task), (f"{TRAINING}/job.json", job.task)):
        if other.digest != task.digest:
            raise GateError(f"{TASK} is {task.digest[:12]}, the contract in {where} is {other.digest[:12]}")
    return f"contract {task.digest[:12]}"


def check_metadata(release: Release) -> str:
    """``metadata.json`` names the task and says what goes in and out as the contract does."""
    content = read_json(release, METADATA)
    task = contract_of(release)
    if content["name"] != task.name:
        raise GateError(f"names the task {content['name']!r:.80}, the contract is {task.name!r}")
    if content["network_data_format"] != network_data_format(task):
        raise GateError("network_data_format does not follow from the contract")
    return f"version {content['version']}"


def check_ledger(release: Release) -> str:
    """The last line of the ledger follows from the lines before it, and the run did not fail."""
    path = release.file(f"{TRAINING}/ledger.jsonl")
    lines = read_ledger(path)
    written = [text for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]
    if len(lines) != len(written):
        raise GateError(f"line {len(lines) + 1} is not readable")
    before, final = _final(lines)
    if final.outcome == "FAILED":
        raise GateError("the run FAILED")
    rounds = job_of(release).job.federation.rounds
    sites = required_of(before)
    for number in range(1, rounds + 1):
        _check_round(number, before, sites)
    expected = conclude(before, sites, rounds)
    if expected != final:
        differs = [key for key, value in final.model_dump().items() if getattr(expected, key) != value]
        said = ", ".join(
            f"{key} {getattr(final, key)!r:.40} (lines show {getattr(expected, key)!r:.40})" for key in differs
        )
        raise GateError(f"the last line does not follow from the lines before it: {said}")
    return f"{final.outcome}, {rounds} rounds"


def check_weights(release: Release) -> str:
    """The weights file, the ledger and ``model.onnx`` name one digest."""
    got = weights_digest(load_weights(release.file(WEIGHTS)))
    _, final = _final(read_ledger(release.file(f"{TRAINING}/ledger.jsonl")))
    for where, digest in (("the ledger", final.digest), (MODEL, release.model.weights_digest)):
        if digest != got:
            raise GateError(f"{WEIGHTS} is {got[:12]}, {where} says {str(digest)[:12]}")
    return f"weights {got[:12]}"


def check_evaluation(release: Release) -> str:
    """Test scores and reports are of this model and may travel; pooled means follow from the sites'."""
    check_travels(release)
    _check_metrics(release)
    if not release.has(FEDERATED):
        return "no site was asked for test scores"
    evaluation = FederatedEvaluation.check(read_json(release, FEDERATED), FEDERATED)
    if evaluation.model != release.model.weights_digest:
        raise GateError(f"it is of another model: {evaluation.model[:12]}")
    foreign = sorted(set(evaluation.pooled) - set(contract_of(release).measured))
    if foreign:
        raise GateError(f"it scores what the task does not measure: {', '.join(foreign)[:80]}")
    for label, score in evaluation.pooled.items():
        parts = [scores[label] for scores in evaluation.sites.values() if label in scores]
        cases = sum(part.cases for part in parts)
        mean = sum(part.cases * part.mean for part in parts) / cases if cases else float("nan")
        if cases != score.cases or not abs(mean - score.mean) <= _ROUNDING:
            raise GateError(f"{label}: {score.cases} cases, mean {score.mean}; the sites' lines give {cases}, {mean}")
    cases = max((score.cases for score in evaluation.pooled.values()), default=0)
    return f"{cases} test cases of {len(evaluation.sites)} sites"


def _check_metrics(release: Release) -> None:
    """The figures of a report in the release, if there is one, are of its model."""
    if not release.has(METRICS):
        return
    stated = read_json(release, METRICS).get("model_digest")
    model = file_digest(release.file(MODEL))
    if stated and stated != model:
        raise GateError(f"{METRICS} is of another model: {stated!r:.14}, {MODEL} is {model[:12]}")


def check_parity_report(release: Release) -> str:
    """The gate's report is of this file, passed, and its figures are within the gate's tolerances."""
    report = ParityReport.check(read_json(release, PARITY), PARITY)
    model = file_digest(release.file(MODEL))
    if report.model_sha256 != model or report.weights_digest != release.model.weights_digest:
        raise GateError(f"it is about another model: {report.model_sha256[:12]}, {MODEL} is {model[:12]}")
    if not report.passed or not report.windows or not report.cases or not report.dicom:
        raise GateError("the gate was not passed, or nothing was compared")
    logits = max(window.largest_difference for window in report.windows)
    of_windows, of_cases = (max(check.disagreement for check in checks) for checks in (report.windows, report.cases))
    shares = max(of_windows, of_cases, *(check.disagreement for check in report.dicom))
    apart = max(check.largest_distance_mm for check in report.dicom)
    if logits > LOGIT_TOLERANCE or shares > DISAGREEMENT_TOLERANCE or apart > DISTANCE_TOLERANCE_MM:
        raise GateError(
            f"logits differ by {logits:.3g}, classes in a share of {shares:.3g}, SEG and mask lie {apart:.3g} mm "
            "apart: beyond the tolerance"
        )
    return f"logits within {logits:.1e}, masks within {shares:.1e}, as reported by the builder"


def check_conformance_logits(release: Release) -> str:
    """One stored window gives the stored logits."""
    vectors = read_vectors(release, ("window", "logits"))
    return f"largest difference {compare_logits(release.model(vectors['window']), vectors['logits']):.1e}"


def check_conformance_masks(release: Release) -> str:
    """Each stored scan gives the stored mask, on the scan's own grid."""
    worst, task = 0.0, release.model.segmentation
    for name in CASES:
        scan = read_image(release.file(f"{CONFORMANCE}/{name}.nii.gz"))
        expected = read_label(release.file(f"{CONFORMANCE}/{name}.mask.nii.gz"))
        if expected.shape != scan.shape or not np.allclose(expected.affine, scan.affine, atol=1e-3):
            raise GateError(f"{name}: the mask's grid is not the scan's")
        share = float(np.mean(segment(scan, task, release.model) != expected.array[0]))
        if share > DISAGREEMENT_TOLERANCE:
            raise GateError(
                f"{name}: the mask differs in a share of {share:.3g} of voxels, allowed is {DISAGREEMENT_TOLERANCE:g}"
            )
        worst = max(worst, share)
    return f"{len(CASES)} scans, largest share of differing voxels {worst:.1e}"


def check_rebuild(release: Release) -> str:
    """The torch network with ``model.safetensors`` gives the logits of ``model.onnx``."""
    network = load_network(release)
    window = read_vectors(release, ("window", "logits"))["window"]
    return f"largest difference {compare_logits(torch_predictor(network)(window), release.model(window)):.1e}"


def load_network(release: Release) -> "torch.nn.Module":
    """The torch network of ``task.yaml`` with ``model.safetensors``.

    Raises:
        NotVerifiableError: torch is not installed.
        GateError: the weights are of another network.
    """
    try:
        import torch

        from radfed.training.networks import build_network
    except ImportError as error:
        raise NotVerifiableError(f"{error.name} is not installed here; pip install radfed[train]") from error
    network = build_network(contract_of(release), seed=0)
    weights = load_weights(release.file(WEIGHTS))
    try:
        network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    except RuntimeError as error:
        raise GateError(f"{WEIGHTS} does not fit the network: {str(error)[:200]}") from error
    return network


def read_vectors(release: Release, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of ``logits.safetensors``, finite and not empty."""
    vectors: dict[str, NDArray[Any]] = load_weights(release.file(f"{CONFORMANCE}/{VECTORS}"))
    if set(vectors) != set(names):
        raise GateError(f"{VECTORS} must hold {', '.join(names)}, got {', '.join(sorted(vectors))}")
    if not all(np.isfinite(array).all() and array.size for array in vectors.values()):
        raise GateError(f"{VECTORS} holds NaN or infinity, or nothing")
    return vectors


def compare_logits(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference; the tolerance grows with the logits, as rounding does."""
    if got.shape != expected.shape:
        raise GateError(f"logits have the shape {got.shape}, expected is {expected.shape}")
    difference = float(np.abs(got - expected).max())
    allowed = LOGIT_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise GateError(f"logits differ by up to {difference:.3g}, allowed is {allowed:.3g}")
    return difference


def _final(lines: list[Line]) -> tuple[list[Line], FinalLine]:
    """The lines before the last, and the last, which must be the only final one."""
    finals = [line for line in lines if isinstance(line, FinalLine)]
    if len(finals) != 1 or lines[-1] is not finals[0]:
        raise GateError(f"must end with its only final line, got {len(finals)} final lines")
    return lines[:-1], finals[0]


def _check_round(number: int, lines: list[Line], sites: Sequence[str]) -> None:
    """Every required site has a line in every round, no site has two, and the round counts those accepted."""
    here = [line for line in answers_of(lines) if line.round == number]
    names = [line.site for line in here]
    if not set(sites) <= set(names) or len(set(names)) != len(names):
        raise GateError(f"round {number} must have one line for each of {', '.join(sites)}")
    accepted = sum(line.accepted for line in here)
    said = [line.accepted for line in lines if isinstance(line, RoundLine) and line.round == number]
    if said != [accepted]:
        raise GateError(f"round {number} says {said} updates are in its aggregate, its sites' lines show {accepted}")
