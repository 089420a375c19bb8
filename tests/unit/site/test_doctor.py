import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doctor_world import Authority, Issued, Server, serve, write_kit  # type: ignore[import-not-found]
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.site.config import init_site
from radfed.site.doctor.findings import Finding, Report
from radfed.site.doctor.run import examine
from radfed.site.kit import write_kit_link

HOST = "127.0.0.1"
runner = CliRunner()


class World:
    """One site with its kit, and the server it belongs to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, Authority()
        self.site, self.kit = folder / "site", folder / "kit"
        self.server_certificate = self.authority.issue("server", names=(HOST,))
        self.own = self.authority.issue("site-a")
        init_site(self.site, "site-a")

    @contextmanager
    def running(self, behaviour: Server | None = None) -> Iterator[Server]:
        with serve(self.authority.root, self.server_certificate, self.folder / "server", behaviour) as server:
            self.join(server.port)
            yield server

    def join(self, port: int) -> None:
        write_kit(self.kit, self.authority.root, self.own, port=port, probe_port=port)
        write_kit_link(self.kit, self.site)

    def examine(self) -> dict[str, Finding]:
        return by_check(examine(self.site, None, None))


def by_check(report: Report) -> dict[str, Finding]:
    assert all("\n" not in finding.found + finding.fix for finding in report.findings)
    assert all(bool(finding.fix) == (finding.verdict != "pass") for finding in report.findings)
    return {finding.check: finding for finding in report.findings}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is fast: small transfers say enough, and an alert comes at once."""
    monkeypatch.setattr("radfed.site.doctor.link._LARGEST", 1024**2)
    monkeypatch.setattr("radfed.site.doctor.link._ENOUGH", 0.2)
    monkeypatch.setattr("radfed.site.doctor.server._LOOK", 0.1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_good_site_fails_only_for_want_of_data(world: World) -> None:
    with world.running():
        found = world.examine()
    failures = {check for check, finding in found.items() if finding.verdict == "fail"}
    assert failures == {"dataset"}
    expected = {"certificate", "expiry", "server-port", "probe-port", "revocation", "clock", "bandwidth", "guard"}
    assert {check for check in expected if found[check].verdict != "pass"} == set()


def test_another_ca_is_named_in_one_line(world: World) -> None:
    world.own = Authority("fed").issue("site-a")
    with world.running():
        found = world.examine()
    assert found["certificate"].verdict == "fail"
    assert "another CA" in found["certificate"].found
    # The server says so too: its word comes by TLS.
    assert found["revocation"].verdict == "fail"
    assert "alert" in found["revocation"].found


def test_an_expired_certificate_is_named_in_one_line(world: World) -> None:
    world.own = world.authority.issue("site-a", begins=-10, days=-2)
    with world.running():
        found = world.examine()
    assert found["expiry"].verdict == "fail"
    assert "expired on" in found["expiry"].found
    assert "2 days ago" in found["expiry"].found
    assert "expired" in found["revocation"].found


def test_a_revoked_certificate_is_named_in_one_line(world: World) -> None:
    with world.running(Server(revoked=True)):
        found = world.examine()
    assert found["revocation"].verdict == "fail"
    assert found["revocation"].found.startswith("revoked:")
    assert found["certificate"].verdict == found["expiry"].verdict == "pass"


def test_a_certificate_that_ends_soon_warns(world: World) -> None:
    world.own = world.authority.issue("site-a", days=59.5)
    world.join(1)
    assert world.examine()["expiry"].verdict == "warn"


def test_a_certificate_that_has_not_begun_fails(world: World) -> None:
    world.own = world.authority.issue("site-a", begins=1)
    world.join(1)
    found = world.examine()["expiry"]
    assert found.verdict == "fail"
    assert "not yet valid" in found.found


def test_a_key_of_another_certificate_fails(world: World) -> None:
    own, other = world.own, world.authority.issue("site-a")
    world.own = Issued(own.certificate, other.key)
    world.join(1)
    found = world.examine()
    assert "client.key does not belong" in found["certificate"].found
    assert found["server-port"].verdict == "fail"


def test_the_certificate_of_another_site_fails(world: World) -> None:
    world.own = world.authority.issue("site-b")
    world.join(1)
    found = world.examine()["identity"]
    assert found.verdict == "fail"
    assert "'site-b'" in found.found


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (lambda world: Authority("fed").issue("server", names=(HOST,)), "another CA"),
        (lambda world: world.authority.issue("server", names=("elsewhere.test",)), "for elsewhere.test, not for 127"),
        (lambda world: world.authority.issue("server", names=(HOST,), begins=-9, days=-1), "expired on"),
    ],
)
def test_the_servers_certificate_is_judged(world: World, certificate: object, words: str) -> None:
    assert callable(certificate)
    world.server_certificate = certificate(world)
    with world.running():
        found = world.examine()
    assert found["server-certificate"].verdict == "fail"
    assert words in found["server-certificate"].found
    # Nothing that such a server says is believed.
    assert found["probe-certificate"].verdict == "fail"
    assert "clock" not in found
    assert found["revocation"].verdict == "warn"


@pytest.mark.parametrize(("skew", "verdict"), [(-20.0, "pass"), (60.0, "warn"), (-400.0, "fail")])
def test_clocks_are_compared(world: World, skew: float, verdict: str) -> None:
    with world.running(Server(skew=skew)):
        found = world.examine()["clock"]
    assert found.verdict == verdict
    assert f"{abs(skew):.0f}" in found.found.replace(".0 s", "")
    assert ("behind" if skew > 0 else "ahead of") in found.found


def test_another_radfed_at_the_server_fails(world: World) -> None:
    with world.running(Server(radfed="9.9.9")):
        found = world.examine()["version-radfed"]
    assert found.verdict == "fail"
    assert found.fix == "pip install radfed==9.9.9"


def test_a_slow_link_is_measured_and_warned_of(world: World) -> None:
    rate = 100_000.0
    with world.running(Server(rate=rate)):
        report = examine(world.site, None, None)
    found = by_check(report)["bandwidth"]
    assert found.verdict == "warn"
    measured = float(found.found.split(" Mbit/s up")[0])
    assert measured == pytest.approx(rate * 8 / 1e6, rel=0.5)


def test_offline_everything_else_is_still_checked(world: World) -> None:
    with serve(world.authority.root, world.server_certificate, world.folder / "server") as server:
        port = server.port
    world.join(port)
    found = world.examine()
    assert found["server-port"].verdict == found["probe-port"].verdict == "fail"
    assert "refused" in found["server-port"].found
    assert found["certificate"].verdict == found["guard"].verdict == found["secret"].verdict == "pass"
    assert found["revocation"].verdict == "warn"
    assert "clock" not in found


def test_a_kit_of_another_site_folder_fails(world: World) -> None:
    world.join(1)
    (world.kit / "local" / "radfed.json").unlink()
    assert "linked to no site" in world.examine()["kit"].found


def test_a_stock_kit_has_no_probe_to_ask(world: World) -> None:
    with world.running():
        (world.kit / "local" / "federation.json").unlink()
        found = world.examine()
    assert found["probe-port"].verdict == "warn"
    assert found["server-port"].verdict == "pass"
    assert "bandwidth" not in found


def test_the_command_prints_one_object_and_exits_3(world: World) -> None:
    with world.running():
        result = runner.invoke(app, ["site", "doctor", str(world.site), "--json"])
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert {"check", "verdict", "found", "fix"} == set(report["findings"][0])
    assert report["predicted"] is report["timeouts"] is None
    assert "This site cannot join yet" in result.stderr


def test_the_command_needs_a_kit_and_a_job_to_write(world: World) -> None:
    missing = runner.invoke(app, ["site", "doctor", str(world.site)])
    assert missing.exit_code == 2
    assert "--kit KIT" in missing.stderr
    jobless = runner.invoke(app, ["site", "doctor", str(world.site), "--write"])
    assert jobless.exit_code == 2
    assert "--job" in jobless.stderr
