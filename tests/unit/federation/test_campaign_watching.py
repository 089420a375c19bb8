import threading
from pathlib import Path

import pytest
from campaign_world import FakeFlare, Time, export, lines_only, small_job  # type: ignore[import-not-found]

from radfed.errors import FederationError, InvalidInputError
from radfed.federation.campaign import run_campaign
from radfed.federation.campaign_context import Context, Orders
from radfed.federation.campaign_events import CampaignEvent
from radfed.federation.campaign_state import only_driver
from radfed.federation.watching import fetch, last_job, watch
from radfed.ledger import FinalLine, Line, read_ledger


def trained(folder: Path) -> tuple[FakeFlare, Path]:
    time, job, run = Time(), small_job(), folder / "run"
    flare = FakeFlare(time, job, folder / "server")
    run_campaign(job, flare, run, lambda _: None, export=export, clock=time.clock)
    return flare, run


def look(flare: FakeFlare, target: str) -> tuple[FinalLine | None, list[CampaignEvent | Line]]:
    events: list[CampaignEvent | Line] = []
    context = Context(flare, Path(target), events.append, Orders(), flare.time.clock)
    return watch(context, flare, target), events


def test_a_campaign_that_ended_is_told_from_its_run_folder(tmp_path: Path) -> None:
    flare, run = trained(tmp_path)
    final, events = look(flare, str(run))
    assert final is not None
    assert final.outcome == "COMPLETED"
    assert lines_only(events) == flare.ledger_file.lines


def test_a_campaign_is_followed_from_link_to_link_by_a_jobs_id(tmp_path: Path) -> None:
    time, job = Time(), small_job()
    flare = FakeFlare(time, job, tmp_path / "server")
    first = flare.submit(tmp_path, "token-1")
    second_at = time.now + 25

    def sleep(seconds: float) -> None:
        time.now += seconds
        if time.now > second_at and len(flare.jobs_by_id) == 1:
            flare.submit(tmp_path, "token-2")

    events: list[CampaignEvent | Line] = []
    clock = time.clock.__class__(now=lambda: time.now, sleep=sleep, wall=lambda: time.now)
    final = watch(Context(flare, tmp_path, events.append, Orders(), clock), flare, first)
    # The last link writes its lines as it ends; a watcher sees them only with the results.
    assert final is None
    assert [event.job_id for event in events if isinstance(event, CampaignEvent) and event.what == "submitted"] == [
        "job-1",
        "job-2",
    ]
    assert lines_only(events) == flare.ledger_file.lines[: len(lines_only(events))]
    assert len(lines_only(events)) > 0


def test_a_campaign_that_nobody_drives_is_said_to_be_so(tmp_path: Path) -> None:
    time, job, run = Time(), small_job(), tmp_path / "run"
    flare = FakeFlare(time, job, tmp_path / "server", ["dies"])

    class KilledError(BaseException):
        pass

    def killing(event: CampaignEvent | Line) -> None:
        if isinstance(event, CampaignEvent) and event.what == "link_ended":
            raise KilledError

    with pytest.raises(KilledError):
        run_campaign(job, flare, run, killing, export=export, clock=time.clock)
    final, events = look(flare, str(run))
    assert final is None
    assert [event.reason for event in events if isinstance(event, CampaignEvent)][-1] == "not_driven"


def test_a_driven_campaign_is_waited_for(tmp_path: Path) -> None:
    flare, run = trained(tmp_path)
    whole = (run / "ledger.jsonl").read_text().splitlines(keepends=True)
    (run / "ledger.jsonl").write_text("".join(whole[:-1]))
    state = (run / "campaign.json").read_text()
    (run / "campaign.json").write_text(state.replace('"outcome": "COMPLETED"', '"outcome": null'))
    looked = threading.Event()

    def sleep(seconds: float) -> None:
        flare.time.now += seconds
        looked.set()
        (run / "ledger.jsonl").write_text("".join(whole))

    events: list[CampaignEvent | Line] = []
    clock = flare.time.clock.__class__(now=lambda: flare.time.now, sleep=sleep, wall=lambda: flare.time.now)
    with only_driver(run):
        final = watch(Context(flare, run, events.append, Orders(), clock), flare, str(run))
    assert looked.is_set()
    assert final is not None
    assert lines_only(events) == read_ledger(run / "ledger.jsonl")


def test_results_are_fetched_by_run_folder_and_by_id(tmp_path: Path) -> None:
    flare, run = trained(tmp_path)
    for number, target in enumerate((str(run), last_job(str(run)))):
        out = tmp_path / f"out-{number}"
        assert fetch(flare, target, out).outcome == "COMPLETED"
        assert sorted(path.name for path in out.iterdir()) == ["best.safetensors", "ledger.jsonl", "release.json"]


def test_what_has_not_ended_is_not_fetched(tmp_path: Path) -> None:
    flare, _ = trained(tmp_path)
    flare.jobs_by_id["job-2"].finished = None
    with pytest.raises(FederationError, match="left no results"):
        fetch(flare, "job-2", tmp_path / "out")
    with pytest.raises(InvalidInputError, match=r"holds no campaign\.json"):
        last_job(str(tmp_path))
