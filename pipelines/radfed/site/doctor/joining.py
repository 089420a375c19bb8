"""Can the site reach the server, does each take the other's certificate, and do clocks and versions agree."""

import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from cryptography import x509

from radfed import __version__
from radfed.site.doctor.certificates import (
    begins_in,
    common_name,
    days_left,
    fingerprint,
    host_names,
    is_signed_by,
    speaks_for,
)
from radfed.site.doctor.federation import Federation
from radfed.site.doctor.findings import Finding, failed, passed, warned
from radfed.site.doctor.identity import SOON
from radfed.site.doctor.probe import Health, ProbeError
from radfed.site.doctor.server import Reached

SKEW_WARN, SKEW_FAIL = 30.0, 300.0
"""Seconds by which clocks may differ: beyond the second, certificates and logs can no longer be trusted."""

_ENGINEER = "tell the federation's engineer"


def check_port(check: str, port: int, reached: Reached) -> Finding:
    """Whether a port opens, and how long TCP and TLS take."""
    if reached.connect is None:
        return failed(
            check,
            f"TCP port {port} of the server cannot be reached: {reached.trouble}",
            f"let this machine open outgoing TCP connections to port {port} of the server; is the server running?",
        )
    if reached.handshake is None and reached.refused is None:
        return failed(
            check,
            f"TCP port {port} is open, but TLS does not come up: {reached.trouble}",
            "take TLS inspection and proxies out of the way to the server",
        )
    shaken = "" if reached.handshake is None else f", TLS in {reached.handshake * 1000:.0f} ms"
    return passed(check, f"port {port}: TCP in {reached.connect * 1000:.0f} ms{shaken}")


def check_server_certificate(reached: Reached, root: x509.Certificate, host: str, now: datetime) -> Finding:
    """Whether the server that answers is this federation's.

    Args:
        reached: what came of the connection.
        root: the kit's CA.
        host: the server as this site calls it.
        now: this machine's time, UTC.
    """
    check, shown = "server-certificate", reached.certificate
    if shown is None:
        return failed(
            check, "the server showed no certificate", "mend the connection first, see the finding on its port"
        )
    if not is_signed_by(shown, root):
        return failed(
            check,
            f"another CA: the server's certificate was signed by {common_name(shown.issuer)}, "
            f"not by this federation's {common_name(root.subject)} (key {fingerprint(root)})",
            "take this federation's newest kit; if it is that, something between here and the server opens TLS",
        )
    if begins_in(shown, now) > 0:
        return failed(check, "the server's certificate is not yet valid", "set this machine's clock (NTP)")
    left = days_left(shown, now)
    if left < 0:
        return failed(check, f"the server's certificate expired on {shown.not_valid_after_utc:%Y-%m-%d}", _ENGINEER)
    if not speaks_for(shown, host):
        names = ", ".join(host_names(shown))
        return failed(
            check, f"the server's certificate is for {names}, not for {host}", f"use one of its names, or {_ENGINEER}"
        )
    if left < SOON:
        return warned(check, f"the server's certificate expires in {left:.0f} days", _ENGINEER)
    return passed(check, f"for {host}, signed by {common_name(root.subject)}; {left:.0f} days left")


def check_acceptance(reached: Reached, refusal: ProbeError | None, answered: bool) -> Finding:
    """Whether the server takes this site's certificate, and has not revoked it.

    Args:
        reached: what came of the connection to the server's port.
        refusal: what went wrong at the probe, if something did.
        answered: whether the probe told this site of the server's health, which it tells no site that is revoked.
    """
    check, renew = "revocation", "ask the federation's engineer for a new kit of this site"
    if refusal is not None and refusal.reason == "revoked":
        return failed(check, "revoked: the server no longer takes this site's certificate", renew)
    if reached.refused is not None:
        return failed(check, f"the server refuses this site's certificate ({reached.refused})", renew)
    if answered:
        return passed(check, "the server takes this site's certificate")
    return warned(check, "unknown: the server could not be asked whether it has revoked this site", "run doctor again")


def check_clock(health: Health, here: datetime) -> Finding:
    """How far this machine's clock is from the server's."""
    skew = (here - health.clock).total_seconds()
    said = f"this clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the server's"
    fix = "let NTP set this machine's clock (timedatectl set-ntp true)"
    if abs(skew) > SKEW_FAIL:
        return failed("clock", said, fix)
    return warned("clock", said, fix) if abs(skew) > SKEW_WARN else passed("clock", said)


def check_versions(federation: Federation, health: Health | None) -> list[Finding]:
    """Whether the same code runs here as at the server: radfed exactly, FLARE in its first two numbers."""
    radfed = health.radfed if health else federation.radfed
    nvflare = health.nvflare if health else federation.nvflare
    where = "at the server" if health else "in the kit"
    findings = [_same("radfed", __version__, radfed, where, exact=True)]
    findings.append(_same("nvflare", _installed("nvflare"), nvflare, where, exact=False))
    torch = _installed("torch")
    machine = f"Python {platform.python_version()}, torch {torch or 'missing'}"
    if torch is None:
        findings.append(failed("environment", machine, "pip install 'radfed[train]'"))
    else:
        findings.append(passed("environment", machine))
    return findings


def _same(package: str, here: str | None, there: str | None, where: str, exact: bool) -> Finding:
    check = f"version-{package}"
    if here is None:
        return failed(check, f"{package} is not installed here", "pip install 'radfed[train]'")
    if there is None:
        return warned(check, f"{package} {here} here; which version runs {where} is not known", _ENGINEER)
    if here == there:
        return passed(check, f"{package} {here} here and {where}")
    said, fix = f"{package} {here} here, {there} {where}", f"pip install {package}=={there}"
    return failed(check, said, fix) if exact or _series(here) != _series(there) else warned(check, said, fix)


def _series(text: str) -> list[str]:
    return text.split(".")[:2]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
