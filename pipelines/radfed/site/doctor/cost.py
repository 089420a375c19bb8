"""What a round costs here, and whether that fits the job."""

from radfed.job import FederationSettings
from radfed.site.doctor.findings import Finding, failed, passed, warned
from radfed.site.doctor.link import Link
from radfed.site.doctor.prediction import Prediction

_MBIT = 1e6 / 8
# Below this, a model of 100 MB takes more than 13 minutes each way.
_SLOW = 1 * _MBIT


def check_bandwidth(link: Link) -> Finding:
    """The link as measured."""
    up, down = link.up_bytes_per_second, link.down_bytes_per_second
    said = (
        f"{up / _MBIT:.1f} Mbit/s up, {down / _MBIT:.1f} Mbit/s down, {link.latency_seconds * 1000:.0f} ms round trip"
    )
    if min(up, down) < _SLOW:
        return warned("bandwidth", said, "ask for a faster way to the server, or for a smaller model")
    return passed("bandwidth", said)


def check_prediction(predicted: Prediction, federation: FederationSettings) -> Finding:
    """A round as predicted, against the job's deadline and against the time that training itself takes."""
    check = "prediction"
    said = (
        f"model {predicted.model_bytes / 1e6:.1f} MB: upload {predicted.upload_seconds:.1f} s, "
        f"download {predicted.download_seconds:.1f} s"
    )
    if predicted.round_seconds is None or predicted.training_seconds is None:
        return passed(check, said)
    said += (
        f", {federation.local_steps} steps {predicted.training_seconds:.1f} s, round {predicted.round_seconds:.1f} s"
    )
    deadline = federation.round_deadline
    if deadline and predicted.round_seconds > deadline:
        fix = f"ask for a round_deadline above {predicted.round_seconds:.0f} s, or for fewer local_steps"
        return failed(check, f"{said}; too late for the round's deadline of {deadline} s", fix)
    if predicted.transfer_seconds > predicted.round_seconds / 2:
        return warned(check, f"{said}; more than half of it on the way", "ask for more local_steps a round")
    return passed(check, said)
