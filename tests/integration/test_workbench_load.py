"""The workbench as a process: TLS, fifty readers at once, and a server that is killed while they work."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.integration.workbench_review import PASSWORD, write_dataset, write_release

from radfed.validation.workbench.folder import StateFolder
from radfed.validation.workbench.opening import open_journal
from radfed.validation.workbench.users import User, add_user

READERS, CASES = 50, 3


@dataclass(frozen=True)
class Review:
    folder: Path
    port: int
    tls: bool = False

    @property
    def command(self) -> list[str]:
        paths = [str(self.folder / name) for name in ("two_parts-1.0.0", "data")]
        state = ["--state", str(self.folder / "state"), "--port", str(self.port), "--readers", "2"]
        tls = ["--tls-cert", str(self.certificate), "--tls-key", str(self.folder / "key.pem")] if self.tls else []
        return [sys.executable, "-m", "radfed", "workbench", *paths, *state, *tls]

    @property
    def certificate(self) -> Path:
        return self.folder / "cert.pem"

    def client(self) -> httpx.Client:
        trusted = ssl.create_default_context(cafile=self.certificate) if self.tls else False
        return httpx.Client(base_url=self.address, timeout=120, verify=trusted)

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(self.command, stderr=subprocess.PIPE) as server:
            try:
                self._wait(server)
                yield server
            finally:
                server.kill()

    def _wait(self, server: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 120
        with self.client() as client:
            while time.monotonic() < end:
                assert server.poll() is None, server.stderr.read().decode() if server.stderr else ""
                try:
                    client.get("/", timeout=5)
                    return
                except httpx.TransportError:
                    time.sleep(0.1)
        raise AssertionError("the workbench did not come up")


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Review:
    folder = tmp_path_factory.mktemp("workbench")
    write_release(folder / "two_parts-1.0.0")
    write_dataset(folder / "data", CASES)
    journal = open_journal(StateFolder(folder / "state"))
    for number in range(READERS):
        add_user(journal, User(f"reader{number:02d}", "reader"), PASSWORD)
    add_user(journal, User("lea", "lead"), PASSWORD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Review(folder, free.getsockname()[1])


def log_in(review: Review, user: str) -> httpx.Client:
    client = review.client()
    answer = client.post("/api/login", json={"user": user, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["csrf"]
    return client


def said(client: httpx.Client) -> dict[tuple[int, str], str]:
    """The lead's view: verdict by case and reader."""
    found = {}
    for case in client.get("/api/cases").json():
        for one in client.get(f"/api/cases/{case['id']}").json()["reviews"]:
            assert (case["number"], one["reader"]) not in found
            found[case["number"], one["reader"]] = one["verdicts"]["prediction"]
    return found


def _certify(folder: Path) -> None:
    """Write a certificate for 127.0.0.1 that is signed with its own key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    at = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), at, at + timedelta(1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    (folder / "cert.pem").write_bytes(
        made.add_extension(address, True).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*pem))


def test_with_a_certificate_there_is_only_https_and_the_cookie_is_secure(review: Review) -> None:
    _certify(review.folder)
    served = replace(review, tls=True)
    with served.running(), closing(served.client()) as client:
        with pytest.raises(httpx.TransportError):
            httpx.get(review.address)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(served.address)
        foreign = {"Origin": review.address}  # the same place without TLS
        said = {"user": "lea", "password": PASSWORD}
        assert client.post("/api/login", json=said, headers=foreign).status_code == 403
        answer = client.post("/api/login", json=said, headers={"Origin": served.address})
        assert answer.status_code == 200
        cookie = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
        assert cookie >= {"secure", "httponly", "samesite=strict"}
        assert "max-age" in answer.headers["strict-transport-security"]
        assert client.get("/api/me").json()["user"] == "lea"


def test_fifty_readers_at_once_lose_no_verdict_and_see_no_error(review: Review) -> None:
    together = threading.Barrier(READERS)

    def read(number: int) -> dict[tuple[int, str], str]:
        user, given = f"reader{number:02d}", {}
        together.wait()
        with closing(log_in(review, user)) as client:
            for case in client.get("/api/cases").json():
                image = client.get(f"/api/cases/{case['id']}/layers/image.nii.gz")
                assert (image.status_code, image.content[:2]) == (200, b"\x1f\x8b")
                verdict = ("accept", "minor", "major", "reject")[(number + case["number"]) % 4]
                body = {"verdicts": {"prediction": verdict}, "comment": user, "seconds": 1.0}
                answer = client.post(f"/api/cases/{case['id']}/review", json=body)
                assert answer.status_code == 201, answer.text
                given[case["number"], user] = verdict
        return given

    with review.running():
        with ThreadPoolExecutor(READERS) as pool:
            expected = {key: value for one in pool.map(read, range(READERS)) for key, value in one.items()}
        with closing(log_in(review, "lea")) as lead:
            assert said(lead) == expected
            assert len(expected) == READERS * CASES
            told = lead.get("/api/audit").json()
    assert told["problems"] == []
    assert sum(line["action"] == "review" for line in told["lines"]) == READERS * CASES


@pytest.mark.slow
def test_a_server_that_is_killed_while_verdicts_come_in_loses_and_doubles_none(review: Review) -> None:
    answered: dict[tuple[int, str], str] = {}
    tried: dict[tuple[int, str], set[str]] = {}
    before = _reviews(review)
    earlier: dict[tuple[int, str], str] = {}
    for run in range(2):
        with review.running() as server, ThreadPoolExecutor(6) as pool:
            clients = [log_in(review, f"reader{number:02d}") for number in range(6)]
            cases = clients[0].get("/api/cases").json()
            if run == 0:
                with closing(log_in(review, "lea")) as lead:
                    earlier = said(lead)
            work = [
                pool.submit(_insist, client, cases, number, run, answered, tried)
                for number, client in enumerate(clients)
            ]
            time.sleep(0.4 + 0.3 * run)
            os.kill(server.pid, signal.SIGKILL)
            for one in work:
                one.result()
    assert answered
    with review.running(), closing(log_in(review, "lea")) as lead:
        found, told = said(lead), lead.get("/api/audit").json()
    assert told["problems"] == []
    for key, verdicts in tried.items():
        # What was answered stands, unless a later try, whose answer the kill took, stands instead.
        assert found.get(key) in (verdicts if key in answered else {earlier.get(key), *verdicts}), key
    lines = [line for line in told["lines"] if line["action"] == "review"]
    assert len({line["digest"] for line in lines}) == len(lines) == _reviews(review)
    assert len(lines) >= before + len(answered)


def _insist(
    client: httpx.Client,
    cases: list[dict[str, object]],
    number: int,
    run: int,
    answered: dict[tuple[int, str], str],
    tried: dict[tuple[int, str], set[str]],
) -> None:
    """Review until the server is gone; each verdict that was answered replaces those tried before it."""
    turn = 0
    with closing(client):
        while True:
            for case in cases:
                key = (int(str(case["number"])), f"reader{number:02d}")
                verdict = ("accept", "minor", "major", "reject")[turn % 4]
                body = {"verdicts": {"prediction": verdict}, "comment": f"run {run} turn {turn}", "seconds": 1.0}
                tried.setdefault(key, set()).add(verdict)
                try:
                    answer = client.post(f"/api/cases/{case['id']}/review", json=body)
                except httpx.TransportError:
                    return
                assert answer.status_code == 201, answer.text
                answered[key], tried[key] = verdict, {verdict}
            turn += 1


def _reviews(review: Review) -> int:
    lines = (review.folder / "state/audit.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line)["action"] == "review" for line in lines)
