from pathlib import Path

from radfed.ledger import Ledger, Line, LinkLine, RoundLine, SiteLine, conclude, read_ledger
from radfed.task import Measure

SITES = ("a", "b")


def site(number: int, name: str, accepted: bool = True, weight: float | None = 10.0) -> SiteLine:
    return SiteLine(round=number, site=name, answered=accepted, accepted=accepted, weight=weight)


def aggregate(number: int, metric: float | None) -> RoundLine:
    return RoundLine(round=number, digest=f"{number}", accepted=2, metric=metric, metric_cases=4, seconds=1.0)


def whole_run(metrics: list[float | None]) -> list[Line]:
    lines: list[Line] = []
    for number, metric in enumerate(metrics, start=1):
        lines += [site(number, "a"), site(number, "b"), aggregate(number, metric)]
    return lines


def test_a_whole_run_is_completed_and_its_best_round_may_be_the_last() -> None:
    final = conclude(whole_run([0.5, 0.7, 0.8]), SITES, 3)
    assert (final.outcome, final.best_round, final.best_metric, final.digest) == ("COMPLETED", 3, 0.8, "3")
    assert final.missing == ()
    assert final.cases_lost == 0


def test_the_best_round_may_be_an_early_one() -> None:
    assert conclude(whole_run([0.5, 0.9, 0.8]), SITES, 3).best_round == 2


def test_the_end_says_what_its_number_is_if_the_ledger_does() -> None:
    link = LinkLine(link=1, job_id="j", sites=SITES, required=SITES, first_round=1, measure=Measure.CONCORDANCE)
    assert conclude([link, *whole_run([0.5])], SITES, 1).measure is Measure.CONCORDANCE
    # Ledgers of before do not say.
    assert conclude(whole_run([0.5]), SITES, 1).measure is Measure.SCORE


def test_without_any_metric_the_last_aggregate_stands() -> None:
    assert conclude(whole_run([None, None]), SITES, 2).best_round == 2


def test_a_site_that_misses_a_round_degrades_the_run_and_is_named() -> None:
    lines = [
        line
        for line in whole_run([0.5, 0.7])
        if not (isinstance(line, SiteLine) and line.round == 2 and line.site == "b")
    ]
    lines.append(site(2, "b", accepted=False, weight=None))
    final = conclude(lines, SITES, 2)
    assert (final.outcome, final.missing) == ("DEGRADED", ("b",))
    assert final.cases_lost == 0.25


def test_a_site_that_never_answered_is_counted_as_large_as_the_others() -> None:
    final = conclude(whole_run([0.5]), (*SITES, "c"), 1)
    assert (final.outcome, final.missing) == ("DEGRADED", ("c",))
    assert round(final.cases_lost, 3) == 0.333


def test_a_run_with_fewer_rounds_than_asked_has_failed() -> None:
    assert conclude(whole_run([0.5]), SITES, 2).outcome == "FAILED"
    assert conclude([], SITES, 2).outcome == "FAILED"


def test_an_answer_that_was_not_accepted_does_not_count() -> None:
    lines: list[Line] = [
        site(1, "a"),
        SiteLine(round=1, site="b", answered=True, reason="not_finite"),
        aggregate(1, 0.5),
    ]
    assert conclude(lines, SITES, 1).outcome == "DEGRADED"


def test_lines_are_read_as_written_up_to_a_torn_end(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for line in whole_run([0.5]):
        ledger.append(line)
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write('{"event": "si')
    assert read_ledger(tmp_path / "ledger.jsonl") == ledger.lines
