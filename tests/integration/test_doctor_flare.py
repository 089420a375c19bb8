"""The doctor against FLARE's own server and radfed's health probe, over mTLS on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from radfed.federation.provisioning import loopback_project
from radfed.federation.revocation import Revocations, Revoked
from radfed.site.config import init_site
from radfed.site.doctor.findings import Finding
from radfed.site.doctor.run import examine
from radfed.site.kit import write_kit_link


@dataclass
class Federation:
    """A provisioned federation whose server runs."""

    folder: Path

    @property
    def kits(self) -> Path:
        return next(self.folder.glob("ws/*/prod_00"))

    def state(self) -> dict[str, str]:
        state: dict[str, str] = json.loads(next(self.folder.glob("ws/*/state/cert.json")).read_text())
        return state


def provision(folder: Path, name: str) -> Federation:
    folder.mkdir()
    with socket.socket() as one, socket.socket() as other:
        for plug in (one, other):
            plug.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    (folder / "project.yml").write_text(
        loopback_project(name, ["site-a", "site-b"], port=ports[0], probe_port=ports[1])
    )
    command = [str(Path(sys.executable).with_name("nvflare")), "provision", "-p", "project.yml", "-w", "ws"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return Federation(folder)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    found = provision(tmp_path_factory.mktemp("doctor") / "fed", "fed_one")
    kit = found.kits / "localhost"
    command = [sys.executable, "-m", "nvflare.private.fed.app.server.server_train", "-m", str(kit)]
    command += ["-s", "fed_server.json", "--set", "secure_train=true", "org=radfed", "config_folder=config"]
    with (found.folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=kit, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True
        )
    try:
        facts = json.loads((kit / "local" / "federation.json").read_text())
        for port in (facts["port"], facts["probe_port"]):
            _wait(port, process)
        yield found
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"the server did not open port {port}")


@pytest.fixture
def kit(federation: Federation, tmp_path: Path) -> Path:
    """A copy of the site's kit, to be spoiled, linked with a site."""
    shutil.copytree(federation.kits / "site-a", tmp_path / "kit")
    init_site(tmp_path / "site", "site-a")
    write_kit_link(tmp_path / "kit", tmp_path / "site")
    return tmp_path / "kit"


def look(kit: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(kit.parent / "site", None, None).findings}


def failures(found: dict[str, Finding]) -> set[str]:
    # No dataset was made here.
    return {check for check, finding in found.items() if finding.verdict == "fail"} - {"dataset"}


def test_a_provisioned_kit_passes_with_its_server(kit: Path) -> None:
    found = look(kit)
    assert failures(found) == set()
    passing = {"server-port", "server-certificate", "probe-port", "clock", "bandwidth", "revocation", "allow-list"}
    assert {check for check in passing if found[check].verdict != "pass"} == set()


def test_a_kit_of_another_ca_is_refused_and_named(kit: Path, tmp_path: Path) -> None:
    other = provision(tmp_path / "other", "fed_one").kits / "site-a" / "startup"
    for name in ("client.crt", "client.key"):
        shutil.copy(other / name, kit / "startup" / name)
    found = look(kit)
    assert "another CA" in found["certificate"].found
    assert failures(found) >= {"certificate", "revocation"}
    # With the other federation's root as well, it is the server that is of another CA.
    shutil.copy(other / "rootCA.pem", kit / "startup" / "rootCA.pem")
    found = look(kit)
    assert found["certificate"].verdict == "pass"
    assert "another CA" in found["server-certificate"].found


def test_an_expired_certificate_is_refused_and_named(kit: Path, federation: Federation) -> None:
    state, file = federation.state(), kit / "startup" / "client.crt"
    root = x509.load_pem_x509_certificate(state["root_cert"].encode())
    key = serialization.load_pem_private_key(state["root_pri_key"].encode(), password=None)
    own, now = x509.load_pem_x509_certificate(file.read_bytes()), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(root.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=361))
        .not_valid_after(now - timedelta(days=1))
    )
    signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type] # FLARE's CA has an RSA key
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    found = look(kit)
    assert "expired on" in found["expiry"].found
    assert failures(found) >= {"expiry", "revocation"}


def test_a_revoked_certificate_is_refused_and_named(kit: Path, federation: Federation) -> None:
    server = federation.kits / "localhost"
    entry = Revoked(name="site-a", since=datetime.now(UTC), reason="left the federation")
    Revocations(revoked=(entry,)).write(server)
    try:
        found = look(kit)
    finally:
        Revocations().write(server)
    assert found["revocation"].found == "revoked: the server no longer takes this site's certificate"
    assert failures(found) == {"revocation"}
    assert failures(look(kit)) == set()
