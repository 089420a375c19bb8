import pytest
from rich.console import Console

from radfed.cli.live import FederationView
from radfed.ledger import FinalLine, LinkLine, NoteLine, RoundLine, ScoreLine, SiteLine
from radfed.task import Measure


def shown(view: FederationView) -> str:
    console = Console(width=100, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def accepted(number: int, site: str) -> SiteLine:
    return SiteLine(
        round=number, site=site, answered=True, accepted=True, weight=12, train_seconds=3.4, loss=0.5, metric=0.61
    )


def test_it_says_who_how_far_how_good_and_how_long() -> None:
    view = FederationView(rounds=4)
    assert "round 0/4" in shown(view)
    link = LinkLine(
        link=1, job_id="j", sites=("north",), required=("north",), first_round=1, measure=Measure.ONE_MINUS_BRIER
    )
    assert view.take(link) == "FLARE job 1, from round 1, with north"
    words = view.take(accepted(1, "north"))
    assert "north: round 1, 12 cases, loss 0.500, 3 s training, accepted" in words
    assert "round 1/4: 1 updates, 4 s" in view.take(RoundLine(round=1, digest="d", accepted=1, seconds=4.0))
    score = ScoreLine(round=1, metric=0.7, metric_cases=5)
    assert view.take(score) == "round 1/4: validation 1 - mean Brier score 0.700 on 5 cases"
    assert view.take(NoteLine(reason="late", site="north", round=1)) == "  north: late in round 1"
    text = shown(view)
    assert "round 1/4   best validation 1 - mean Brier score 0.700" in text
    assert "1 - mean Brier score of model received" in " ".join(text.split())
    assert "left" in text
    assert [row for row in text.splitlines() if "north" in row and "accepted" in row]


def test_a_site_that_was_not_accepted_is_shown_with_its_reason() -> None:
    view = FederationView(rounds=2)
    assert "not accepted: not_finite" in view.take(SiteLine(round=1, site="south", answered=True, reason="not_finite"))
    assert "not_finite" in shown(view)


def test_the_end_is_told() -> None:
    final = FinalLine(outcome="DEGRADED", best_round=2, best_metric=0.8, measure=Measure.DICE)
    assert FederationView(rounds=2).take(final) == "DEGRADED: best round 2, validation mean Dice 0.800"


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (Measure.DICE, "validation mean Dice 0.700 on 5 cases"),
        (Measure.CONCORDANCE, "validation concordance 0.700 on 5 pairs of cases"),
        (Measure.SCORE, "validation score 0.700 on 5 cases"),
    ],
)
def test_a_score_is_called_by_what_was_measured(measure: Measure, words: str) -> None:
    view = FederationView(rounds=2)
    view.take(LinkLine(link=1, job_id="j", sites=("a",), required=("a",), first_round=1, measure=measure))
    assert words in view.take(ScoreLine(round=1, metric=0.7, metric_cases=5))
