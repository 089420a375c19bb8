import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nvflare.fuel.flare_api.api_spec import (
    AuthorizationError,
    InternalError,
    JobNotRunning,
    NoConnection,
    NoReply,
    SessionClosed,
    SubmitTokenConflict,
)

from radfed.errors import FederationError, GateError, InvalidInputError
from radfed.federation.admin_kit import read_admin_kit, why_refused
from radfed.federation.console import Console, _copy_job
from radfed.federation.sightings import JobStatus, LedgerPage, Life, Refusal, UnreachableError
from radfed.ledger import RoundLine

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def write_kit(folder: Path, days: tuple[int, int] = (-1, 30), port: int = 8002) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lead@radfed.test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .sign(key, hashes.SHA256())
    )
    startup = folder / "startup"
    startup.mkdir(parents=True)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (startup / "client.crt").write_bytes(pem)
    (startup / "rootCA.pem").write_bytes(pem)
    (startup / "client.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    admin = {"project_name": "lungs", "host": "localhost", "port": port, "username": "somebody@else.test"}
    (startup / "fed_admin.json").write_text(json.dumps({"admin": admin}))
    return folder


def test_a_kit_says_who_and_where(tmp_path: Path) -> None:
    kit = read_admin_kit(write_kit(tmp_path), NOW)
    assert (kit.user, kit.federation, kit.host, kit.port) == ("lead@radfed.test", "lungs", "localhost", 8002)
    assert kit.expires == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    ("days", "message"),
    [((-30, -1), "ended on 2026-04-30; ask the federation"), ((1, 30), "check this machine's clock")],
)
def test_a_certificate_out_of_its_time_is_refused(tmp_path: Path, days: tuple[int, int], message: str) -> None:
    with pytest.raises(GateError, match=message):
        read_admin_kit(write_kit(tmp_path, days), NOW)


def test_other_kits_and_other_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is no readable startup kit of a person"):
        read_admin_kit(tmp_path, NOW)
    (tmp_path / "startup").mkdir()
    (tmp_path / "startup" / "fed_client.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="is the kit of a server or a site"):
        read_admin_kit(tmp_path, NOW)


def test_a_server_that_does_not_listen_is_no_matter_of_certificates(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert why_refused(read_admin_kit(write_kit(tmp_path, port=port), NOW)) is None


def test_a_server_that_cuts_the_connection_has_not_refused_a_certificate(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kit = read_admin_kit(write_kit(tmp_path, port=server.getsockname()[1]), NOW)
        cutting = threading.Thread(target=lambda: server.accept()[0].close())
        cutting.start()
        assert why_refused(kit) is None
        cutting.join()


def test_a_job_is_sent_without_signatures_and_without_empty_folders(tmp_path: Path) -> None:
    job = tmp_path / "job"
    (job / "app" / "config").mkdir(parents=True)
    (job / "app" / "custom").mkdir()
    (job / "meta.json").write_text(json.dumps({"name": "old", "min_clients": 2}))
    (job / "app" / "config" / "radfed.json").write_text("{}")
    for place in (job, job / "app" / "config", job / "app" / "custom"):
        (place / ".__nvfl_sig.json").write_text("{}")
    _copy_job(job, tmp_path / "copy", {"name": "new", "mandatory_clients": None})
    files = sorted(path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*"))
    assert files == ["app", "app/config", "app/config/radfed.json", "meta.json"]
    assert json.loads((tmp_path / "copy" / "meta.json").read_text()) == {"name": "new", "min_clients": 2}
    assert json.loads((job / "meta.json").read_text())["name"] == "old"
    with pytest.raises(InvalidInputError, match="radfed job export"):
        _copy_job(tmp_path / "nothing", tmp_path / "other", {})


def test_flares_meta_data_say_who_refused_and_why() -> None:
    status = JobStatus.of(
        {
            "job_id": "1",
            "name": "campaign",
            "status": "FINISHED:FAILED_TO_RUN",
            "job_deploy_detail": [
                "server: OK",
                "north: OK",
                f"south: NVFLARE_ERROR: radfed:not_approved:{'ab' * 32}",
                "west: NVFLARE_ERROR: radfed:no_site",
                "east: no reply (deployment timeout)",
                "num_ok_sites 1 < required_min_sites 2",
            ],
            "schedule_history": ["2026-11-23 02:53:22: missing required site east", "2026-11-23 02:54:22: scheduled"],
        }
    )
    assert status.ended
    assert status.note.endswith("scheduled")
    assert status.refusals == (
        Refusal("east", "not_deployed", "no reply (deployment timeout)"),
        Refusal("south", "not_approved", "ab" * 32),
        Refusal("west", "no_site"),
    )
    assert [refusal.can_pass for refusal in status.refusals] == [False, True, True]


def test_meta_data_of_a_new_job_are_enough() -> None:
    status = JobStatus.of({"job_id": "1", "status": "SUBMITTED"})
    assert status.waits
    assert not status.ended
    assert status.refusals == ()


def test_a_page_of_the_ledger_is_read_or_refused() -> None:
    line = RoundLine(round=1, digest="d", accepted=2, seconds=1.0)
    page = LedgerPage.of({"campaign": "c", "lines": [line.model_dump(mode="json")], "total": 7})
    assert page == LedgerPage(Life.ANSWERED, (line,), 7)
    for content in (None, {}, {"lines": 3, "total": 1}, {"lines": [{"event": "unheard"}], "total": 1}):
        with pytest.raises(FederationError, match="another version of radfed"):
            LedgerPage.of(content)


class FakeSession:
    """FLARE's session with answers that are laid out; an exception among them is raised."""

    opened = 0
    answers: ClassVar[list[object]] = []

    def __init__(self, user: str, folder: str) -> None:
        type(self).opened += 1
        self.api = SimpleNamespace(close=lambda: None)

    def set_timeout(self, seconds: float) -> None:
        pass

    def try_connect(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., object]:
        def answer(*_: object, **__: object) -> object:
            found = self.answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        return answer


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Console]:
    monkeypatch.setattr("radfed.federation.console.Session", FakeSession)
    monkeypatch.setattr("radfed.federation.console._PAUSE", 0.0)
    kit = write_kit(tmp_path / "kit")
    monkeypatch.setattr("radfed.federation.console.read_admin_kit", lambda folder: read_admin_kit(folder, NOW))

    def connect(*answers: object, patience: float = 60.0) -> Console:
        FakeSession.opened, FakeSession.answers = 0, list(answers)
        return Console(kit, patience)

    return connect


META = {"job_id": "j", "name": "c", "status": "RUNNING"}


def test_a_lost_session_is_opened_anew(console: Callable[..., Console]) -> None:
    open_console = console(SessionClosed("the session is closed on server"), NoConnection("gone"), META)
    assert open_console.status("j").status == "RUNNING"
    assert FakeSession.opened == 3


@pytest.mark.parametrize("trouble", [NoReply("busy"), InternalError("server internal error"), RuntimeError("status X")])
def test_what_passes_is_asked_again_and_never_a_traceback(console: Callable[..., Console], trouble: Exception) -> None:
    assert console(trouble, META).status("j").status == "RUNNING"
    with pytest.raises(UnreachableError):
        console(trouble, patience=0.0).status("j")


def test_a_server_that_does_not_come_back_is_unreachable(console: Callable[..., Console]) -> None:
    with pytest.raises(UnreachableError, match="localhost:8002 does not answer"):
        console(NoConnection("gone"), patience=0.0).status("j")


@pytest.mark.parametrize(
    ("answers", "life"),
    [
        ([JobNotRunning("x")], Life.GONE),
        ([NoReply("no result")], Life.SILENT),
        ([InternalError("error: no app command func for topic radfed.ledger")], Life.SILENT),
        # This console lost its patience, or the server is gone: only the server can tell.
        ([NoConnection("timeout"), META], Life.SILENT),
        ([{"campaign": "c", "lines": [], "total": 0}], Life.ANSWERED),
    ],
)
def test_a_jobs_signs_of_life(console: Callable[..., Console], answers: list[object], life: Life) -> None:
    assert console(*answers).ledger("j").life is life


def test_rights_that_are_missing_are_named(console: Callable[..., Console]) -> None:
    with pytest.raises(GateError, match='needs "app_command": "any"'):
        console(AuthorizationError("no")).ledger("j")
    with pytest.raises(GateError, match="may not do this in lungs"):
        console(AuthorizationError("no")).sites()


def test_a_job_that_was_sent_before_is_not_sent_twice(console: Callable[..., Console], tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "meta.json").write_text("{}")
    # The first answer was lost on the way; the second says which job it was.
    sent = console(NoConnection("timeout"), SubmitTokenConflict("known", "job-7"))
    assert sent.submit(tmp_path / "job", "token") == "job-7"


def test_flare_cannot_abort_what_has_no_process(console: Callable[..., Console]) -> None:
    assert console("Abort signal has been sent to the server app.").abort("j")
    assert not console(InternalError("server internal error: Job j is not running.")).abort("j")


def test_results_are_there_whole_or_not_at_all(console: Callable[..., Console], tmp_path: Path) -> None:
    got = tmp_path / "flare"
    (got / "workspace" / "radfed").mkdir(parents=True)
    (got / "workspace" / "radfed" / "ledger.jsonl").write_text("")
    assert console(str(got)).download("j", tmp_path / "out" / "j") == tmp_path / "out" / "j"
    assert [path.name for path in (tmp_path / "out" / "j").iterdir()] == ["ledger.jsonl"]
    assert console(str(tmp_path / "nothing")).download("j", tmp_path / "out" / "k") is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["j"]


def test_only_the_jobs_of_this_campaign_are_listed(console: Callable[..., Console]) -> None:
    listed = [META, META | {"job_id": "k", "name": "c-2"}]
    assert [status.job_id for status in console(listed).jobs("c")] == ["j"]
