"""``radfed validate``: a release on one or more prepared datasets, scored and reported."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.inference.checksums import file_digest
from radfed.inference.model import OnnxModel
from radfed.ledger import read_ledger
from radfed.validation.comparison import ComparisonRow, load_comparison
from radfed.validation.evaluate import Progress, evaluate
from radfed.validation.flow import flow_of
from radfed.validation.pictures import picture_cases
from radfed.validation.report import ReportInput, write_report
from radfed.validation.results import Evaluation, Split, load_evaluations
from radfed.validation.summary import Summary, summarise

MODEL = "model.onnx"
LEDGER = "training/ledger.jsonl"
PARITY = "evaluation/parity.json"
COMPARISON = "evaluation/comparison.json"


@dataclass(frozen=True)
class Validated:
    """What a validation found, and where the report lies."""

    report: Path
    metrics: Path
    evaluation: Evaluation
    summary: Summary
    phantom: bool


def validate(
    release: Path,
    datasets: Sequence[Path],
    out: Path,
    split: Split = "test",
    on_progress: Progress | None = None,
    pictures: bool = True,
    cases: bool = False,
) -> Validated:
    """Score a release's model and write ``report.html`` and ``metrics.json``.

    Args:
        release: folder with ``model.onnx`` and, if known, the training ledger, parity and comparison.
        datasets: folders of prepared datasets, each of another site.
        out: folder for the report.
        split: which cases; ``all`` for a site that took no part in training.
        on_progress: called after each case.
        pictures: False writes a report over groups of patients only, which may travel.
        cases: whether ``metrics.json`` holds a row a case.

    Raises:
        InvalidInputError: the folder is no release, a dataset does not fit, or there is nothing to score.
        DataError: a case cannot be read, or has no reference.
    """
    path = release / MODEL
    if not path.is_file():
        raise InvalidInputError(
            f"{release}: is not a release ({MODEL} is missing); give a folder of radfed release build"
        )
    start = time.perf_counter()
    model = OnnxModel.load(path)
    loaded = time.perf_counter()
    opened = [Dataset.read(root) for root in datasets]
    evaluation = evaluate(model, model.task, opened, split, on_progress)
    scored = time.perf_counter()
    baselines, comparison = read_comparison(release / COMPARISON)
    shown = picture_cases(evaluation, opened, model.task, model) if pictures else ()
    segmenting = sum(case.seconds for case in evaluation.cases)
    given = ReportInput(
        task=model.task,
        evaluation=evaluation,
        flow=tuple(flow_of(dataset) for dataset in opened),
        ledger=read_ledger(release / LEDGER),
        baselines=baselines,
        comparison=comparison,
        parity=_parity(release / PARITY),
        timing={
            "loading the model": loaded - start,
            "segmenting": segmenting,
            "segmenting, per case": segmenting / len(evaluation.cases),
            "reading and measuring": scored - loaded - segmenting,
            "pictures": time.perf_counter() - scored,
        },
        model_digest=file_digest(path),
        dataset_digests={dataset.site: dataset.digest for dataset in opened},
        phantom=any(dataset.phantom for dataset in opened),
        case_pictures=shown,
        created=datetime.now(UTC),
    )
    write_report(given, out, pictures, cases)
    return Validated(
        out / "report.html", out / "metrics.json", evaluation, summarise(evaluation, given.bootstrap), given.phantom
    )


def read_comparison(path: Path) -> tuple[dict[str, Evaluation], tuple[ComparisonRow, ...]]:
    """Other models' scores beside a release: case by case where they are there, else the means of a comparison.

    Raises:
        InvalidInputError: the file is neither.
    """
    if not path.is_file():
        return {}, ()
    content = _object(path)
    if "evaluations" in content:
        return load_evaluations(path), ()
    return {}, load_comparison(path)


def _parity(path: Path) -> Mapping[str, object] | None:
    return _object(path) if path.is_file() else None


def _object(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInputError(f"{path.name}: cannot be read as JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path.name}: must be a JSON object, got {type(content).__name__}")
    return content
