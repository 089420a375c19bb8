import pytest
from rich.console import Console

from radfed.cli.watch_view import CampaignView, campaign_view, outcome_words
from radfed.federation.campaign_events import CampaignEvent, What, words
from radfed.ledger import FinalLine, LinkLine, NoteLine, RoundLine, ScoreLine, SiteLine
from radfed.task import Measure


def shown(view: CampaignView) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def filled(rounds: int | None = 10, measure: Measure = Measure.DICE) -> CampaignView:
    view = CampaignView(rounds)
    view.take(
        LinkLine(
            link=2,
            job_id="j",
            sites=("north", "south"),
            required=("north", "south", "west"),
            first_round=3,
            measure=measure,
        )
    )
    view.take(
        SiteLine(
            round=3,
            site="north",
            answered=True,
            accepted=True,
            bytes=1_500_000,
            metric=0.71,
            seconds=31,
            train_seconds=20,
        )
    )
    view.take(SiteLine(round=3, site="south", answered=True, reason="norm_too_large", bytes=900))
    view.take(RoundLine(round=3, digest="d", accepted=1, seconds=36.0))
    view.take(ScoreLine(round=3, metric=0.74, metric_cases=9))
    return view


def test_the_table_shows_every_required_site_with_state_seconds_and_bytes() -> None:
    rows = {line.split()[0].strip("│"): line for line in shown(filled()).splitlines() if line.startswith("│")}
    assert "0.710" in rows["north"]
    assert "20 s" in rows["north"]
    assert "31 s" in rows["north"]
    assert "1.5 MB" in rows["north"]
    assert "accepted" in rows["north"]
    assert "norm_too_large" in rows["south"]
    assert "900 bytes" in rows["south"]
    assert "not connected" in rows["west"]


def test_the_head_shows_link_round_best_and_pace() -> None:
    text = shown(filled())
    assert "FLARE job 2   round 3/10   best validation mean Dice 0.740   100.0 rounds an hour, about 4 min left" in text
    assert "no round yet" in shown(CampaignView(None))
    assert "left" not in shown(filled(None))


@pytest.mark.parametrize("measure", list(Measure))
def test_the_table_names_what_the_campaign_measures(measure: Measure) -> None:
    text = shown(filled(None, measure))
    assert f"best validation {measure.words} 0.740" in text
    header = text.split("┃")
    assert any(cell.strip().startswith(measure.words.split()[0]) for cell in header)
    assert ("Dice" in text) == (measure is Measure.DICE)


def test_bytes_of_a_site_add_up_over_the_rounds() -> None:
    view = filled()
    view.take(SiteLine(round=4, site="north", answered=True, accepted=True, bytes=500_000))
    assert "2.0 MB" in shown(view)


def test_notes_and_events_are_shown_until_the_next() -> None:
    view = filled()
    view.take(NoteLine(reason="late", site="south", round=3))
    assert "south: late" in shown(view)
    view.note("waiting for west")
    assert "waiting for west" in shown(view)


def test_without_a_terminal_there_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    with campaign_view(4, plain=True) as teller:
        teller.line(RoundLine(round=1, digest="d", accepted=2, seconds=3.0))
        teller.event(CampaignEvent(what="server_back", campaign="c"))
    told = capsys.readouterr().err
    assert "round 1/4: 2 updates" in told
    assert "the server is back" in told


def test_how_it_ended_names_who_is_missing_and_what_is_lost() -> None:
    whole = FinalLine(outcome="COMPLETED", best_round=3, best_metric=0.8, measure=Measure.CONCORDANCE)
    assert outcome_words(whole) == "COMPLETED: best round 3, validation concordance 0.800"
    less = FinalLine(outcome="DEGRADED", best_round=3, missing=("west", "south"), cases_lost=0.125)
    assert "west, south; 12.5 % of the case-rounds are not in the model" in outcome_words(less)
    assert outcome_words(FinalLine(outcome="FAILED", cases_lost=1.0)).startswith("FAILED: not every round")


@pytest.mark.parametrize("what", What.__args__)  # type: ignore[attr-defined] # of a Literal
def test_every_event_has_words(what: What) -> None:
    full = CampaignEvent(what=what, campaign="c", link=2, job_id="j", sites=("a",), reason="r", detail="why")
    bare = CampaignEvent(what=what, campaign="c", job_id="j", reason="r")
    for event in (full, bare):
        assert len(words(event)) >= 10
        assert "None" not in words(event)
