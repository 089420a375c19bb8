import pytest

from radfed.job import FederationSettings
from radfed.site.doctor.cost import check_bandwidth, check_prediction
from radfed.site.doctor.link import Link
from radfed.site.doctor.measurement import Measurement
from radfed.site.doctor.prediction import predict

LINK = Link(up_bytes_per_second=250_000, down_bytes_per_second=1_000_000, latency_seconds=0.02)


def a_job(speed: float | None, evaluation: float | None = 5.0) -> Measurement:
    return Measurement(
        parameters=250_000, bytes=1_000_000, steps_per_second=speed, evaluation_seconds=evaluation, peak_memory_bytes=1
    )


def test_a_round_is_download_evaluation_training_and_upload() -> None:
    predicted = predict(LINK, a_job(2.0), local_steps=60)
    assert (predicted.upload_seconds, predicted.download_seconds, predicted.training_seconds) == (4.0, 1.0, 30.0)
    assert predicted.round_seconds == 40.0
    assert predict(LINK, a_job(None), local_steps=60).round_seconds is None


@pytest.mark.parametrize(("deadline", "verdict"), [(0, "pass"), (41, "pass"), (39, "fail")])
def test_a_site_too_slow_for_the_deadline_fails(deadline: int, verdict: str) -> None:
    found = check_prediction(predict(LINK, a_job(2.0), 60), FederationSettings(local_steps=60, round_deadline=deadline))
    assert found.verdict == verdict
    assert "upload 4.0 s" in found.found


def test_a_round_mostly_on_the_way_warns() -> None:
    found = check_prediction(predict(LINK, a_job(100.0, None), 60), FederationSettings(local_steps=60))
    assert found.verdict == "warn"


def test_the_slower_direction_counts() -> None:
    assert check_bandwidth(LINK).verdict == "pass"
    slow = LINK.model_copy(update={"up_bytes_per_second": 100_000.0})
    found = check_bandwidth(slow)
    assert found.verdict == "warn"
    assert "0.8 Mbit/s up, 8.0 Mbit/s down" in found.found
