import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.inference.sliding_window import Predictor
from radfed.ledger import FinalLine, Line, RoundLine, SiteLine
from radfed.metrics.intervals import Bootstrap
from radfed.metrics.travels import TRAVELS
from radfed.task import SegmentationTask
from radfed.validation.background import held_back
from radfed.validation.evaluate import evaluate
from radfed.validation.flow import flow_of
from radfed.validation.history import history_of
from radfed.validation.pictures import picture_cases
from radfed.validation.report import ReportInput, write_report
from radfed.validation.results import CaseResult, Evaluation, check_split
from radfed.validation.summary import Statistic
from radfed.validation.wording import participation, verdicts, with_interval


def ledger() -> Sequence[Line]:
    lines: list[Line] = []
    for number in range(1, 7):
        for index, site in enumerate(("site-a", "site-b")):
            answered = not (number == 3 and site == "site-b")
            lines.append(
                SiteLine(
                    round=number, site=site, answered=answered, accepted=answered, weight=20.0 + index,
                    reason=None if answered else "timeout", bytes=2_400_000 if answered else 0, seconds=30.0,
                    train_seconds=20.0 if answered else None, evaluation_seconds=3.0, loss=1.0 / number,
                    metric=None if number == 1 else 0.9 - 0.5 / number - 0.05 * index,
                )
            )  # fmt: skip
        lines.append(
            RoundLine(
                round=number, digest="ab" * 32, accepted=2, metric=0.9 - 0.5 / (number + 1), metric_cases=9, seconds=31
            )
        )
    final = FinalLine(outcome="DEGRADED", best_round=6, best_metric=0.83, missing=("site-b",), cases_lost=0.08)
    return [*lines, final]


@pytest.fixture(scope="module")
def given(
    task: SegmentationTask, datasets: tuple[Dataset, ...], make_predictor: Callable[[float], Predictor]
) -> ReportInput:
    predict = make_predictor(0.6)
    evaluation = evaluate(predict, task, datasets)
    others = {
        name: evaluate(make_predictor(width), task, datasets, model=name)
        for name, width in (("pooled", 0.5), ("local-site-a", 1.6), ("local-site-b", 2.0))
    }
    return ReportInput(
        task=task,
        evaluation=evaluation,
        flow=tuple(flow_of(dataset) for dataset in datasets),
        ledger=ledger(),
        baselines=others,
        parity={
            "passed": True,
            "tolerance": 1e-4,
            "windows": [
                {"shape": [1, 2], "largest_difference": 1.5e-6},
                {"shape": [3, 2], "largest_difference": 2.5e-6},
            ],
            "masks": {"voxels_differing": 0},
        },
        timing={"segmenting": 12.3, "pictures": 2.0},
        model_digest="cd" * 32,
        dataset_digests={dataset.site: dataset.digest for dataset in datasets},
        phantom=True,
        case_pictures=picture_cases(evaluation, datasets, task, predict),
        created=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    )


class Page(HTMLParser):
    """Collects what a page refers to, its images' alternative texts, its headings, and unclosed elements."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.alts: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        named = dict(attrs)
        self.addresses += [value for key in ("src", "href") if (value := named.get(key)) is not None]
        if tag == "img":
            self.alts.append(named.get("alt") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(path: Path) -> tuple[str, Page]:
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    return text, page


@pytest.mark.parametrize("pictures", [True, False])
def test_the_page_is_whole_and_refers_to_nothing_outside(given: ReportInput, tmp_path: Path, pictures: bool) -> None:
    write_report(given, tmp_path / "new" / "out", pictures)
    assert sorted(entry.name for entry in (tmp_path / "new" / "out").iterdir()) == ["metrics.json", "report.html"]
    text, page = parse(tmp_path / "new" / "out" / "report.html")
    assert page.open == []
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    anchors = {address[1:] for address in page.addresses if address.startswith("#")}
    assert anchors <= set(re.findall(r'id="([a-z]+)"', text))
    assert "script" not in page.tags
    assert "url(" not in text
    assert "@import" not in text
    assert page.alts
    assert all(len(alt) > 20 for alt in page.alts)


def test_the_full_report_says_what_a_clinician_needs(given: ReportInput, tmp_path: Path) -> None:
    write_report(given, tmp_path)
    text, page = parse(tmp_path / "report.html")
    for phrase in (
        "PHANTOM DATA",
        "Finds two balls in a made-up scan.",
        "Trying the software.",
        "10 cases of 10 patients from 3 sites (site-a, site-b and site-c)",
        "site-c took no part in training (external validation)",
        "Compared with the model local-site-b: Dice +",
        "the affine is singular, sheared, not finite, or missing",
        "The run ended as DEGRADED. site-b missed rounds.",
        "timeout",
        "Failure 1 of 4: ",
        "Random 1 of 6: ",
        "Intended use and its limits",
        "Not recorded of any case: scanner vendor, sex, age and projection.",
        "TRIPOD+AI",
        "Stays at the site.",
        "cd" * 32,
        "Where the structure is absent from both reference and prediction",
        "masks: voxels differing",
        "<tr><td>windows</td><td>2 checked</td></tr>",
        "<tr><td>windows: largest difference</td><td>2.5e-06</td></tr>",
    ):
        assert phrase in text, phrase
    assert sum("outlines of reference and model" in alt for alt in page.alts) == 10


def test_a_report_that_travels_holds_no_case_and_no_pixels(given: ReportInput, tmp_path: Path) -> None:
    write_report(given, tmp_path, pictures=False)
    assert json.loads((tmp_path / "metrics.json").read_text())["travels"] is True
    assert TRAVELS in (tmp_path / "report.html").read_text()
    text, _ = parse(tmp_path / "report.html")
    metrics = (tmp_path / "metrics.json").read_text()
    assert "image/png" not in text
    for case in given.evaluation.cases:
        for name in (case.case, case.patient, case.digest):
            assert name not in text
            assert name not in metrics
    # One patient at site-c: site-b is held back too, or pooled minus the others would be that patient.
    content = json.loads(metrics)
    assert list(content["sites"]) == ["site-a"]
    assert content["sites_not_shown"] == ["site-b", "site-c"]
    assert {row["site"] for row in content["comparison"]} == {None, "site-a"}
    assert "too few patients of a site could be told apart: site-b and site-c" in text
    assert "on site-c</th>" not in text


@pytest.mark.parametrize(
    ("patients", "hidden"),
    [
        ({"a": 9, "b": 5, "c": 3}, ()),
        ({"a": 9, "b": 5, "c": 2}, ("b", "c")),
        ({"a": 9, "b": 2, "c": 1}, ("b", "c")),
        ({"a": 1}, ("a",)),
    ],
)
def test_what_is_held_back_cannot_be_had_by_subtraction(patients: dict[str, int], hidden: tuple[str, ...]) -> None:
    assert held_back(patients) == hidden


def test_metrics_hold_rows_of_cases_only_when_asked(given: ReportInput, tmp_path: Path) -> None:
    write_report(given, tmp_path)
    assert "cases" not in json.loads((tmp_path / "metrics.json").read_text())
    assert json.loads((tmp_path / "metrics.json").read_text())["travels"] is False
    assert TRAVELS not in (tmp_path / "report.html").read_text()
    write_report(given, tmp_path, pictures=False, cases=True)
    assert json.loads((tmp_path / "metrics.json").read_text())["travels"] is False
    write_report(given, tmp_path, cases=True)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert len(content["cases"]) == 10
    dice = content["pooled"]["mean"]["dice"]
    assert dice["low"] < dice["mean"] < dice["high"]
    assert set(content["sites"]) == {"site-a", "site-b", "site-c"}
    assert content["pooled"]["labels"]["right_ball"]["counts"]["both_empty"] == 1
    assert content["phantom"] is True


def test_equal_input_gives_equal_bytes(given: ReportInput, tmp_path: Path) -> None:
    write_report(given, tmp_path / "one")
    write_report(given, tmp_path / "two")
    for name in ("report.html", "metrics.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_report_needs_nothing_but_a_task_and_an_evaluation(
    task: SegmentationTask,
    tmp_path: Path,
    make_case: Callable[..., CaseResult],
    make_evaluation: Callable[..., Evaluation],
) -> None:
    one = make_evaluation(make_case("<b>&site", 0, 0.0, outcome="missed", hd95=None))
    write_report(ReportInput(task=task, evaluation=one), tmp_path)
    text, page = parse(tmp_path / "report.html")
    assert page.open == []
    assert "&lt;b&gt;&amp;site" in text
    assert "<b>&site" not in text
    assert "Of 1 structure that the reference shows, 1 was missed entirely." in text
    empty = make_evaluation(make_case("a", 0, 1.0, outcome="both_empty", hd95=0.0))
    write_report(ReportInput(task=task, evaluation=empty), tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["pooled"]["mean"]["dice"] is None


def test_the_band_of_a_limit_is_its_interval(
    given: ReportInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bands: list[tuple[float, float]] = []

    def drawn(axes: Axes, low: float, high: float, **how: object) -> None:
        bands.append((low, high))

    monkeypatch.setattr(Axes, "axhspan", drawn)
    write_report(replace(given, bootstrap=Bootstrap(level=0.5)), tmp_path)
    volumes = json.loads((tmp_path / "metrics.json").read_text())["volumes_ml"]
    told = [one[f"{limit}_interval_ml"] for one in volumes.values() for limit in ("low", "high")]
    assert len(told) == 4
    assert bands == [tuple(interval) for interval in told]


def test_volumes_of_few_patients_do_not_travel(
    task: SegmentationTask,
    tmp_path: Path,
    make_case: Callable[..., CaseResult],
    make_evaluation: Callable[..., Evaluation],
) -> None:
    def holding(index: int, patient: str, right: str) -> CaseResult:
        both = [make_case("a", index, 0.7, patient, label=name, outcome=said) for name, said in (
            ("left_ball", "compared"), ("right_ball", right))]  # fmt: skip
        return both[0].model_copy(update={"labels": both[0].labels + both[1].labels})

    def travelling(*seen: str) -> list[str]:
        cases = [
            holding(index, f"pat-{index // 2}", "compared" if f"{index // 2}" in seen else "both_empty")
            for index in range(8)
        ]
        given = ReportInput(task=task, evaluation=make_evaluation(*cases))
        write_report(given, tmp_path / "stays")
        assert list(json.loads((tmp_path / "stays/metrics.json").read_text())["volumes_ml"]) == [
            "left_ball", "right_ball",
        ]  # fmt: skip
        write_report(given, tmp_path / "travels", pictures=False)
        rows = re.search(r"<h3>Volumes</h3>(.*?)</table>", (tmp_path / "travels/report.html").read_text(), re.DOTALL)
        assert rows is not None
        told = list(json.loads((tmp_path / "travels/metrics.json").read_text())["volumes_ml"])
        assert rows[1].count("<tr>") == 1 + len(told)
        return told

    assert travelling("0", "1") == ["left_ball"]
    assert travelling("0", "1", "2") == ["left_ball", "right_ball"]


def test_curves_place_a_sites_metric_at_the_round_of_the_model_that_it_scores() -> None:
    history = history_of(ledger())
    assert history is not None
    first = history.sites[0]
    assert list(first.metric[0]) == pytest.approx([1, 0.65])
    assert list(history.metric[0]) == pytest.approx([1, 0.65])
    second = history.sites[1]
    assert (second.asked, second.accepted, second.reasons) == (6, 5, ("timeout",))
    assert first.other_seconds == pytest.approx(6 * 7.0)
    assert history_of([]) is None
    assert "the run was not finished" in participation(history_of(ledger()[:-1]) or history)


def test_flow_counts_cases_and_reasons(datasets: tuple[Dataset, ...], tmp_path: Path) -> None:
    found = flow_of(datasets[1])
    assert (found.found, found.refused, found.quarantined) == (8, 2, {"bad_affine": 2})
    assert (found.training, found.validation, found.test) == (1, 1, 4)
    broken = Dataset(tmp_path, "site-z", "", ())
    (tmp_path / "quarantine.jsonl").write_text("{not json\n")
    with pytest.raises(InvalidInputError, match=r"site-z: quarantine\.jsonl is broken"):
        flow_of(broken)


def test_a_difference_is_called_one_only_where_its_interval_leaves_out_zero(
    make_case: Callable[..., CaseResult], make_evaluation: Callable[..., Evaluation]
) -> None:
    from radfed.validation.comparison import compare

    def said(gains: list[float]) -> str:
        mine = make_evaluation(*(make_case("a", i, 0.5 + gain) for i, gain in enumerate(gains)))
        other = make_evaluation(*(make_case("a", i, 0.5) for i in range(len(gains))), model="local-a")
        return verdicts(compare(mine, {"local-a": other}))[0]

    assert "higher" in said([0.1, 0.11, 0.12, 0.1, 0.1])
    assert "lower" in said([-0.1, -0.11, -0.12, -0.1, -0.1])
    assert "no difference that these cases can show" in said([-0.1, 0.11, 0.1, -0.1, 0.0])
    assert "too few patients" in said([0.1] * 4)


def test_numbers_read_well() -> None:
    sure = Statistic(mean=-0.0314, low=-0.05, high=-0.0126, median=0.0, cases=9, patients=9)
    assert with_interval(sure, "dice", signed=True) == "\u22120.031 (\u22120.050 to \u22120.013)"
    assert with_interval(sure.model_copy(update={"low": None, "high": None, "mean": 4.26}), "hd95") == "4.3"
    assert with_interval(None, "dice") == "\u2013"


def test_an_unknown_split_is_refused_with_the_choices() -> None:
    assert check_split("all") == "all"
    with pytest.raises(InvalidInputError, match="one of training, validation, test, all, got 'tset'"):
        check_split("tset")
