"""What the server makes of an answer that is formed as it should be and says what it should not."""

import dataclasses
from collections.abc import Mapping

import pytest

from radfed.errors import InvalidInputError
from radfed.federation.question import KINDS
from radfed.federation.question_controller import QuestionController
from radfed.job import FederationSettings, Job, JobSpec, ReleaseQuestion, find_job
from radfed.privacy.leakage_policy import LeakagePolicy
from radfed.privacy.leakage_sums import SiteLeakage
from radfed.settings import Settings

TASK = find_job("phantom_segmentation").task
ASKED = ReleaseQuestion(name="r", digest="a" * 64, weights="b" * 64, split="test", trained=("north", "south"))


@pytest.fixture
def controller() -> QuestionController:
    made = QuestionController()
    spec = JobSpec(name="audit", description="d", federation=FederationSettings(rounds=1))
    made._job = Job(job=spec, task=TASK, purpose="leakage", release=ASKED)
    made._root = None
    return made


def leakage(**changes: object) -> dict[str, object]:
    about = {"model": ASKED.weights, "task": TASK.name, "task_digest": TASK.digest, "policy": LeakagePolicy()}
    told = SiteLeakage.check({**about, "members": None, "others": None, "attacks": {}, **changes}, "test")
    return told.model_dump(mode="json")


def test_an_answer_by_the_servers_own_limits_is_taken(controller: QuestionController) -> None:
    controller._judge("north", leakage())
    assert set(controller._answers) == {"north"}


def test_a_site_cannot_bring_limits_of_its_own(controller: QuestionController) -> None:
    lenient = LeakagePolicy(auc_limit=0.999, auc_tolerated=0.9995)
    with pytest.raises(InvalidInputError, match="something else than was asked"):
        controller._judge("north", leakage(policy=lenient))
    assert not controller._answers


def test_an_answer_that_cannot_be_pooled_ends_nobody_elses(
    controller: QuestionController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(answers: Mapping[str, Settings], asked: ReleaseQuestion) -> Settings:
        if "south" in answers:
            raise ZeroDivisionError
        return answers["north"]

    kind = KINDS["leakage"]
    changed = dataclasses.replace(kind, pool=fails)
    monkeypatch.setattr("radfed.federation.question_controller.KINDS", {"leakage": changed})
    controller._judge("north", leakage())
    with pytest.raises(ZeroDivisionError):
        controller._judge("south", leakage())
    assert set(controller._answers) == {"north"}
