"""Kits from stock ``nvflare provision`` as real processes over mTLS: who gets in, who is put out, what is refused."""

import datetime
import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from nvflare.fuel.flare_api.flare_api import Session
from nvflare.lighter.utils import Identity, generate_cert, generate_keys, serialize_cert, serialize_pri_key
from tests.integration.kit_processes import (
    ADMIN,
    LEAD,
    Participants,
    console,
    free_port,
    listens,
    present,
    run,
    session,
    wait_until,
)

from radfed.federation.provisioning import loopback_project
from radfed.federation.provisioning_kits import find_kits, read_kit

TOOL = Path(__file__).parents[2] / "tools" / "kits.py"


@dataclass(frozen=True)
class Federation:
    """A provisioned federation on this machine."""

    name: str
    root: Path
    port: int
    processes: Participants
    user: str = ADMIN

    @property
    def project(self) -> Path:
        return self.root / "ws" / self.name

    @property
    def kits(self) -> Path:
        return self.project / "prod_00"

    @property
    def server(self) -> Path:
        return self.kits / "localhost"

    def provision(self, *more: str | Path) -> None:
        run("nvflare", "provision", "-p", self.root / "project.yml", "-w", self.root / "ws", *more)

    def begin(self, *kits: Path) -> None:
        """Start kits and wait until FLARE lists them."""
        for kit in kits:
            self.processes.start(kit)
        # FLARE waits longer after each attempt in vain.
        wait_until(lambda: listens(self.port), "the server listens")
        names = {kit.name for kit in kits if (kit / "startup" / "fed_client.json").is_file()}
        wait_until(lambda: names <= present(self.kits, self.user), f"{names} registered")

    def store(self) -> set[str]:
        return {path.name for path in (self.server / "store" / "jobs").iterdir()}


def make(root: Path, name: str, sites: list[str]) -> Federation:
    root.mkdir()
    port = free_port()
    (root / "project.yml").write_text(loopback_project(name, sites, port=port, probe_port=free_port()))
    federation = Federation(name, root, port, Participants(root / "tmp"))
    federation.provision()
    return federation


@pytest.fixture
def alpha(tmp_path: Path) -> Iterator[Federation]:
    federation = make(tmp_path / "alpha", "alpha", ["site-a", "site-b"])
    yield federation
    federation.processes.stop_all()


@pytest.fixture
def beta(tmp_path: Path) -> Iterator[Federation]:
    federation = make(tmp_path / "beta", "beta", ["site-a"])
    yield federation
    federation.processes.stop_all()


def shipped_code(root: Path) -> Path:
    """A job with a Python file in ``custom/``, as FLARE's own recipes write them."""
    job = root / "shipped"
    (job / "app" / "custom").mkdir(parents=True)
    (job / "app" / "config").mkdir()
    (job / "app" / "custom" / "own.py").write_text("raise SystemExit\n")
    for side, key in (("server", "workflows"), ("client", "executors")):
        content = {"format_version": 2, key: [], "components": []}
        (job / "app" / "config" / f"config_fed_{side}.json").write_text(json.dumps(content))
    meta = {"name": "shipped", "resource_spec": {}, "min_clients": 1, "deploy_map": {"app": ["@ALL"]}}
    (job / "meta.json").write_text(json.dumps(meta))
    return job


def end_of(opened: Session, job_id: str) -> dict[str, Any]:
    """The facts of a job, once it has ended."""
    wait_until(lambda: str(opened.get_job_meta(job_id)["status"]).startswith("FINISHED"), "the job's end")
    facts: dict[str, Any] = opened.get_job_meta(job_id)
    return facts


def test_two_federations_on_one_host_share_no_job_and_no_administrator_may_ship_code(
    alpha: Federation, beta: Federation
) -> None:
    alpha.begin(alpha.server, alpha.kits / "site-a")
    beta.begin(beta.server, beta.kits / "site-a")
    job = shipped_code(alpha.root)
    submitted = set()
    for user in (ADMIN, LEAD):
        with session(alpha.kits, user) as opened:
            job_id = opened.submit_job(str(job))
            submitted.add(job_id)
            assert end_of(opened, job_id)["job_deploy_detail"] == ["server: BYOC not permitted"]
    with session(alpha.kits) as opened:
        assert {entry["job_id"] for entry in opened.list_jobs()} == submitted
    assert alpha.store() == submitted
    with session(beta.kits) as opened:
        assert opened.list_jobs() == []
    assert beta.store() == set()

    # The store moves with the kit.
    alpha.processes.stop(alpha.server)
    moved = alpha.server.rename(alpha.root / "moved")
    alpha.begin(moved)
    with session(alpha.kits) as opened:
        assert {entry["job_id"] for entry in opened.list_jobs()} == submitted


def test_a_site_gives_no_administrator_its_files_folders_or_errors(alpha: Federation) -> None:
    alpha.begin(alpha.server, alpha.kits / "site-a")
    with session(alpha.kits) as opened:
        for command in ("cat site-a log.txt", "ls site-a", "report_env site-a", "show_errors none client site-a"):
            answer = str(opened.api.do_command(command))
            assert str(alpha.kits) not in answer
            assert "not authorized" in answer or "not running" in answer or "invalid" in answer, answer
    text = (alpha.kits / "site-a" / "log.json").read_text()
    assert all("message" in json.loads(line) for line in text.splitlines())
    assert str(alpha.kits) not in text


def test_a_revoked_site_is_dropped_and_kept_out_while_the_others_go_on(alpha: Federation) -> None:
    site_a, site_b = alpha.kits / "site-a", alpha.kits / "site-b"
    alpha.begin(alpha.server, site_a, site_b)
    run("python", TOOL, "revoke", alpha.server, "--kit", site_b, "--reason", "stolen")
    wait_until(lambda: present(alpha.kits) == {"site-a"}, "site-b dropped")
    # Its heartbeats go on, and are refused; FLARE itself would take the site back with the next one.
    wait_until(lambda: "Failed to send heartbeat" in console(site_b), "a refused heartbeat")
    assert present(alpha.kits) == {"site-a"}
    alpha.processes.stop(site_b)
    alpha.processes.start(site_b)
    wait_until(lambda: "registration rejected: radfed:revoked" in console(site_b), "a refused registration")
    assert present(alpha.kits) == {"site-a"}
    assert site_a in alpha.processes.running

    # The server remembers after it has been killed, of sessions that began before as well.
    alpha.processes.stop(alpha.server)
    alpha.begin(alpha.server)
    wait_until(lambda: present(alpha.kits) == {"site-a"}, "site-a back")


def test_a_renewed_kit_gets_in_where_the_old_one_is_revoked(alpha: Federation) -> None:
    site_b = alpha.kits / "site-b"
    alpha.begin(alpha.server, alpha.kits / "site-a")
    before = {kit.participant: kit.serial for kit in find_kits(alpha.project)}
    run("python", TOOL, "renew", alpha.project, "site-b")
    alpha.provision("--force")
    after = {kit.participant: kit.serial for kit in find_kits(alpha.project)}
    assert {name for name in before if before[name] != after[name]} == {"site-b"}
    run("python", TOOL, "revoke", alpha.server, "--kit", site_b)
    alpha.begin(alpha.project / "prod_01" / "site-b")
    alpha.processes.start(site_b)
    wait_until(lambda: "registration rejected: radfed:revoked" in console(site_b), "the old kit refused")
    assert present(alpha.kits) == {"site-a", "site-b"}


def test_a_revoked_administrator_is_kept_out(alpha: Federation) -> None:
    alpha.begin(alpha.server)
    with session(alpha.kits, LEAD) as opened:
        assert opened.list_jobs() == []
        run("python", TOOL, "revoke", alpha.server, "--name", LEAD)
        wait_until(lambda: _is_refused(opened), "the open session refused")
    with pytest.raises(Exception, match="client_registration"), session(alpha.kits, LEAD):
        pass
    assert f"radfed:revoked: refused the registration of {LEAD}" in console(alpha.server)
    assert present(alpha.kits, ADMIN) == set()


def _is_refused(opened: Session) -> bool:
    try:
        opened.list_jobs()
    except Exception:  # whatever FLARE makes of a server that does not answer
        return True
    return False


def test_a_site_added_later_joins_a_server_that_runs(alpha: Federation) -> None:
    alpha.begin(alpha.server, alpha.kits / "site-a")
    before = {kit.participant: kit.serial for kit in find_kits(alpha.project)}
    (alpha.root / "site-c.yml").write_text(yaml.safe_dump({"name": "site-c", "org": "radfed"}))
    alpha.provision("--add-client", alpha.root / "site-c.yml", "--force")
    after = {kit.participant: kit.serial for kit in find_kits(alpha.project)}
    assert {name for name in after if before.get(name) != after[name]} == {"site-c"}
    alpha.begin(alpha.project / "prod_01" / "site-c")
    assert present(alpha.kits) == {"site-a", "site-c"}


def odd_kit(federation: Federation, name: str, days: tuple[int, int], *, foreign: bool) -> Path:
    """site-b's kit with another certificate: valid from and to some days from now, of this or another authority."""
    kit = federation.root / name / "site-b"
    shutil.copytree(federation.kits / "site-b", kit)
    state = json.loads((federation.project / "state" / "cert.json").read_text())
    signer = generate_keys()[0] if foreign else load_pem_private_key(state["root_pri_key"].encode(), None)
    key, public = generate_keys()
    start, end = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=day) for day in days)
    names = Identity("site-b", "radfed"), Identity(federation.name)
    certificate = generate_cert(*names, signer, public, not_valid_before=start, not_valid_after=end)
    (kit / "startup" / "client.crt").write_bytes(serialize_cert(certificate))
    (kit / "startup" / "client.key").write_bytes(serialize_pri_key(key))
    return kit


def handshake(port: int, kit: Path, authority: Path) -> bytes:
    """What a server says to a client that does not check its own certificate."""
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    # With TLS 1.3 the client believes that it is in before the server has looked at its certificate.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(kit / "startup" / "client.crt", kit / "startup" / "client.key")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return secure.recv(100)


@pytest.mark.parametrize(
    ("days", "foreign", "own_words"),
    [
        ((-1, 10), True, "was not signed by this federation's"),
        ((-10, -1), False, "certificate is valid from"),
        ((1, 10), False, "certificate is valid from"),
    ],
    ids=["other-authority", "expired", "not-yet-valid"],
)
def test_a_certificate_that_does_not_hold_is_refused_by_the_server_and_named_by_the_client(
    alpha: Federation, days: tuple[int, int], foreign: bool, own_words: str
) -> None:
    odd = odd_kit(alpha, "odd", days, foreign=foreign)
    alpha.begin(alpha.server, alpha.kits / "site-a")
    authority = odd / "startup" / "rootCA.pem"
    assert handshake(alpha.port, alpha.kits / "site-a", authority).startswith(b"HTTP/1.1")
    # FLARE's server hangs up in the middle of the handshake, without a word.
    with pytest.raises(ssl.SSLError, match=r"EOF|alert"):
        handshake(alpha.port, odd, authority)
    alpha.processes.start(odd)
    assert alpha.processes.running[odd].wait(timeout=45) == 3
    assert own_words in console(odd)
    assert present(alpha.kits) == {"site-a"}


def test_keys_that_never_leave_a_site_end_in_kits_with_the_same_policies(tmp_path: Path, alpha: Federation) -> None:
    port, probe_port = free_port(), free_port()
    profile = tmp_path / "profile.yml"
    server = {"host": "localhost", "fed_learn_port": port, "admin_port": port}
    profile.write_text(
        yaml.safe_dump({"name": "gamma", "scheme": "http", "connection_security": "mtls", "server": server})
    )
    run("nvflare", "cert", "init", "--profile", profile, "-o", tmp_path / "ca")
    authority = x509.load_pem_x509_certificate((tmp_path / "ca" / "rootCA.pem").read_bytes())
    fingerprint = authority.fingerprint(SHA256()).hex(":").upper()
    participants: dict[str, dict[str, object]] = {
        "localhost": {"type": "server", "fed_learn_port": port, "host_names": ["127.0.0.1"]},
        "site-a": {"type": "client"},
        LEAD: {"type": "admin", "role": "lead"},
    }
    builder = {"path": "radfed.federation.provisioning.SitePolicyBuilder", "args": {"probe_port": probe_port}}
    static = {"path": "nvflare.lighter.impl.static_file.StaticFileBuilder", "args": {"config_folder": "config"}}
    for name, facts in participants.items():
        here = tmp_path / "their-machines" / name
        here.mkdir(parents=True)
        own = {"name": name, "org": "radfed", **facts}
        request = {"api_version": 3, "name": "gamma", "participants": [own], "builders": [static, builder]}
        (here / "participant.yml").write_text(yaml.safe_dump(request))
        run("nvflare", "cert", "request", "-p", "participant.yml", "--out", "request", cwd=here)
        archive = next((here / "request").glob("*.zip"))
        signed = here / f"{name}.signed.zip"
        run("nvflare", "cert", "approve", archive, "-c", tmp_path / "ca", "--profile", profile, "--out", signed)
        run("nvflare", "package", signed, "-w", tmp_path / "ws", "--request-dir", here / "request",
            "--fingerprint", fingerprint)  # fmt: skip
    gamma = Federation("gamma", tmp_path, port, Participants(tmp_path / "tmp"), user=LEAD)
    for name in ("localhost", "site-a"):
        for file in ("resources.json", "authorization.json", "log_config.json", "privacy.json"):
            ours, theirs = gamma.kits / name / "local" / file, alpha.kits / name / "local" / file
            assert ours.is_file() == theirs.is_file()
            if ours.is_file() and (name, file) != ("localhost", "resources.json"):
                assert ours.read_bytes() == theirs.read_bytes()
        assert not list((gamma.kits / name / "local").glob("*.default"))
    try:
        gamma.begin(gamma.server, gamma.kits / "site-a")
        assert present(gamma.kits, LEAD) == {"site-a"}
    finally:
        gamma.processes.stop_all()
    assert read_kit(gamma.kits / "site-a").participant == "site-a"
