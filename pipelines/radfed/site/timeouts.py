"""FLARE's timeouts, derived from what was measured here. Pure: the files are written by ``timeout_files``.

What FLARE repeats for ever anyway, and quickly, is left as it is (``task_check_timeout``, ``runner_sync_timeout``): a
longer wait for an answer that is lost would only slow a job down.

Every rule is one of three shapes, and hardly one goes below FLARE's own default:

- *whole*: the message is answered only when the whole model is through: ``FACTOR x model / speed + outage``;
- *piece*: one piece must get through: ``FACTOR x (piece / speed + latency) + outage``;
- *quick*: a short message waits behind a piece, and is sent again if lost: ``FACTOR x (piece / speed + latency)``.
"""

import math
from enum import StrEnum

from pydantic import Field

from radfed.settings import Settings

FACTOR = 4.0
"""How much slower than measured the link may become."""

OUTAGE = 120.0
"""Seconds without a byte that a transfer survives: a cut of 60 s, after which TCP may wait as long again to resend."""

_BEAT = 10.0  # seconds between a client's heartbeats

_MIB = 1024**2
# Sizes that FLARE 2.9 works in: one frame, one piece of a model, and what a receiver takes in before it answers.
_FRAME, _PIECE, _ACKNOWLEDGED = _MIB, 2 * _MIB, 4 * _MIB


class Place(StrEnum):
    """Where FLARE reads a timeout."""

    CLIENT = "client"  # the key "client" of any *resources.json of the site
    LINK = "link"  # comm_config.json of the site
    VARIABLE = "variable"  # the job's configuration, else the environment of the site's processes
    JOB = "job"  # radfed's job.yaml
    SERVER = "server"  # the server's resources.json, or the environment of its processes


class Timeout(Settings):
    """One timeout. ``default`` is FLARE's own, in seconds."""

    name: str
    seconds: float
    default: float
    place: Place
    why: str = Field(description="What would happen if it were too short")


class Timeouts(Settings):
    """All timeouts of a site for one job: those that the site sets, and those that are advice for the server."""

    site: tuple[Timeout, ...]
    advice: tuple[Timeout, ...]

    def of(self, place: Place) -> dict[str, float]:
        """Names and seconds of one place."""
        return {timeout.name: timeout.seconds for timeout in (*self.site, *self.advice) if timeout.place is place}


def derive(
    *,
    round_s: float,
    evaluation_s: float,
    upload_bytes_per_s: float,
    download_bytes_per_s: float,
    model_bytes: int,
    latency_s: float = 0.0,
    outage_s: float = OUTAGE,
) -> Timeouts:
    """Every timeout that matters for a site.

    Args:
        round_s: training steps of one round at this site (s).
        evaluation_s: validation of one model at this site (s).
        upload_bytes_per_s: measured towards the server.
        download_bytes_per_s: measured from the server.
        model_bytes: weights and buffers as they travel.
        latency_s: one round trip (s).
        outage_s: how long the network may be cut (s).

    Raises:
        ValueError: a speed or the model's size is not above 0, or a time is negative.
    """
    if min(upload_bytes_per_s, download_bytes_per_s, model_bytes) <= 0:
        raise ValueError("speeds and the model's size must be above 0")
    if min(round_s, evaluation_s, latency_s, outage_s) < 0:
        raise ValueError("times must not be negative")
    slower = min(upload_bytes_per_s, download_bytes_per_s)

    def quick(size: int, speed: float) -> float:
        return FACTOR * (size / speed + latency_s)

    def piece(size: int, speed: float) -> float:
        return quick(size, speed) + outage_s

    whole = FACTOR * model_bytes / slower + outage_s
    busy = round_s + evaluation_s + model_bytes / upload_bytes_per_s + model_bytes / download_bytes_per_s
    site = (
        _at("communication_timeout", whole, 300, Place.CLIENT, "the whole upload is given up and begins anew"),
        _at("maint_msg_timeout", quick(_PIECE, slower), 30, Place.CLIENT, "heartbeats fail behind an upload"),
        _at(
            "streaming_ack_progress_timeout",
            piece(_ACKNOWLEDGED, upload_bytes_per_s),
            60,
            Place.LINK,
            "a stream ends although it moves",
        ),
        _at(
            "streaming_ack_wait",
            piece(_ACKNOWLEDGED, upload_bytes_per_s),
            300,
            Place.LINK,
            "a stream ends although it moves",
        ),
        _at(
            "streaming_read_timeout",
            piece(_FRAME, download_bytes_per_s),
            300,
            Place.LINK,
            "the site gives up a model that is on its way",
        ),
        _at("streaming_send_timeout", piece(_FRAME, upload_bytes_per_s), 30, Place.LINK, "a slow socket is closed"),
        _at(
            "sfm_send_stall_timeout", quick(_FRAME, upload_bytes_per_s), 45, Place.LINK, "a slow link is called stalled"
        ),
        *(
            _at(f"{kind}{name}", piece(_PIECE, speed), 600, Place.VARIABLE, why)
            for kind in ("np_", "tensor_")
            for name, speed, why in (
                ("min_download_timeout", upload_bytes_per_s, "an update is thrown away while the server fetches it"),
                ("streaming_per_request_timeout", download_bytes_per_s, "a piece of the model is asked for again"),
            )
        ),
        _at(
            "max_runner_sync_timeout",
            60 + outage_s,
            60,
            Place.VARIABLE,
            "the job's process ends if the network is cut as it starts",
        ),
    )
    advice = (
        _at("round_deadline", 2 * busy + outage_s, 21600, Place.JOB, "this site's updates come too late to count", 0),
        _at("grace", max(0.25 * busy, outage_s), 60, Place.JOB, "after the quorum this site is left out", 0),
        _at(
            "heart_beat_timeout", piece(_PIECE, slower) + 3 * _BEAT, 600, Place.SERVER, "the site is taken for dead", 0
        ),
        _at("dead_client_grace_period", piece(_PIECE, slower), 60, Place.SERVER, "the site is taken for dead"),
        _at(
            "np_streaming_per_request_timeout",
            piece(_PIECE, upload_bytes_per_s),
            600,
            Place.SERVER,
            "a piece of this site's update is asked for again",
        ),
        _at(
            "np_min_download_timeout",
            piece(_PIECE, download_bytes_per_s),
            600,
            Place.SERVER,
            "the model is thrown away while this site fetches it",
        ),
        _at("client_outcome_wait_timeout", whole, 900, Place.SERVER, "the server does not wait for the job's end here"),
    )
    return Timeouts(site=site, advice=advice)


def _at(name: str, seconds: float, default: float, place: Place, why: str, least: float | None = None) -> Timeout:
    """Not below ``least``, else FLARE's default; in steps of 10 s, so that a second measurement changes little."""
    rounded = math.ceil(round(seconds, 6) / 10) * 10
    floor = default if least is None else least
    return Timeout(name=name, seconds=float(max(rounded, floor)), default=float(default), place=place, why=why)
