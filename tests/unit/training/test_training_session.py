"""The trainer as a process: what it keeps from round to round, and how it dies."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.splits import SplitSettings
from radfed.federation.trainer import TrainerDiedError, TrainerProcess, TrainerRefusedError
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.job import Job, find_job
from radfed.site.config import SiteSettings
from radfed.training.initial import main as write_initial
from radfed.training.process import Request
from radfed.training.session import FEWEST_TEST_CASES, Session
from radfed.weights import load_weights, save_weights, weights_digest


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def job() -> Job:
    content = find_job("phantom_segmentation").model_dump(mode="json")
    content["task"] |= {"spacing": [3.6, 3.6, 3.6], "roi_size": [16, 16, 16]}
    content["task"]["network"]["args"] |= {"channels": [4, 8], "strides": [2]}
    content["job"]["federation"] |= {"rounds": 3, "local_steps": 3}
    return Job.check(content, "tiny")


@pytest.fixture(scope="module")
def place(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job file, the initial weights, and one site's dataset."""
    root = tmp_path_factory.mktemp("place")
    write_cohort(root / "raw", "north", SCANNERS["north"], 12, seed=1)
    split = SplitSettings(validation=0.3, test=0.34, seed=3)
    ingest(root / "raw", root / "data", IngestSettings("north", bytes(32), root / "k.csv", task=job.task, split=split))
    job.write_json(root / "job.json")
    write_initial(root / "job.json", root / "initial.safetensors")
    return root


def open_session(place: Path) -> Session:
    site = SiteSettings(name="north", dataset=place / "data", threads=1)
    return Session.open(place / "job.json", site.model_dump(mode="json"), "north")


def train(session: Session, place: Path, states: Path, number: int, weights: Path) -> Path:
    states.mkdir(exist_ok=True)
    out = states / f"out-{number}.safetensors"
    report = session.work(Request(do="train", weights=weights, round=number, out=out, states=states), never)
    assert report["optimiser"] == ("fresh" if number == 1 else "kept")
    return out


def test_a_session_that_died_between_rounds_goes_on_as_if_it_had_not(place: Path, tmp_path: Path) -> None:
    whole = open_session(place)
    first = train(whole, place, tmp_path / "a", 1, place / "initial.safetensors")
    second = train(whole, place, tmp_path / "a", 2, first)

    again = train(open_session(place), place, tmp_path / "b", 1, place / "initial.safetensors")
    resumed = train(open_session(place), place, tmp_path / "b", 2, again)
    assert weights_digest(load_weights(resumed)) == weights_digest(load_weights(second))


def test_a_round_asked_for_twice_has_the_same_result(place: Path, tmp_path: Path) -> None:
    session = open_session(place)
    first = train(session, place, tmp_path / "a", 1, place / "initial.safetensors")
    once = weights_digest(load_weights(train(session, place, tmp_path / "a", 2, first)))
    assert weights_digest(load_weights(train(session, place, tmp_path / "a", 2, first))) == once


def test_without_its_state_a_site_begins_with_a_fresh_optimiser_and_says_so(place: Path, tmp_path: Path) -> None:
    session = open_session(place)
    first = train(session, place, tmp_path, 1, place / "initial.safetensors")
    kept = weights_digest(load_weights(train(session, place, tmp_path, 2, first)))
    (tmp_path / "state-1.safetensors").unlink()
    request = Request(do="train", weights=first, round=2, out=tmp_path / "out.safetensors", states=tmp_path)
    report = open_session(place).work(request, never)
    assert report["optimiser"] == "fresh"
    assert weights_digest(load_weights(tmp_path / "out.safetensors")) != kept


def test_a_state_of_another_network_is_not_used(place: Path, tmp_path: Path) -> None:
    first = train(open_session(place), place, tmp_path, 1, place / "initial.safetensors")
    state = {name: np.zeros(7, np.float32) for name in load_weights(tmp_path / "state-1.safetensors")}
    save_weights(tmp_path / "state-1.safetensors", state)
    request = Request(do="train", weights=first, round=2, out=tmp_path / "out.safetensors", states=tmp_path)
    assert open_session(place).work(request, never)["optimiser"] == "fresh"


def test_only_the_last_two_states_are_kept(place: Path, tmp_path: Path) -> None:
    session, weights = open_session(place), place / "initial.safetensors"
    for number in (1, 2, 3):
        weights = train(session, place, tmp_path, number, weights)
    assert sorted(path.name for path in tmp_path.glob("state-*")) == ["state-2.safetensors", "state-3.safetensors"]


def test_test_scores_leave_as_sums_and_only_for_enough_cases(place: Path) -> None:
    session = open_session(place)
    report = session.work(Request(do="test", weights=place / "initial.safetensors"), never)
    cases = len(session.dataset.split("test"))
    assert cases >= FEWEST_TEST_CASES, "the split below must leave enough"
    assert report["cases"] == cases
    labels = report["labels"]
    assert isinstance(labels, dict)
    assert set(labels) == set(session.job.task.measured)
    assert all(set(sums) == {"total", "squares"} for sums in labels.values())


@pytest.fixture
def trainer(place: Path, tmp_path: Path) -> Iterator[TrainerProcess]:
    process = TrainerProcess(tmp_path / "trainer.log", 1)
    site = SiteSettings(name="north", dataset=place / "data", threads=1).model_dump(mode="json")
    process.ask(Request(do="open", job=place / "job.json", site=site, name="north"), never)
    yield process
    process.end()


def test_the_process_trains_as_the_session_does_and_answers_refusals(
    place: Path, tmp_path: Path, trainer: TrainerProcess
) -> None:
    (tmp_path / "a").mkdir()
    out = tmp_path / "a" / "out.safetensors"
    request = Request(do="train", weights=place / "initial.safetensors", round=1, out=out, states=tmp_path / "a")
    trainer.ask(request, never)
    here = train(open_session(place), place, tmp_path / "b", 1, place / "initial.safetensors")
    assert weights_digest(load_weights(out)) == weights_digest(load_weights(here))
    save_weights(tmp_path / "odd.safetensors", {"w": np.zeros(2, np.float32)})
    with pytest.raises(TrainerRefusedError) as refused:
        trainer.ask(request.model_copy(update={"weights": tmp_path / "odd.safetensors"}), never)
    assert refused.value.reason == "training_failed"
    assert trainer.alive


def test_a_training_can_be_stopped(place: Path, tmp_path: Path, job: Job) -> None:
    long = job.with_changes(local_steps=10_000)
    long.write_json(tmp_path / "job.json")
    process = TrainerProcess(tmp_path / "trainer.log", 1)
    site = SiteSettings(name="north", dataset=place / "data", threads=1).model_dump(mode="json")
    process.ask(Request(do="open", job=tmp_path / "job.json", site=site, name="north"), never)
    started = time.monotonic()
    request = Request(do="train", weights=place / "initial.safetensors", round=1, out=tmp_path / "o", states=tmp_path)
    with pytest.raises(TrainerRefusedError, match="stopped in round 1"):
        process.ask(request, lambda: time.monotonic() - started > 0.5)
    assert process.alive
    process.end()


def test_a_killed_trainer_is_noticed_at_once(place: Path, tmp_path: Path, trainer: TrainerProcess) -> None:
    psutil.Process(trainer._process.pid).kill()
    with pytest.raises(TrainerDiedError):
        trainer.ask(Request(do="validate", weights=place / "initial.safetensors"), never)


def test_a_trainer_dies_with_whoever_started_it(trainer: TrainerProcess) -> None:
    """What a killed client job leaves behind is an end of the pipe."""
    assert trainer._process.stdin is not None
    trainer._process.stdin.close()
    assert trainer._process.wait(timeout=20) == 0
