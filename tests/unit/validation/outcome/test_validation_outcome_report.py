import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from radfed.dataset.layout import Dataset
from radfed.imaging.nifti import read_image, write_image
from radfed.imaging.volume import Volume
from radfed.inference.outcome import Answerer
from radfed.ledger import FinalLine, RoundLine, SiteLine
from radfed.metrics.intervals import Bootstrap
from radfed.metrics.travels import TRAVELS
from radfed.task import MultiClass, MultiLabel, OperatingPoint, OutcomeTask, Survival
from radfed.validation.drawing import Picture
from radfed.validation.flow import flow_of
from radfed.validation.outcome.cohort import cohort_of
from radfed.validation.outcome.curves import precision_recall, roc
from radfed.validation.outcome.evaluate import evaluate_outcomes
from radfed.validation.outcome.pictures import picture_answers, views_of
from radfed.validation.outcome.report import OutcomeReportInput, write_outcome_report
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.outcome.travelling import travelling_question
from radfed.validation.outcome.wording import operating

FAST = Bootstrap(resamples=100)
Make = Callable[..., OutcomeEvaluation]


@pytest.fixture(scope="module")
def given(sites: tuple[Dataset, ...], picture_task: OutcomeTask, by_brightness: Answerer) -> OutcomeReportInput:
    evaluation = evaluate_outcomes(by_brightness, picture_task, sites)
    random = np.random.default_rng(0)
    weaker = evaluation.model_copy(
        update={
            "model": "local-site-a",
            "cases": tuple(
                case.model_copy(update={"scores": (1 - p, p)})
                for case in evaluation.cases
                for p in [float(np.clip(case.scores[1] + random.normal(0, 0.3), 0, 1))]
            ),
        }
    )
    ledger = (
        SiteLine(round=1, site="site-a", answered=True, accepted=True, weight=2.0, loss=0.4),
        RoundLine(round=1, digest="0" * 64, accepted=1, metric=0.7, metric_cases=1, seconds=3.0),
        FinalLine(outcome="COMPLETED", best_round=1, best_metric=0.7),
    )
    return OutcomeReportInput(
        task=picture_task,
        evaluation=evaluation,
        flow=tuple(flow_of(dataset) for dataset in sites),
        ledger=ledger,
        baselines={"local-site-a": weaker},
        parity={"passed": True},
        model_digest="cd" * 32,
        dataset_digests={dataset.site: dataset.digest for dataset in sites},
        phantom=True,
        case_pictures=picture_answers(evaluation, sites, picture_task),
        bootstrap=FAST,
    )


def test_a_report_that_stays_shows_cases_and_pictures(given: OutcomeReportInput, tmp_path: Path) -> None:
    write_outcome_report(given, tmp_path, pictures=True, cases=True)
    text = (tmp_path / "report.html").read_text()
    assert "Stays at the site" in text
    assert "PHANTOM DATA" in text
    assert "Cases in pictures" in text
    assert [shown.choice for shown in given.case_pictures] == ["failure"] * 6 + ["random"] * 6
    assert not any(shown.verdict.right for shown in given.case_pictures[:6])
    assert text.count(": called dark\n(") + text.count(": called bright\n(") == 12
    assert "Decision curve" in text
    assert "Case by case" in text
    assert "fixed on 18 validation cases" in text
    assert "site-c and site-d" not in text.split("<h2")[0]
    assert "cases of one answer only" in text  # site-c has dark planes only
    assert "Compared with the model local-site-a: AUROC" in text
    assert "DeLong" in text
    assert "scored by 1 - mean Brier score on each site" in text
    for word in ("Truth and answer", "Is the exported model the trained one?", "Where the cases went", "Identity"):
        assert word in text
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert len(content["cases"]) == len(given.evaluation.cases)
    assert content["travels"] is False
    assert set(content["sites"]) == {"site-a", "site-b", "site-c", "site-d"}
    assert content["sites"]["site-c"]["auroc"] is None
    assert content["operating_point"]["origin"] == "validation"
    assert {row["metric"] for row in content["comparison"]} == {"auroc", "accuracy", "brier"}


def test_a_report_that_travels_holds_no_case(given: OutcomeReportInput, tmp_path: Path) -> None:
    write_outcome_report(given, tmp_path, pictures=False)
    text, content = (tmp_path / "report.html").read_text(), (tmp_path / "metrics.json").read_text()
    assert "Stays at the site" not in text
    assert TRAVELS in text
    assert json.loads(content)["travels"] is True
    assert "Cases in pictures" not in text
    assert "image/png" not in text
    for case in given.evaluation.cases:
        for name in (case.case, case.patient):
            assert name not in text
            assert name not in content
    metrics = json.loads(content)
    assert "cases" not in metrics
    # site-d has two patients; site-c, the next smallest, keeps them from being told from the pooled numbers
    assert metrics["sites_not_shown"] == ["site-c", "site-d"]
    assert set(metrics["sites"]) == {"site-a", "site-b"}
    assert not {row["site"] for row in metrics["comparison"]} & {"site-c", "site-d"}


def test_the_page_refers_to_nothing_outside_itself(given: OutcomeReportInput, tmp_path: Path) -> None:
    write_outcome_report(given, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "http" not in re.sub(r"data:image[^\"]+", "", text)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


@pytest.mark.parametrize("draw", [roc, precision_recall])
def test_curves_that_travel_have_no_step_a_case(make_two_classes: Make, draw: Callable[..., Picture | None]) -> None:
    evaluation = make_two_classes(3, count=400)
    cohort = cohort_of(evaluation.cases, evaluation.kind, evaluation.finds)
    (asked,) = cohort.questions(evaluation.operating)
    coarse = travelling_question(asked, cohort, told=True)
    assert coarse is not None
    corners = []
    for question in (asked, coarse):
        shown = draw([("all sites", question)])
        assert shown is not None
        drawing = base64.b64decode(shown.uri.partition(",")[2]).decode()
        corners.append(max(path.count("L ") for path in re.findall(r'<path d="([^"]*)" clip-path', drawing)))
    exact_corners, travelling = corners
    assert travelling <= len(np.unique(coarse.scores)) + 1 < exact_corners


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(MultiClass(classes=("a", "b", "c")), "multiclass"), (MultiLabel(findings=("a", "b", "c")), "multilabel")],
)
def test_several_questions_are_each_a_row(
    tmp_path: Path,
    make_record_task: Callable[..., OutcomeTask],
    make_outcome_evaluation: Make,
    outcome: MultiClass | MultiLabel,
    kind: str,
) -> None:
    random = np.random.default_rng(0)
    names = ("a", "b", "c")
    truths: list[object] = [names[i % 3] for i in range(60)]
    if kind == "multilabel":
        truths = [(names[i % 3],) if i % 2 else () for i in range(60)]
    rows = [("s" if i < 40 else "t", f"p{i}", random.dirichlet([1, 1, 1]), truths[i]) for i in range(60)]
    thresholds = dict.fromkeys(names, 0.4) if kind == "multilabel" else None
    evaluation = make_outcome_evaluation(kind, names, rows, thresholds)
    given = OutcomeReportInput(task=make_record_task(outcome), evaluation=evaluation, bootstrap=FAST)
    write_outcome_report(given, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert ("the likeliest class; there is no threshold" in text) == (kind == "multiclass")
    assert ("Truth and answer" in text) == (kind == "multiclass")
    assert set(json.loads((tmp_path / "metrics.json").read_text())["pooled"]["questions"]) == set(names)


def test_survival_has_its_concordance_and_its_curve(
    tmp_path: Path, make_record_task: Callable[..., OutcomeTask], survival_evaluation: OutcomeEvaluation
) -> None:
    given = OutcomeReportInput(task=make_record_task(Survival()), evaluation=survival_evaluation, bootstrap=FAST)
    write_outcome_report(given, tmp_path / "stays")
    write_outcome_report(given, tmp_path / "travels", pictures=False)
    stays, travels = ((tmp_path / name / "report.html").read_text() for name in ("stays", "travels"))
    assert "Survival of cases with lower and with higher hazard" in stays
    assert "Survival of cases" not in travels
    assert "pairs of cases whose order is known" in travels
    assert "AUROC" not in travels


@pytest.mark.parametrize("scores", [[0.5] * 8, [0.1, 0.9] * 4])
@pytest.mark.parametrize("truth", [["yes"] * 8, ["no", "yes"] * 4])
def test_cases_that_show_little_still_make_a_page(
    tmp_path: Path,
    make_record_task: Callable[..., OutcomeTask],
    make_outcome_evaluation: Make,
    scores: list[float],
    truth: list[str],
) -> None:
    rows = [("s", f"p{i}", (1 - s, s), t) for i, (s, t) in enumerate(zip(scores, truth, strict=True))]
    evaluation = make_outcome_evaluation("multiclass", ("no", "yes"), rows, {"yes": 0.5})
    task = make_record_task(MultiClass(classes=("no", "yes")))
    write_outcome_report(OutcomeReportInput(task=task, evaluation=evaluation, bootstrap=FAST), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"\bnan\b", re.sub(r"data:image[^\"]+", "", text), re.IGNORECASE)
    assert ("cases of one answer only" in text) == (len(set(truth)) == 1)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("youden", "largest sum of sensitivity and specificity"),
        ("sensitivity", "sensitivity of at least 0.8"),
        ("specificity", "specificity of at least 0.8"),
    ],
)
def test_the_page_says_how_the_threshold_was_found(make_two_classes: Make, rule: str, words: str) -> None:
    found = make_two_classes(1)
    point = OperatingPoint.model_validate({"rule": rule, "value": 0.8})
    assert words in operating(found, point)
    stated = found.model_copy(update={"operating": found.operating.model_copy(update={"origin": "release"})})
    assert "the one that the release states" in operating(stated, point)
    unknown = found.model_copy(update={"operating": found.operating.model_copy(update={"origin": "none"})})
    assert "a threshold of 0.5 is used" in operating(unknown, point)
    same = found.model_copy(update={"split": "validation"})
    assert "optimistic" in operating(same, point)


def test_a_plane_is_shown_upright(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).random((9, 5)).astype(np.float32)  # rows, columns
    path = tmp_path / "plane.nii.gz"
    write_image(path, Volume(picture.T[None, :, :, None], np.diag([-2.0, -3.0, 1.0, 1.0])))
    (view,) = views_of(read_image(path))
    np.testing.assert_array_equal(view.pixels, picture)
    assert view.aspect == pytest.approx(1.5)


def test_a_volume_is_shown_from_three_sides() -> None:
    array = np.zeros((1, 4, 6, 8), dtype=np.float32)
    array[0, 0, :, 4] = 1  # on the patient's left edge: RAS grows to the right
    views = views_of(Volume(array, np.eye(4)))
    assert [view.name for view in views] == ["axial", "coronal", "sagittal"]
    assert [view.pixels.shape for view in views] == [(6, 4), (8, 4), (8, 6)]
    assert views[0].pixels[:, -1].all()
    assert not views[0].pixels[:, :-1].any()
