import pytest
import torch
from training_world import outcome_task  # type: ignore[import-not-found]

from radfed.job import Job, find_job
from radfed.training.measure import largest_batch

CPU = torch.device("cpu")


@pytest.fixture
def job() -> Job:
    content = find_job("phantom_segmentation").model_dump(mode="json")
    content["task"] = outcome_task("ResNet", 2).model_dump(mode="json")
    return Job.check(content, "test")


@pytest.mark.parametrize(
    ("room", "fits", "tried"), [(58, 16, [2, 4, 8, 16]), (57, 8, [2, 4, 8]), (106, 32, [2, 4, 8, 16, 32]), (15, 1, [2])]
)
def test_a_batch_that_will_not_fit_is_not_tried(
    job: Job, monkeypatch: pytest.MonkeyPatch, room: int, fits: int, tried: list[int]
) -> None:
    sizes: list[int] = []

    def need(_job: Job, _device: torch.device, batch_size: int, _before: int) -> int:
        sizes.append(batch_size)
        return 10 + 3 * batch_size

    monkeypatch.setattr("radfed.training.measure._need", need)
    assert largest_batch(job, CPU, memory=room) == fits
    assert sizes == tried


def test_memory_that_runs_out_ends_the_search(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def need(_job: Job, _device: torch.device, batch_size: int, _before: int) -> int:
        if batch_size > 4:
            raise torch.OutOfMemoryError("no room")
        return 0

    monkeypatch.setattr("radfed.training.measure._need", need)
    assert largest_batch(job, CPU, memory=10**9) == 4


def test_real_steps_are_taken_up_to_the_limit(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radfed.training.measure._LARGEST_BATCH", 4)
    assert largest_batch(job, CPU, memory=10**12) == 4
