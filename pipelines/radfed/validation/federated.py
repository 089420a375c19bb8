"""The report of a validation in which no case left its site: ``metrics.json`` and ``report.html``, from sums alone.

``metrics.json`` has the keys of ``radfed validate --no-pictures`` where the numbers are the same; what does not follow
from sums (medians, subgroups, curves) is not there.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from radfed.files import put_text
from radfed.inference.checksums import file_digest
from radfed.inference.opened import MODEL, open_model
from radfed.metrics.answer_pool import AnswerGroup, Area, Number, QuestionScores
from radfed.metrics.mask_sums import LabelScores, MaskGroup
from radfed.metrics.policy import POLICY
from radfed.metrics.site_validation import FederatedValidation
from radfed.metrics.sums import INTERVALS, PooledMean
from radfed.metrics.travels import KEY
from radfed.task import OutcomeTask, SegmentationTask
from radfed.validation.federated_figures import calibration, means
from radfed.validation.report import METRICS, REPORT
from radfed.validation.sections import Cell, render_page
from radfed.validation.wording import DASH, number, spoken

_ALL = "all sites"


def write_federated(found: FederatedValidation, refused: Mapping[str, str], release: Path, out: Path) -> Path:
    """Write ``report.html`` and ``metrics.json``.

    Args:
        found: what the sites told, put together.
        refused: sites without an answer, with the reason's code.
        release: folder of the release that was asked about.
        out: folder.

    Returns:
        The report.

    Raises:
        InvalidInputError: the folder is no release.
        GateError: its model is not the one that it lists.
    """
    task, digest = open_model(release, threads=1).task, file_digest(release / MODEL)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(federated_metrics(found, refused, task, digest), indent=1, ensure_ascii=False)
    put_text(out / REPORT, _page(found, refused, task, digest))
    put_text(out / METRICS, text + "\n")
    return out / REPORT


def federated_metrics(
    found: FederatedValidation, refused: Mapping[str, str], task: SegmentationTask | OutcomeTask, digest: str
) -> dict[str, object]:
    """What ``metrics.json`` holds. HD95 in mm, volumes in ml."""
    content: dict[str, object] = {
        KEY: True,
        "task": task.name,
        "task_version": task.version,
        "task_digest": task.digest,
        "model": "federated",
        "model_digest": digest,
        "weights_digest": found.model,
        "phantom": found.phantom,
        "split": found.split,
        "dataset_digests": found.datasets,
        "from_sums": True,
        "intervals": INTERVALS,
        "pooled": found.pooled.model_dump(mode="json"),
        "sites": {site: group.model_dump(mode="json") for site, group in found.sites.items()},
        "sites_silent": dict(sorted(refused.items())),
    }
    if isinstance(task, SegmentationTask):
        content |= {"nsd_tolerance_mm": task.nsd_tolerance, "empty_masks": POLICY}
        content["volumes_ml"] = {name: one.model_dump(mode="json") for name, one in found.volumes_ml.items()}
    return content


def _page(
    found: FederatedValidation, refused: Mapping[str, str], task: SegmentationTask | OutcomeTask, digest: str
) -> str:
    groups = [*found.sites.items(), (_ALL, found.pooled)]
    masks = [(name, group) for name, group in groups if isinstance(group, MaskGroup)]
    answers = [(name, group) for name, group in groups if isinstance(group, AnswerGroup)]
    pictures = [means(masks)] if masks else []
    pictures += [one for one in (calibration(found.pooled),) if one] if isinstance(found.pooled, AnswerGroup) else []
    return render_page(
        "federated.html.j2",
        {
            "task": task,
            "phantom": found.phantom,
            "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "split": found.split,
            "sites": sorted(found.sites),
            "refused": dict(sorted(refused.items())),
            "pooled": found.pooled,
            "columns": _MASK_COLUMNS if masks else _ANSWER_COLUMNS,
            "groups": [(name, group.cases, group.patients, _mask_rows(group)) for name, group in masks]
            + [(name, group.cases, group.patients, _answer_rows(group)) for name, group in answers],
            "volumes": [(spoken(name), one) for name, one in found.volumes_ml.items()],
            "means": [(name, _mean(group.accuracy), _mean(group.brier, 3)) for name, group in answers],
            "survival": [(name, group.survival) for name, group in answers if group.survival is not None],
            "pictures": pictures,
            "policy": POLICY if masks else "",
            "identity": [
                ("model.onnx", digest), ("weights", found.model), ("task contract", found.task_digest),
                *((f"dataset of {site}", one) for site, one in found.datasets.items()),
            ],
            "number": number,
        },
    )  # fmt: skip


_MASK_COLUMNS = (
    "Structure", "Dice", "standard deviation", "HD95 (mm)", "standard deviation", "NSD", "missed", "false positive",
    "both empty",
)  # fmt: skip
_ANSWER_COLUMNS = (
    "Question", "positive", "negative", "AUROC", "at least, at most", "sensitivity", "specificity",
    "positive predictive value", "negative predictive value",
)  # fmt: skip


def _mask_rows(group: MaskGroup) -> list[list[Cell]]:
    rows = [_mask_row(spoken(name), scores) for name, scores in group.labels.items()]
    return rows if len(rows) == 1 else [*rows, _mask_row("mean of all", group.mean)]


def _mask_row(name: str, scores: LabelScores) -> list[Cell]:
    counts = scores.counts
    told = (DASH,) * 3 if counts is None else (str(counts.missed), str(counts.false_positives), str(counts.both_empty))
    return [
        (name, ""),
        _mean(scores.dice),
        (number(scores.dice.deviation if scores.dice else None), ""),
        _mean(scores.hd95, 1),
        (number(scores.hd95.deviation if scores.hd95 else None, 1), ""),
        _mean(scores.nsd),
        *((one, "") for one in told),
    ]


def _answer_rows(group: AnswerGroup) -> list[list[Cell]]:
    return [_answer_row(name, scores) for name, scores in group.questions.items()]


def _answer_row(name: str, scores: QuestionScores) -> list[Cell]:
    answers = scores.answers
    shares: Sequence[Number | None] = (
        answers.sensitivity, answers.specificity, answers.positive_predictive_value, answers.negative_predictive_value,
    )  # fmt: skip
    return [
        (spoken(name), "" if answers.threshold is None else f"from {answers.threshold:.3g} on"),
        (DASH if scores.positives is None else str(scores.positives), ""),
        (DASH if scores.negatives is None else str(scores.negatives), ""),
        _interval(scores.auroc),
        (f"{number(scores.auroc.least)}, {number(scores.auroc.most)}" if scores.auroc else DASH, ""),
        *(_interval(share) for share in shares),
    ]


def _mean(found: PooledMean | None, digits: int = 2) -> Cell:
    if found is None:
        return DASH, ""
    between = "" if found.low is None else f"{number(found.low, digits)} to {number(found.high, digits)}"
    return number(found.mean, digits), between


def _interval(found: Number | Area | None) -> Cell:
    if found is None:
        return DASH, ""
    return number(found.value), "" if found.low is None else f"{number(found.low)} to {number(found.high)}"
