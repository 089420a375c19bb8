from collections.abc import Callable

import pytest

from radfed.ledger import FinalLine, Line, SiteLine
from radfed.task import MultiClass, OutcomeTask, SegmentationTask, Survival
from radfed.validation.background import Background
from radfed.validation.checklist import CLAIM, TRIPOD_AI, fill, read_checklist
from radfed.validation.checklist_facts import ENVIRONMENT, JOB, Seen, checklist_facts
from radfed.validation.flow import SiteFlow
from radfed.validation.history import history_of

LINES: tuple[Line, ...] = (
    SiteLine(round=1, site="a", answered=True, accepted=True, weight=2.0),
    FinalLine(outcome="COMPLETED", best_round=1),
)
FLOW = (SiteFlow(site="a", found=5, quarantined={}, training=2, validation=1, test=2),)
EVERYTHING = Background(flow=FLOW, ledger=LINES, model_digest="ab" * 32, release_files=(ENVIRONMENT, JOB))


def seen(known: bool = True) -> Seen:
    return Seen(
        cases=4, patients=4, sites=("a", "b") if known else ("a",), split="test",
        history=history_of(LINES) if known else None, traits=("vendor", "sex") if known else (), pictures=known,
        decision_curve=known,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "items"), [(CLAIM, 44), (TRIPOD_AI, 52)])
def test_the_lists_are_whole(name: str, items: int) -> None:
    found = read_checklist(name)
    assert len({item.id for item in found.items}) == len(found.items) == items
    assert all(item.facts or item.rest for item in found.items)


def test_every_fact_that_an_item_names_can_be_known(
    task: SegmentationTask, make_outcome_task: Callable[..., OutcomeTask]
) -> None:
    weighted = make_outcome_task(MultiClass(classes=("no", "yes"))).model_copy(update={"class_weights": (1.0, 2.0)})
    tasks = (task, weighted, make_outcome_task(Survival()))
    known = {name for one in tasks for name in checklist_facts(EVERYTHING, one, seen())}
    named = {name for file in (CLAIM, TRIPOD_AI) for item in read_checklist(file).items for name in item.facts}
    assert named == known


def test_an_item_is_filled_only_by_what_is_known(task: SegmentationTask) -> None:
    whole, bare = (
        fill(read_checklist(CLAIM), checklist_facts(background, task, seen(known)))
        for background, known in ((EVERYTHING, True), (Background(), False))
    )
    statuses = {answer.item.id: answer.status for answer in whole.answers}
    assert statuses["44"] == "open"  # funding: nobody told us
    assert statuses["33"] == "filled"  # site b took no part in training
    assert statuses["3"] == "partly"
    for number in ("23", "24", "26", "32", "33", "35", "36", "39", "43"):
        assert next(answer.status for answer in bare.answers if answer.item.id == number) == "open"
    for answer in (*whole.answers, *bare.answers):
        assert (answer.status == "open") == (not answer.known)
        assert (answer.status == "filled") == (bool(answer.known) and not answer.missing)
    assert bare.count("filled") < whole.count("filled")
    assert sum(whole.count(status) for status in ("filled", "partly", "open")) == 44


def test_a_list_without_images_does_not_speak_of_them(make_outcome_task: Callable[..., OutcomeTask]) -> None:
    facts = checklist_facts(EVERYTHING, make_outcome_task(MultiClass(classes=("no", "yes"))), seen())
    assert "acquisition" not in facts
    assert "x0" in facts["predictors"]


@pytest.fixture
def make_outcome_task() -> Callable[..., OutcomeTask]:
    from radfed.task import NumericCovariate, OutcomeNetwork

    def make(outcome: MultiClass | Survival) -> OutcomeTask:
        return OutcomeTask(
            name="records", kind="survival" if isinstance(outcome, Survival) else "tabular", description="Reads.",
            intended_use="Trying.", covariates=(NumericCovariate(name="x0"),), outcome=outcome,
            network=OutcomeNetwork(),
        )  # fmt: skip

    return make
