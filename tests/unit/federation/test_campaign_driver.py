import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from campaign_world import (  # type: ignore[import-not-found]
    DIGEST,
    SITES,
    FakeFlare,
    Fate,
    Time,
    export,
    lines_only,
    small_job,
)

from radfed.errors import GateError, InvalidInputError
from radfed.federation.campaign import abort_campaign, run_campaign
from radfed.federation.campaign_context import Orders
from radfed.federation.campaign_events import CampaignEvent, OnEvent
from radfed.federation.campaign_state import only_driver, read_state
from radfed.job import Job
from radfed.ledger import FinalLine, Line, read_ledger
from radfed.weights import load_weights, save_weights, weights_digest


class World:
    """A federation, a run folder, and what the driver told."""

    def __init__(self, folder: Path, *fates: Fate, job: Job | None = None, **more: Any) -> None:  # noqa: ANN401 - test
        self.time = Time()
        self.job: Job = job or small_job()
        self.flare = FakeFlare(self.time, self.job, folder / "server", fates, **more)
        self.run_folder = folder / "run"
        self.events: list[CampaignEvent | Line] = []

    def drive(self, on_event: OnEvent | None = None, **orders: Any) -> FinalLine:  # noqa: ANN401 - test
        return run_campaign(
            self.job,
            self.flare,
            self.run_folder,
            on_event or self.events.append,
            export=export,
            orders=Orders(**orders),
            clock=self.time.clock,
        )

    def told(self, what: str) -> list[CampaignEvent]:
        return [event for event in self.events if isinstance(event, CampaignEvent) and event.what == what]

    @property
    def ends(self) -> list[tuple[str | None, str | None]]:
        state = read_state(self.run_folder)
        assert state is not None
        return [(link.end, link.reason) for link in state.links]


def test_an_undisturbed_chain_ends_with_everything_in_the_run_folder(tmp_path: Path) -> None:
    world = World(tmp_path)
    final = world.drive()
    assert final.outcome == "COMPLETED"
    assert world.ends == [("ended", "completed"), ("done", "concluded")]
    assert read_ledger(world.run_folder / "ledger.jsonl") == world.flare.ledger_file.lines
    assert weights_digest(load_weights(world.run_folder / "best.safetensors")) == final.digest
    assert lines_only(world.events) == world.flare.ledger_file.lines
    assert not list(world.run_folder.glob(".fetched/*"))


@pytest.mark.parametrize("fate", ["dies", "stays_running", "hangs", "ignores_abort", "not_started", "dies_unreleased"])
@pytest.mark.parametrize("at", [0, 1])
def test_one_lost_link_costs_no_more_than_itself(tmp_path: Path, fate: Fate, at: int) -> None:
    fates: list[Fate] = ["works"] * at
    world = World(tmp_path, *fates, fate)
    final = world.drive()
    assert final.outcome == "COMPLETED"
    assert lines_only(world.events) == world.flare.ledger_file.lines
    assert len(world.ends) <= 4
    assert world.flare.running_at_once == (2 if fate == "ignores_abort" else 1)


@pytest.mark.parametrize(
    ("fate", "ends"),
    [
        ("dies", ("lost", "abnormal")),
        ("stays_running", ("lost", "no_process_left_running")),
        ("hangs", ("lost", "silent")),
        ("ignores_abort", ("lost", "silent_abandoned")),
        ("not_started", ("not_scheduled", "not_scheduled")),
    ],
)
def test_the_state_says_why_a_link_was_lost(tmp_path: Path, fate: Fate, ends: tuple[str, str]) -> None:
    world = World(tmp_path, fate)
    world.drive()
    assert world.ends[0] == ends


def test_links_that_bring_no_round_end_the_campaign_at_the_limit(tmp_path: Path) -> None:
    world = World(tmp_path, *["hangs"] * 20, job=small_job(max_links=2))
    assert world.drive().outcome == "FAILED"
    assert world.ends == [("lost", "silent")] * 3
    assert [event.reason for event in world.told("stopped")] == ["too_many_lost_links"]
    state = read_state(world.run_folder)
    assert state is not None
    assert state.outcome == "FAILED"
    # The same command again says so at once.
    assert world.drive().outcome == "FAILED"
    assert len(world.flare.jobs_by_id) == 3


def test_a_link_that_died_after_a_round_does_not_count_towards_the_limit(tmp_path: Path) -> None:
    world = World(tmp_path, *["dies"] * 5, job=small_job(rounds=6, max_links=1))
    assert world.drive().outcome == "COMPLETED"


def test_it_waits_for_approval_with_growing_pauses_and_says_so_once(tmp_path: Path) -> None:
    world = World(tmp_path, *["not_approved"] * 4)
    began = world.time.now
    assert world.drive().outcome == "COMPLETED"
    assert world.ends[:4] == [("awaiting_approval", "not_approved")] * 4
    assert [(event.sites, event.detail) for event in world.told("waiting_for_approval")] == [(("south",), DIGEST)]
    assert all(job.mandatory == SITES for job in list(world.flare.jobs_by_id.values())[:5])
    submitted = [job.submitted - began for job in world.flare.jobs_by_id.values()][:5]
    pauses = [later - earlier for earlier, later in itertools.pairwise(submitted)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 40


def test_approval_that_does_not_come_in_time_stops_it_and_the_same_command_waits_again(tmp_path: Path) -> None:
    world = World(tmp_path, *["not_approved"] * 8)
    with pytest.raises(GateError, match="no approval at south within 60 s"):
        world.drive(approval_timeout=60.0)
    world.flare.fates = ()
    assert world.drive().outcome == "COMPLETED"


def test_a_refusal_for_good_stops_it_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, "refused")
    with pytest.raises(GateError, match=r"south: not_codeless: custom/evil\.py"):
        world.drive()
    assert len(world.flare.jobs_by_id) == 1


def test_a_quorum_starts_without_mandatory_sites(tmp_path: Path) -> None:
    deployed = {"south": f"radfed:not_approved:{DIGEST}"}
    world = World(tmp_path, deployed=deployed, connected=("north", "west"))
    final = world.drive(start_with_quorum=True)
    assert final.outcome == "DEGRADED"
    assert final.missing == ("south",)
    assert [job.mandatory for job in world.flare.jobs_by_id.values()] == [(), ()]
    assert world.told("without_sites")[0].sites == ("south",)
    assert world.told("waiting_for_approval")[0].sites == ("south",)


def test_sites_that_the_job_does_not_name_are_those_that_are_connected(tmp_path: Path) -> None:
    world = World(tmp_path, job=small_job(sites=()), connected=("north", "west"))
    world.flare.job = small_job(sites=("north", "west"))
    assert world.drive().outcome == "COMPLETED"
    assert world.told("begun")[0].sites == ("north", "west")
    settings = json.loads((world.run_folder / "job.json").read_text())
    assert settings["job"]["federation"]["sites"] == ["north", "west"]


def test_without_a_quorum_it_waits_and_gives_up_with_the_truth(tmp_path: Path) -> None:
    world = World(tmp_path, connected=("north",))
    assert world.drive(give_up_after=120.0).outcome == "FAILED"
    assert [event.reason for event in world.told("stopped")] == ["too_few_sites"]
    assert "1 site(s) connected" in str(world.told("stopped")[0].detail)
    world.flare.connected = SITES
    assert world.drive().outcome == "COMPLETED"


def test_a_server_that_is_away_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, away=[(1005.0, 1400.0)])
    assert world.drive().outcome == "COMPLETED"
    assert len(world.told("server_unreachable")) == len(world.told("server_back")) == 1


def test_a_server_that_stays_away_ends_it_as_failed_and_another_call_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, away=[(1012.0, 5000.0)])
    assert world.drive(give_up_after=600.0).outcome == "FAILED"
    assert [event.reason for event in world.told("stopped")] == ["server_unreachable"]
    world.time.now = 5001.0
    assert world.drive().outcome == "COMPLETED"
    assert lines_only(world.events) == world.flare.ledger_file.lines


def test_a_driver_killed_between_submission_and_note_submits_no_second_job(tmp_path: Path) -> None:
    world = World(tmp_path, crash_after_submit=True)
    with pytest.raises(KeyboardInterrupt):
        world.drive()
    state = read_state(world.run_folder)
    assert state is not None
    assert state.links[0].job_id is None
    assert world.drive().outcome == "COMPLETED"
    assert list(world.flare.jobs_by_id) == ["job-1", "job-2"]


@pytest.mark.parametrize("event", range(1, 30, 3))
def test_a_driver_killed_at_any_event_goes_on_where_it_was(tmp_path: Path, event: int) -> None:
    world = World(tmp_path, "works", "dies")

    class KilledError(BaseException):
        pass

    count = 0

    def killing(happened: CampaignEvent | Line) -> None:
        nonlocal count
        count += 1
        world.events.append(happened)
        if count == event:
            raise KilledError

    with pytest.raises(KilledError):
        world.drive(killing)
    assert world.drive().outcome == "COMPLETED"
    assert read_ledger(world.run_folder / "ledger.jsonl") == world.flare.ledger_file.lines
    assert world.flare.running_at_once == 1


def test_a_server_with_fewer_lines_than_were_seen_is_believed(tmp_path: Path) -> None:
    world = World(tmp_path, "works", "dies")
    original = world.flare.submit
    torn = False

    def submit(folder: Path, token: str, **more: object) -> str:
        nonlocal torn
        job_id: str = original(folder, token, **more)
        if job_id == "job-3" and not torn:
            torn = True
            path = world.flare.store / "ledger.jsonl"
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
        return job_id

    world.flare.submit = submit
    assert world.drive().outcome == "COMPLETED"
    assert torn
    assert read_ledger(world.run_folder / "ledger.jsonl") == world.flare.ledger_file.lines


def test_a_model_that_is_not_the_ledgers_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    original = world.flare.download

    def download(job_id: str, into: Path) -> Path | None:
        got: Path | None = original(job_id, into)
        if got is not None and (got / "best.safetensors").is_file():
            save_weights(got / "best.safetensors", {"w": world.flare.model["w"] + 1})
        return got

    world.flare.download = download
    with pytest.raises(GateError, match="the ledger says"):
        world.drive()
    assert not (world.run_folder / "best.safetensors").exists()


def test_a_run_folder_is_for_one_training_and_one_driver(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.drive()
    world.job = small_job(rounds=9)
    with pytest.raises(InvalidInputError, match="begun with other settings"):
        world.drive()
    with only_driver(world.run_folder), pytest.raises(InvalidInputError, match="another radfed job submit drives"):
        world.drive()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ledger.jsonl").write_text("")
    world.run_folder = tmp_path / "other"
    with pytest.raises(InvalidInputError, match="another run's ledger"):
        world.drive()


def test_an_aborted_campaign_stays_aborted(tmp_path: Path) -> None:
    world = World(tmp_path, crash_after_submit=True)
    with pytest.raises(KeyboardInterrupt):
        world.drive()
    with pytest.raises(KeyboardInterrupt):
        world.drive(_interrupt_on("submitted"))
    # The note of the job's id came too late; the abort cannot know it.
    assert abort_campaign(world.flare, world.run_folder) is None
    assert world.drive().outcome == "FAILED"


def _interrupt_on(what: str) -> OnEvent:
    def on_event(event: CampaignEvent | Line) -> None:
        if isinstance(event, CampaignEvent) and event.what == what:
            raise KeyboardInterrupt

    return on_event
