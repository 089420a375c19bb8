"""Nothing that leaves a site holds a patient's name, a path on its disk or the name of its machine.

Every frame that a site's processes send to the server is recorded before TLS. One of the sites has a broken image, so
that error messages with names and paths are made; and the engineer asks for all that FLARE's console can be asked.
"""

from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session
from tests.integration.federation_data import tiny_job
from tests.integration.federation_hooks import Hooks, arm, disarm, wait_held
from tests.integration.federation_host import SERVER, LoopbackFederation
from tests.integration.federation_processes import lines_of, wait_for
from tests.integration.federation_search import Hit, read_frames, search, search_files, search_frames
from tests.integration.federation_secrets import break_a_case, host_of, planted, write_hospital
from tests.integration.federation_setup import ADMINISTRATOR

from radfed.federation.recipe import export_job
from radfed.job import as_campaign
from radfed.ledger import FinalLine, SiteLine, read_ledger

SITES = ("north", "valley", "coast")
BROKEN = "coast"


@dataclass(frozen=True)
class Recorded:
    """A campaign with everything that was seen of it outside the sites."""

    root: Path
    federation: LoopbackFederation
    secrets: dict[str, dict[str, Set[str]]]
    answers: dict[str, str]
    results: Path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    root = tmp_path_factory.mktemp("leaks")
    job = tiny_job(rounds=2, local_steps=4, min_sites=2, sites=list(SITES), grace=5)
    datasets = {site: write_hospital(root, site, job) for site in SITES}
    secrets = {site: planted(root, site, datasets[site]) for site in SITES}
    break_a_case(datasets[BROKEN])
    hooks = {
        site: Hooks(
            holds={"training": "radfed.training.trainer:Trainer._step"},
            frames=root / "frames" / site,
            hostname=host_of(site),
        ).write(root / "hooks" / site)
        for site in SITES
    }
    extra = {site: {"HOSTNAME": host_of(site), "USER": f"dr-{host_of(site)}"} for site in SITES}
    federation = LoopbackFederation(root / "fed", SITES, datasets, hooks=hooks, extra=extra)
    for site in SITES:
        # The kit's own folder is on the site's disk, too.
        secrets[site]["kit"] = {str(federation.kit(site)), str(federation.site_folder(site))}
    with federation, federation.console() as console:
        arm(hooks["north"], "training", 1)
        job_id = console.submit(export_job(as_campaign(job, "leaks"), root / "jobs"), "leaks")
        wait_held(hooks["north"], "training", 120)
        answers = ask_everything(federation, job_id)
        disarm(hooks["north"], "training")
        wait_for(lambda: console.status(job_id).ended, 150, "end of the job", every=0.5)
        results = console.download(job_id, root / "results")
        assert results is not None
        answers |= ask_everything(federation, job_id)
    return Recorded(root, federation, secrets, answers, results)


def ask_everything(federation: LoopbackFederation, job_id: str) -> dict[str, str]:
    """What FLARE's console answers to an administrator who asks the sites for all that it can ask."""
    session = new_secure_session(ADMINISTRATOR, str(federation.kit(ADMINISTRATOR)), timeout=30)
    questions: dict[str, Callable[[Session], object]] = {
        "env": lambda s: s.get_client_env(),
        "status": lambda s: s.check_status("client"),
        "jobs": lambda s: s.get_client_job_status(),
        "resources": lambda s: s.report_resources("client"),
        "version": lambda s: s.report_version("client"),
        "errors": lambda s: s.show_errors(job_id, "client"),
        "stats": lambda s: s.show_stats(job_id, "client"),
        "logs": lambda s: s.get_job_logs(job_id, BROKEN),
        "sys_info": lambda s: s.do_command("sys_info client"),
        "pwd": lambda s: s.get_working_directory(BROKEN),
        "ls": lambda s: s.ls_target(BROKEN),
        "log": lambda s: s.tail_target_log(BROKEN),
        "meta": lambda s: s.get_job_meta(job_id),
    }
    answers = {}
    try:
        for name, question in questions.items():
            try:
                answers[name] = repr(question(session))
            except Exception as error:
                answers[name] = repr(error)
    finally:
        with suppress(Exception):
            session.close()
    return answers


def all_of(secrets: dict[str, dict[str, Set[str]]]) -> dict[str, Set[str]]:
    kinds = {kind for by_kind in secrets.values() for kind in by_kind}
    return {kind: {text for by_kind in secrets.values() for text in by_kind.get(kind, set())} for kind in kinds}


def shown(hits: list[Hit]) -> list[str]:
    return sorted({f"{hit.planted} as {hit.encoding} in {hit.where}: {hit.around!r}" for hit in hits})


def test_the_campaign_was_a_real_one(recorded: Recorded) -> None:
    lines = read_ledger(recorded.results / "ledger.jsonl")
    final = lines[-1]
    assert isinstance(final, FinalLine)
    assert (final.outcome, final.missing) == ("DEGRADED", (BROKEN,))
    assert {line.reason for line in lines if isinstance(line, SiteLine) and line.site == BROKEN}.isdisjoint({None})
    assert list((recorded.results / "release").glob("*/model.onnx"))


def test_the_search_would_have_found_them(recorded: Recorded) -> None:
    """The recording holds what sites are known to send, and the sites' own files hold what was planted."""
    for site in SITES:
        sent = {"name": {recorded.federation.name}, "update": {"model.0.conv.unit0.conv.weight"}}
        kinds = {hit.planted.split()[0] for hit in search_frames(recorded.root / "frames" / site, sent)}
        assert kinds == ({"name"} if site == BROKEN else {"name", "update"})
        assert sum(len(frames) for frames in read_frames(recorded.root / "frames" / site).values()) > 20
    own = [path for path in recorded.federation.kit(BROKEN).rglob("*") if path.is_file()]
    assert search_files(own, recorded.secrets[BROKEN]), "the site's own log names the broken case, as it should"


@pytest.mark.parametrize("site", SITES)
def test_no_frame_of_a_site_holds_what_was_planted(recorded: Recorded, site: str) -> None:
    assert shown(search_frames(recorded.root / "frames" / site, all_of(recorded.secrets))) == []


def test_nothing_on_the_server_holds_what_was_planted(recorded: Recorded) -> None:
    files = [path for path in recorded.federation.kit(SERVER).rglob("*") if path.is_file()]
    assert any(path.name == "log.txt" for path in files)
    assert lines_of(recorded.federation.kit(SERVER) / "log.txt")
    assert shown(search_files(files, all_of(recorded.secrets))) == []
    console = recorded.root / "fed" / "console" / f"{SERVER}.txt"
    assert shown(search_files([console], all_of(recorded.secrets))) == []


def test_the_ledger_and_the_release_hold_nothing_that_was_planted(recorded: Recorded) -> None:
    files = [path for path in recorded.results.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"ledger.jsonl", "model.onnx", "best.safetensors"}
    assert shown(search_files(files, all_of(recorded.secrets))) == []


def test_no_answer_to_an_administrator_holds_what_was_planted(recorded: Recorded) -> None:
    hits = [
        hit
        for question, answer in recorded.answers.items()
        for hit in search(question, answer.encode(), all_of(recorded.secrets))
    ]
    assert shown(hits) == []
