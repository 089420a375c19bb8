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
from radfed.inference.opened import MODEL
from radfed.inference.operating import read_thresholds
from radfed.ledger import read_ledger
from radfed.task import OutcomeTask, SegmentationTask
from radfed.validation.background import Background
from radfed.validation.chosen import Progress
from radfed.validation.comparison import ComparisonRow, load_comparison
from radfed.validation.evaluate import evaluate
from radfed.validation.flow import flow_of
from radfed.validation.grouping import traits_by_case
from radfed.validation.kinds import AnyEvaluation, AnyReportInput, AnySummary, summarise_any, write_any_report
from radfed.validation.outcome.comparison import OutcomeRow, load_outcome_comparison
from radfed.validation.outcome.evaluate import evaluate_outcomes
from radfed.validation.outcome.pictures import picture_answers
from radfed.validation.outcome.report import OutcomeReportInput
from radfed.validation.outcome.results import OutcomeEvaluation, load_outcome_evaluations
from radfed.validation.pdf import why_no_pdf, write_pdf
from radfed.validation.pictures import picture_cases
from radfed.validation.report import METRICS, REPORT, ReportInput
from radfed.validation.results import Evaluation, Split, load_evaluations

LEDGER = "training/ledger.jsonl"
PARITY = "evaluation/parity.json"
COMPARISON = "evaluation/comparison.json"


@dataclass(frozen=True)
class Scored:
    """A release's model with its scores on some datasets.

    Attributes:
        model: the model, to segment a case again for its picture.
        model_digest: SHA-256 of ``model.onnx``.
        datasets: what it was scored on.
        evaluation: the scores.
        timing: seconds by step.
    """

    model: OnnxModel
    model_digest: str
    datasets: tuple[Dataset, ...]
    evaluation: AnyEvaluation
    timing: Mapping[str, float]


@dataclass(frozen=True)
class Validated:
    """What a validation found, and where the report lies."""

    report: Path
    metrics: Path
    evaluation: AnyEvaluation
    summary: AnySummary
    phantom: bool
    pdf: Path | None = None


def validate(
    release: Path,
    datasets: Sequence[Path],
    out: Path,
    split: Split = "test",
    on_progress: Progress | None = None,
    pictures: bool = True,
    cases: bool = False,
    compare: Path | None = None,
    pdf: bool = False,
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
        compare: other models' scores, ``comparison.json`` of a run; by default those in the release, if any.
        pdf: whether ``report.pdf`` is written beside the page.

    Raises:
        InvalidInputError: the folder is no release, a dataset does not fit, or there is nothing to score.
        DataError: a case cannot be read, or has no reference.
    """
    if compare is not None and not compare.is_file():
        raise InvalidInputError(f"{compare}: is no file; give comparison.json of 'radfed job simulate --baselines'")
    if pdf and (why := why_no_pdf()):
        raise InvalidInputError(f"no PDF: {why}; or validate with --no-pdf")
    scored = score(release, datasets, split, on_progress)
    given = report_input(release, scored, pictures, compare=compare)
    write_any_report(given, out, pictures, cases)
    written = write_pdf(out / REPORT) if pdf else None
    summary = summarise_any(scored.evaluation, given.bootstrap)
    return Validated(out / REPORT, out / METRICS, scored.evaluation, summary, given.phantom, written)


def score(
    release: Path, datasets: Sequence[Path], split: Split = "test", on_progress: Progress | None = None
) -> Scored:
    """Score a release's model on every case of a split.

    Raises:
        InvalidInputError: the folder is no release, a dataset does not fit, or there is nothing to score.
        DataError: a case cannot be read, or has no reference.
        GateError: the release's operating point is not the one that it lists.
    """
    path = release / MODEL
    if not path.is_file():
        raise InvalidInputError(
            f"{release}: is not a release ({MODEL} is missing); give a folder of radfed release build"
        )
    start = time.perf_counter()
    model = OnnxModel.load(path)
    loaded = time.perf_counter()
    opened = tuple(Dataset.read(root) for root in datasets)
    evaluation: AnyEvaluation
    match model.task:
        case SegmentationTask():
            evaluation, what = evaluate(model, model.task, opened, split, on_progress), "segmenting"
        case OutcomeTask():
            stated, what = read_thresholds(release, model.weights_digest), "reading and answering"
            evaluation = evaluate_outcomes(model.answer, model.task, opened, split, on_progress, stated=stated)
    seconds = sum(case.seconds for case in evaluation.cases)
    timing = {
        "loading the model": loaded - start,
        what: seconds,
        f"{what}, per case": seconds / len(evaluation.cases),
        "everything else": time.perf_counter() - loaded - seconds,
    }
    return Scored(model, file_digest(path), opened, evaluation, timing)


def report_input(
    release: Path,
    scored: Scored,
    pictures: bool = True,
    baselines: Mapping[str, AnyEvaluation] | None = None,
    timing: Mapping[str, float] | None = None,
    compare: Path | None = None,
) -> AnyReportInput:
    """Gather what a report is made from.

    Args:
        release: folder that may hold the training ledger, parity and comparison.
        scored: what ``score`` found in it.
        pictures: whether cases are drawn.
        baselines: other models' scores; by default those of ``compare``.
        timing: seconds by step; by default those of the scoring.
        compare: file with other models' scores; by default that of the release, if it has one.

    Raises:
        InvalidInputError: a file of the release is broken.
        DataError: a case cannot be read for its picture.
    """
    beside, task, datasets = compare or release / COMPARISON, scored.model.task, scored.datasets
    known = vars(_background(release, scored, timing))
    match task, scored.evaluation:
        case SegmentationTask(), Evaluation() as masks:
            others = {name: found for name, found in (baselines or {}).items() if isinstance(found, Evaluation)}
            rows: tuple[ComparisonRow, ...] = ()
            if not others:
                others, rows = read_comparison(beside)
            shown = picture_cases(masks, datasets, task, scored.model) if pictures else ()
            return ReportInput(
                task=task, evaluation=masks, baselines=others, comparison=rows, case_pictures=shown, **known
            )
        case OutcomeTask(), OutcomeEvaluation() as answers:
            models = {name: found for name, found in (baselines or {}).items() if isinstance(found, OutcomeEvaluation)}
            lines: tuple[OutcomeRow, ...] = ()
            if not models:
                models, lines = read_outcome_comparison(beside)
            images = picture_answers(answers, datasets, task) if pictures else ()
            return OutcomeReportInput(
                task=task, evaluation=answers, baselines=models, comparison=lines, case_pictures=images, **known
            )
        case _:
            raise AssertionError("score gives the evaluation of the model's kind")


def read_comparison(path: Path) -> tuple[dict[str, Evaluation], tuple[ComparisonRow, ...]]:
    """Other models' masks beside a release: case by case where they are there, else the means of a comparison.

    Raises:
        InvalidInputError: the file is neither.
    """
    if not path.is_file():
        return {}, ()
    return (load_evaluations(path), ()) if "evaluations" in _object(path) else ({}, load_comparison(path))


def read_outcome_comparison(path: Path) -> tuple[dict[str, OutcomeEvaluation], tuple[OutcomeRow, ...]]:
    """The same of models with one answer a case.

    Raises:
        InvalidInputError: the file is neither.
    """
    if not path.is_file():
        return {}, ()
    if "evaluations" in _object(path):
        return load_outcome_evaluations(path), ()
    return {}, load_outcome_comparison(path)


def _background(release: Path, scored: Scored, timing: Mapping[str, float] | None) -> Background:
    return Background(
        flow=tuple(flow_of(dataset) for dataset in scored.datasets),
        ledger=read_ledger(release / LEDGER),
        parity=_object(release / PARITY) if (release / PARITY).is_file() else None,
        timing=scored.timing if timing is None else timing,
        model_digest=scored.model_digest,
        dataset_digests={dataset.site: dataset.digest for dataset in scored.datasets},
        phantom=any(dataset.phantom for dataset in scored.datasets),
        created=datetime.now(UTC),
        traits=traits_by_case(scored.datasets, scored.model.task),
        release_files=tuple(path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file()),
    )


def _object(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInputError(f"{path.name}: cannot be read as JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path.name}: must be a JSON object, got {type(content).__name__}")
    return content
