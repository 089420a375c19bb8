"""The health probe without FLARE: TLS, limits, revocation, and what it says."""

import contextlib
import http.client
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nvflare.apis.fl_constant import ReservedTopic
from nvflare.fuel.data_event.data_bus import DataBus

from radfed.errors import InvalidInputError
from radfed.federation.health import UnhealthyError, check_server
from radfed.federation.health import main as health
from radfed.federation.probe_handler import Caller, Limits
from radfed.federation.probe_metrics import FlareMetrics, Sample, campaign_samples, exposition, ledger_samples
from radfed.federation.probe_server import ProbeServer
from radfed.ledger import FinalLine, Ledger, NoteLine, RoundLine, SiteLine

FACTS = {"federation": "test", "radfed": "1", "nvflare": "2", "time": "now", "clients": [], "jobs": []}


@dataclass(frozen=True)
class Authority:
    """A certificate authority and the folder that its files go to."""

    folder: Path
    name: str = "ca"
    lifetime: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        object.__setattr__(self, "_key", ec.generate_private_key(ec.SECP256R1()))
        self._write("rootCA.pem", self._sign(self.name, self._key.public_key(), is_authority=True))

    _key: ec.EllipticCurvePrivateKey = None  # type: ignore[assignment] # set after construction

    def issue(self, name: str, stem: str) -> x509.Certificate:
        """A certificate for a name and for this machine's own, as ``<stem>.crt`` and ``<stem>.key``."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key.public_key(), is_authority=False)
        self._write(f"{stem}.crt", certificate)
        (self.folder / f"{stem}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate

    def _sign(self, name: str, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        begin = min(now, now + self.lifetime) - timedelta(hours=1)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(now + (timedelta(days=2) if is_authority else self.lifetime))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, file: str, certificate: x509.Certificate) -> None:
        (self.folder / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


Serve = Callable[..., ProbeServer]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "startup")
    made.issue("localhost", "server")
    made.issue("site-a", "client")
    return made


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    servers: list[ProbeServer] = []

    def start(facts: Callable[[], dict[str, object]] = lambda: dict(FACTS), **more: object) -> ProbeServer:
        here = authority.folder
        server = ProbeServer(here / "server.crt", here / "server.key", here / "rootCA.pem", facts, **more)  # type: ignore[arg-type]
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


def trusting(authority: Authority, folder: Path | None = None, stem: str | None = "client") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.folder / "rootCA.pem"))
    if stem is not None:
        where = folder or authority.folder
        context.load_cert_chain(where / f"{stem}.crt", where / f"{stem}.key")
    return context


def ask(
    server: ProbeServer,
    context: ssl.SSLContext,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection("localhost", server.port, timeout=10, context=context)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_health_is_answered_to_a_certificate_of_the_federation(serve: Serve, authority: Authority) -> None:
    status, body = ask(serve(), trusting(authority), "/health")
    assert (status, json.loads(body)) == (200, FACTS)


def test_nobody_without_a_certificate_gets_an_answer(serve: Serve, authority: Authority) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(serve(), trusting(authority, stem=None), "/health")


def test_a_certificate_of_another_authority_gets_no_answer(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", name="ca")
    other.issue("site-a", "client")
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(serve(), trusting(authority, other.folder), "/health")


def test_an_expired_certificate_gets_no_answer(serve: Serve, authority: Authority) -> None:
    object.__setattr__(authority, "lifetime", timedelta(minutes=-5))
    authority.issue("site-b", "expired")
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(serve(), trusting(authority, stem="expired"), "/health")


def test_tls_1_1_is_refused(serve: Serve, authority: Authority) -> None:
    context = trusting(authority)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)version|protocol|ssl"):
        ask(serve(), context, "/health")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/source?bytes=10", "/nothing"])
def test_a_revoked_certificate_hears_so_whatever_it_asks(serve: Serve, authority: Authority, path: str) -> None:
    certificate = authority.issue("site-b", "revoked")
    server = serve(revoked=lambda caller: caller == Caller("site-b", f"{certificate.serial_number:X}"))
    status, body = ask(server, trusting(authority, stem="revoked"), path)
    assert (status, json.loads(body)) == (403, {"reason": "revoked"})
    assert ask(server, trusting(authority), "/health")[0] == 200


def test_if_the_list_of_revocations_cannot_be_read_nobody_is_answered(serve: Serve, authority: Authority) -> None:
    def unreadable(_caller: Caller) -> bool:
        raise InvalidInputError("not a mapping")

    status, body = ask(serve(revoked=unreadable), trusting(authority), "/health")
    assert (status, json.loads(body)["reason"]) == (503, "revocations_unreadable")


def test_sink_counts_what_is_sent(serve: Serve, authority: Authority) -> None:
    sent = b"x" * 3_000_001
    status, body = ask(serve(), trusting(authority), "/sink", "POST", sent)
    assert status == 200
    assert json.loads(body)["bytes"] == len(sent)


def test_sink_invites_a_body_that_waits_to_be_invited(serve: Serve, authority: Authority) -> None:
    with (
        socket.create_connection(("localhost", serve().port), timeout=10) as plain,
        trusting(authority).wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abcd")
        assert b'"bytes": 4' in b"".join(iter(lambda: connection.recv(4096), b""))


def test_source_gives_as_many_bytes_as_asked(serve: Serve, authority: Authority) -> None:
    status, body = ask(serve(), trusting(authority), "/source?bytes=1000001")
    assert (status, len(body)) == (200, 1_000_001)
    assert len(set(body)) == 256  # nothing that a link could compress away


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/source", {}, 400),
        ("GET", "/source?bytes=-1", {}, 400),
        ("GET", "/source?bytes=1&bytes=2", {}, 400),
        ("GET", "/source?bytes=1001", {}, 413),
        ("POST", "/sink", {"Content-Length": "1001"}, 413),
        ("POST", "/sink", {"Content-Length": "many"}, 411),
        ("POST", "/health", {}, 404),
        ("GET", "/../startup/server.key", {}, 404),
        ("PUT", "/sink", {}, 501),
    ],
)
def test_what_is_not_offered_is_refused(
    serve: Serve, authority: Authority, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert ask(serve(limits=Limits(bytes=1000)), trusting(authority), path, method, headers=headers)[0] == status


def test_only_so_many_transfers_go_on_at_a_time(serve: Serve, authority: Authority) -> None:
    server = serve(limits=Limits(transfers=1))
    with (
        socket.create_connection(("localhost", server.port), timeout=10) as plain,
        trusting(authority).wrap_socket(plain, server_hostname="localhost") as slow,
    ):
        slow.sendall(b"POST /sink HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345")
        wait_until(lambda: ask(server, trusting(authority), "/source?bytes=1")[0] == 503)
        assert ask(server, trusting(authority), "/health")[0] == 200
        slow.sendall(b"67890")
        assert b'"bytes": 10' in b"".join(iter(lambda: slow.recv(4096), b""))
    wait_until(lambda: ask(server, trusting(authority), "/source?bytes=1")[0] == 200)


def test_connections_above_the_limit_are_closed_and_the_next_ones_served(serve: Serve, authority: Authority) -> None:
    server = serve(limits=Limits(connections=2, silence=30))
    idle = [socket.create_connection(("localhost", server.port), timeout=10) for _ in range(2)]
    with socket.create_connection(("localhost", server.port), timeout=10) as surplus:
        assert surplus.recv(1) == b""
    for connection in idle:
        connection.close()
    wait_until(lambda: answers(server, trusting(authority)))


def test_whoever_says_nothing_is_closed(serve: Serve) -> None:
    with socket.create_connection(("localhost", serve(limits=Limits(silence=0.2)).port), timeout=10) as silent:
        began = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - began < 5


def test_whoever_sends_a_byte_now_and_then_is_closed_too(serve: Serve, authority: Authority) -> None:
    server = serve(limits=Limits(silence=5, seconds=0.5))
    with (
        socket.create_connection(("localhost", server.port), timeout=10) as plain,
        trusting(authority).wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 5:
                connection.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - began < 5


def test_whoever_shakes_hands_for_ever_is_closed(serve: Serve) -> None:
    server = serve(limits=Limits(silence=5, seconds=0.5))
    with socket.create_connection(("localhost", server.port), timeout=10) as stranger:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            stranger.sendall(b"\x16\x03\x01\x02\x00")  # the head of a TLS record of 512 bytes, that never comes
            while time.monotonic() - began < 5:
                stranger.sendall(b"\x00")
                time.sleep(0.05)
        assert time.monotonic() - began < 5


def test_a_stranger_who_does_not_shake_hands_keeps_nobody_waiting(serve: Serve, authority: Authority) -> None:
    server = serve(limits=Limits(silence=30))
    with socket.create_connection(("localhost", server.port)):
        began = time.monotonic()
        assert answers(server, trusting(authority))
        assert time.monotonic() - began < 5


def test_facts_that_fail_end_neither_the_probe_nor_the_callers_patience(
    serve: Serve, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> dict[str, object]:
        raise KeyError("/srv/secret")

    server = serve(failing)
    with caplog.at_level(logging.ERROR):
        assert ask(server, trusting(authority), "/health") == (500, b'{"reason": "internal"}')
    assert "secret" not in caplog.text
    assert ask(server, trusting(authority), "/metrics")[0] == 200


def test_a_port_that_is_taken_is_an_error_at_construction(serve: Serve, authority: Authority) -> None:
    taken = serve().port
    here = authority.folder
    with pytest.raises(OSError, match="in use"):
        ProbeServer(here / "server.crt", here / "server.key", here / "rootCA.pem", dict, address=("127.0.0.1", taken))


def test_after_stop_nobody_listens(serve: Serve, authority: Authority) -> None:
    server = serve()
    assert answers(server, trusting(authority))
    server.stop()
    assert not answers(server, trusting(authority))


def test_the_health_command_asks_the_servers_own_probe(
    serve: Serve, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    kit, server = authority.folder.parent, serve()
    (kit / "startup" / "fed_server.json").write_text("{}")
    (kit / "local").mkdir()
    (kit / "local" / "federation.json").write_text(json.dumps({"probe_port": server.port}))
    assert check_server(kit) == FACTS
    assert health([str(kit)]) == 0
    server.stop()
    assert health([str(kit)]) == 1
    assert "unhealthy" in capsys.readouterr().err


def test_the_health_command_does_not_take_another_server_for_its_own(serve: Serve, authority: Authority) -> None:
    kit, server = authority.folder.parent, serve()
    (kit / "local").mkdir()
    (kit / "local" / "federation.json").write_text(json.dumps({"probe_port": server.port}))
    authority.issue("localhost", "server")
    with pytest.raises(UnhealthyError, match="another server"):
        check_server(kit)


def wait_until(holds: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def answers(server: ProbeServer, context: ssl.SSLContext) -> bool:
    try:
        return ask(server, context, "/health")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_flares_counters_add_up_and_its_gauges_do_not() -> None:
    metrics = FlareMetrics()
    count = {"metric_name": "_system_start_count", "value": 1, "type": "counter", "tags": {"site": "server"}}
    took = {"metric_name": "_job_time_taken", "value": 2.5, "type": "gauge", "tags": {"site": "server"}}
    for _ in range(3):
        metrics.take("", [count, took], None)
    found = {(s.name, s.kind): s.value for s in metrics.samples()}
    assert found == {("_system_start_count", "counter"): 3.0, ("_job_time_taken", "gauge"): 2.5}


def test_what_flare_publishes_on_its_bus_arrives() -> None:
    metrics = FlareMetrics()
    metrics.listen()
    try:
        DataBus().publish(
            [ReservedTopic.APP_METRICS], [{"metric_name": "a", "value": 1, "type": "counter", "tags": {"job_id": None}}]
        )
        assert [s.name for s in metrics.samples()] == ["a"]
    finally:
        DataBus().unsubscribe(ReservedTopic.APP_METRICS, metrics.take)


def test_values_that_are_no_numbers_and_series_without_end_are_not_kept() -> None:
    metrics = FlareMetrics()
    metrics.take("", [{"metric_name": "a", "value": value, "type": "gauge"} for value in ("x", None, float("nan"))], 0)
    assert metrics.samples() == []
    metrics.take("", [{"metric_name": f"m{n}", "value": n, "type": "gauge"} for n in range(5000)], None)
    assert len(metrics.samples()) == 1000


def test_counters_lose_nothing_when_published_at_once() -> None:
    metrics = FlareMetrics()
    one = [{"metric_name": "a", "value": 1, "type": "counter"}]

    def publish() -> None:
        for _ in range(500):
            metrics.take("", one, None)

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.samples()[0].value == 4000


def test_the_exposition_is_prometheus_text() -> None:
    text = exposition(
        [
            Sample("b", "gauge", 1.5, (("site", 'a"\\\n'),), "Help"),
            Sample("a", "counter", 2.0),
            Sample("b", "gauge", 2.5, (("site", "b"),), "Help"),
        ]
    )
    assert text.splitlines() == [
        "# TYPE a counter",
        "a 2.0",
        "# HELP b Help",
        "# TYPE b gauge",
        'b{site="a\\"\\\\\\n"} 1.5',
        'b{site="b"} 2.5',
    ]


def test_a_campaigns_gauges_come_from_its_ledger(tmp_path: Path) -> None:
    (tmp_path / "heart-1").mkdir()
    ledger = Ledger(tmp_path / "heart-1" / "ledger.jsonl")
    for site, accepted, reason in (("site-a", True, None), ("site-b", False, "not_finite")):
        ledger.append(SiteLine(round=1, site=site, answered=True, accepted=accepted, reason=reason, bytes=100))
    ledger.append(RoundLine(round=1, digest="0" * 64, accepted=1, seconds=3.5))
    ledger.append(NoteLine(reason="late", site="site-b", round=1))
    ledger.append(FinalLine(outcome="DEGRADED"))
    found = {(s.name, dict(s.labels).get("outcome")): s.value for s in campaign_samples(tmp_path)}
    assert found == {
        ("radfed_campaign_rounds", None): 1,
        ("radfed_campaign_refused_updates", None): 1,
        ("radfed_campaign_received_bytes", None): 200,
        ("radfed_campaign_notes", None): 1,
        ("radfed_campaign_ended", None): 1,
        ("radfed_campaign_accepted_sites", None): 1,
        ("radfed_campaign_round_seconds", None): 3.5,
        ("radfed_campaign_outcome", "DEGRADED"): 1,
    }


def test_a_campaign_that_has_not_begun_has_no_rounds_and_one_that_cannot_be_read_has_nothing(tmp_path: Path) -> None:
    assert {s.name: s.value for s in ledger_samples("c", [])}["radfed_campaign_rounds"] == 0
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ledger.jsonl").write_text('{"event": "round", "surprise": 1}\n')
    assert campaign_samples(tmp_path) == []
    assert campaign_samples(tmp_path / "none") == []
