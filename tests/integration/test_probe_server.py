"""The probe, the site's health and the logs of a real server and a real client, started from stock FLARE's own kits."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from radfed.federation.monitoring import LogScrubber
from radfed.federation.provisioning import loopback_project
from radfed.federation.revocation import revoke, serial_of

_COLLECTORS = (
    "nvflare.metrics.system_metrics_collector.SysMetricsCollector",
    "nvflare.metrics.job_metrics_collector.JobMetricsCollector",
)


@dataclass(frozen=True)
class Place:
    """A provisioned federation of one site."""

    kits: Path
    probe_port: int

    @property
    def server(self) -> Path:
        return self.kits / "localhost"

    @property
    def site(self) -> Path:
        return self.kits / "site-a"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("DOE_JOHN")
    (port, probe_port) = free_ports(2)
    (root / "project.yml").write_text(loopback_project("probed", ["site-a"], port=port, probe_port=probe_port))
    subprocess.run(
        [str(Path(sys.executable).with_name("nvflare")), "provision", "-p", "project.yml", "-w", "ws"],
        cwd=root,
        check=True,
        capture_output=True,
        timeout=60,
    )
    place = Place(root / "ws" / "probed" / "prod_00", probe_port)
    resources = place.server / "local" / "resources.json"
    content = json.loads(resources.read_text())
    content["components"] = [entry for entry in content["components"] if entry.get("path") not in _COLLECTORS]
    content["components"] += [
        {"id": path.rsplit(".", 1)[1], "path": path, "args": {"tags": {"site": "server"}}} for path in _COLLECTORS
    ]
    resources.write_text(json.dumps(content))
    return place


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for taken in sockets:
        taken.bind(("127.0.0.1", 0))
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


@contextmanager
def running(kit: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A participant, as its kit's own start script starts it in a container; it ends with the context."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (kit / "console.txt").open("ab") as console:
        process = subprocess.Popen(
            ["bash", str(kit / "startup" / "sub_start.sh"), "--once"],
            stdout=console,
            stderr=console,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(look: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"no {what} within {seconds:g} s"
        time.sleep(0.2)


def trust(kit: Path, stem: str = "client") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(kit / "startup" / "rootCA.pem"))
    context.load_cert_chain(kit / "startup" / f"{stem}.crt", kit / "startup" / f"{stem}.key")
    return context


def get(place: Place, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            f"https://localhost:{place.probe_port}{path}", context=trust(place.site), timeout=10
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


def healthy(kit: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "radfed.federation.health", str(kit), *more], capture_output=True, text=True, timeout=30
    )


def value(metrics: str, name: str) -> float:
    found = re.search(rf"^{name}(?:{{.*}})? (.*)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_server_and_site_say_how_they_are_and_a_dead_server_is_noticed(place: Place) -> None:
    assert healthy(place.server).returncode == 1
    with running(place.site):
        with running(place.server):
            wait_for(lambda: get(place, "/health")[0] == 200, 30, "probe")
            wait_for(lambda: healthy(place.site).returncode == 0, 40, "heartbeat")
            assert healthy(place.server).returncode == 0

            content = json.loads(get(place, "/health")[1])
            assert content.keys() == {
                *("federation", "radfed", "nvflare", "time", "uptime", "not_after", "clients", "jobs")
            }
            assert (content["federation"], content["jobs"]) == ("probed", [])
            assert [client["name"] for client in content["clients"]] == ["site-a"]

            before = get(place, "/metrics")[1]
            assert (value(before, "_system_start_count"), value(before, "radfed_sites")) == (1, 1)
            beats = "_client_heartbeat_received_count"
            wait_for(lambda: value(get(place, "/metrics")[1], beats) > value(before, beats), 20, "more heartbeats")
            for answer in (get(place, "/health")[1], get(place, "/metrics")[1]):
                assert "DOE" not in answer
                assert socket.gethostname() not in re.findall(r"[\w-]+", answer)
            curl(place)
        # The client lives on and tries again, and a check of its process would find it well.
        wait_for(lambda: healthy(place.site, "--max-age", "15").returncode == 1, 40, "sign of the dead server")
        assert "s old" in healthy(place.site, "--max-age", "15").stderr
    logs_are_clean(place)


def curl(place: Place) -> None:
    """The commands of docs/how-to/operate.md."""
    if shutil.which("curl") is None:
        pytest.fail("curl is needed for this test: apt install curl")
    base = f"https://localhost:{place.probe_port}"
    certificate = ["--cacert", "rootCA.pem", "--cert", "client.crt", "--key", "client.key"]

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ["curl", "--silent", "--fail", *arguments]
        return subprocess.run(command, cwd=place.site / "startup", capture_output=True, timeout=30)

    assert json.loads(run(*certificate, f"{base}/health").stdout)["federation"] == "probed"
    sent = place.kits / "sent.bin"
    sent.write_bytes(b"\0" * 2_000_000)
    assert json.loads(run(*certificate, "--data-binary", f"@{sent}", f"{base}/sink").stdout)["bytes"] == 2_000_000
    assert len(run(*certificate, f"{base}/source?bytes=2000000").stdout) == 2_000_000
    assert run("--cacert", "rootCA.pem", f"{base}/health").returncode != 0


def logs_are_clean(place: Place) -> None:
    """Neither the files nor the console of the parents name the folder, which stands for a patient, or this machine."""
    logs = [path for kit in (place.server, place.site) for path in kit.glob("log*") if path.is_file()]
    assert {path.name for path in logs} >= {"log.txt", "log.json"}
    for path in logs:
        text = path.read_text()
        assert text, path.name
        assert "DOE" not in text
        # Whatever else there may be to find, the scrubber finds nothing more.
        plain = [line for line in text.splitlines() if path.suffix != ".json" or json.loads(line)]
        assert [line for line in plain if LogScrubber().scrub(line) != line] == []


def test_a_revoked_site_hears_so_while_the_server_runs(place: Place) -> None:
    with running(place.server):
        wait_for(lambda: get(place, "/health")[0] == 200, 30, "probe")
        revoke(place.server, "site-a", serial_of((place.site / "startup" / "client.crt").read_bytes()))
        try:
            assert get(place, "/health") == (403, '{"reason": "revoked"}')
        finally:
            (place.server / "local" / "revoked.json").unlink()
        assert get(place, "/health")[0] == 200


def test_a_taken_port_costs_the_probe_and_not_the_federation(place: Place) -> None:
    console = place.server / "console.txt"
    console.unlink(missing_ok=True)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", place.probe_port))
        taken.listen()
        with running(place.server) as process:
            wait_for(lambda: "Server started" in console.read_text(), 30, "server")
            assert f"no health probe: port {place.probe_port}" in console.read_text()
            assert process.poll() is None
