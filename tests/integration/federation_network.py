"""Sites in network namespaces of their own, whose links can be cut and slowed; needs root and iproute2."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

# A queue so short that every packet is dropped: both ends still see a carrier, as with a cut far away.
_CUT = ("tbf", "rate", "8bit", "burst", "10", "limit", "10")


def why_not() -> str | None:
    """Why network namespaces cannot be used here; None when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [program for program in ("ip", "tc") if shutil.which(program) is None]
    if missing:
        return f"needs {' and '.join(missing)} of iproute2"
    name = f"radfed-{secrets.token_hex(3)}"
    try:
        _ip("netns", "add", name)
        _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "lo", "root", *_CUT)
    except subprocess.CalledProcessError as error:
        return f"network namespaces or tc are not allowed here: {error.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None


class SiteNetworks:
    """A namespace a site, each joined to this machine by a link of its own.

    The server listens on ``server``, an address that only these links reach.

    Args:
        sites: who gets a namespace; others stay on this machine and reach the server, too.
    """

    def __init__(self, sites: Sequence[str]) -> None:
        self._tag = secrets.token_hex(3)
        # Other tests on this machine must not meet ours; 10.200.0.0/13 leaves them room.
        self._net = f"10.{200 + secrets.randbelow(8)}.{secrets.randbelow(256)}"
        self.server = f"{self._net}.1"
        self._numbers: Mapping[str, int] = {site: 2 * number + 2 for number, site in enumerate(sites)}

    @property
    def prefix(self) -> dict[str, Sequence[str]]:
        """By site, the command that starts another in its namespace."""
        return {site: ("ip", "netns", "exec", self._space(site)) for site in self._numbers}

    def __enter__(self) -> Self:
        try:
            _ip("address", "add", f"{self.server}/32", "dev", "lo")
            for site, number in self._numbers.items():
                self._join(site, number)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for site in self._numbers:
            subprocess.run(["ip", "netns", "del", self._space(site)], capture_output=True, check=False)
            subprocess.run(["ip", "link", "del", self._ends(site)[0]], capture_output=True, check=False)
        subprocess.run(["ip", "address", "del", f"{self.server}/32", "dev", "lo"], capture_output=True, check=False)

    def cut(self, site: str) -> None:
        """Drop every packet, both ways, in silence."""
        self._shape(site, *_CUT)

    def slow(self, site: str, rate: str) -> None:
        """Limit the link to a rate, both ways, for example ``2mbit``."""
        self._shape(site, "tbf", "rate", rate, "burst", "16kb", "latency", "200ms")

    def mend(self, site: str) -> None:
        """Take limits away."""
        here, there = self._ends(site)
        _run("tc", "qdisc", "del", "dev", here, "root")
        _run("ip", "netns", "exec", self._space(site), "tc", "qdisc", "del", "dev", there, "root")

    def _shape(self, site: str, *how: str) -> None:
        here, there = self._ends(site)
        _run("tc", "qdisc", "replace", "dev", here, "root", *how)
        _run("ip", "netns", "exec", self._space(site), "tc", "qdisc", "replace", "dev", there, "root", *how)

    def _join(self, site: str, number: int) -> None:
        space, (here, there) = self._space(site), self._ends(site)
        _ip("netns", "add", space)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", space)
        _ip("address", "add", f"{self._net}.{number}/31", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", space, "address", "add", f"{self._net}.{number + 1}/31", "dev", there)
        _ip("-n", space, "link", "set", there, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "route", "add", "default", "via", f"{self._net}.{number}")

    def _space(self, site: str) -> str:
        return f"radfed-{self._tag}-{site}"

    def _ends(self, site: str) -> tuple[str, str]:
        """The link's devices here and in the namespace; a name has 15 characters at most."""
        return f"rf{self._tag}{self._numbers[site]}a", f"rf{self._tag}{self._numbers[site]}b"


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
