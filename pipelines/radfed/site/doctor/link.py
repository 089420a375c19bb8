"""How fast bytes go to the server and back, measured with sizes that grow until a transfer is long enough to trust."""

import time
from collections.abc import Callable

from pydantic import Field

from radfed.settings import Settings
from radfed.site.doctor.probe import Probe

_FIRST, _LARGEST = 32 * 1024, 64 * 1024**2
# A transfer of a second says enough; all transfers of one direction together take about five.
_ENOUGH, _BUDGET = 1.0, 5.0
_GROWTH = 8


class Link(Settings):
    """The way to the server and back."""

    up_bytes_per_second: float = Field(gt=0)
    down_bytes_per_second: float = Field(gt=0)
    latency_seconds: float = Field(ge=0, description="One round trip")


def measure_link(probe: Probe, latency: float, on_step: Callable[[str], None] = lambda _what: None) -> Link:
    """Measure both directions, up to about 5 s each.

    Args:
        probe: an open connection to the federation's probe.
        latency: one round trip (s).
        on_step: told what is measured.

    Raises:
        ProbeError: the probe stopped answering.
    """
    on_step("bandwidth up")
    up = _speed(probe.upload)
    on_step("bandwidth down")
    return Link(up_bytes_per_second=up, down_bytes_per_second=_speed(probe.download), latency_seconds=latency)


def _speed(transfer: Callable[[int], float]) -> float:
    """Bytes per second of the last and largest transfer."""
    size, began = _FIRST, time.monotonic()
    while True:
        taken = max(transfer(size), 1e-6)
        speed, left = size / taken, _BUDGET - (time.monotonic() - began)
        # What comes next must be larger, must not be too large, and must be through before the time is up.
        following = min(size * _GROWTH, int(speed * left * 0.6), _LARGEST)
        if taken >= _ENOUGH or following <= size:
            return speed
        size = following
