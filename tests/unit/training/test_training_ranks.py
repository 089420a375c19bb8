import numpy as np
import pytest
import torch

from radfed.errors import InvalidInputError, TrainingError
from radfed.training.ranks import ALONE, Ranks


@pytest.mark.parametrize(("cases", "processes"), [(1, 1), (4, 2), (7, 3), (5, 5), (64, 8)])
def test_shares_are_the_batch_in_its_order_and_differ_by_one_case_at_most(cases: int, processes: int) -> None:
    drawn = np.arange(cases)
    shares = [drawn[Ranks(rank, processes).share(cases)] for rank in range(processes)]
    assert np.concatenate(shares).tolist() == drawn.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_step_with_fewer_cases_than_processes_is_refused_by_all_alike() -> None:
    for rank in range(3):
        with pytest.raises(TrainingError, match=r"training_processes: got 3, but a step has 2 case\(s\)"):
            Ranks(rank, 3).share(2)


def test_a_single_process_is_left_as_it_is() -> None:
    rows = torch.rand(3, 2, requires_grad=True)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    (rows.sum() + network(torch.rand(2, 1, 4, 4)).sum()).backward()
    before = [parameter.grad for parameter in network.parameters()]
    ALONE.fit(network)
    ALONE.add_up(network.parameters())
    assert type(network[1]) is torch.nn.BatchNorm2d
    assert all(parameter.grad is gradient for parameter, gradient in zip(network.parameters(), before, strict=True))
    assert ALONE.gathered(rows, 3) is rows
    assert ALONE.choose_device("cpu") == torch.device("cpu")


def test_batch_normalisation_over_several_processes_needs_cuda() -> None:
    norm = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with pytest.raises(InvalidInputError, match="batch normalisation"):
        Ranks(0, 2).fit(norm)
    Ranks(0, 2).fit(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.InstanceNorm2d(2, affine=True)))


def test_each_process_takes_a_gpu_of_its_own_and_there_have_to_be_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert [Ranks(rank, 2).choose_device("auto") for rank in (0, 1)] == [torch.device("cuda", i) for i in (0, 1)]
    assert taken == [0, 1]
    assert Ranks(1, 2).choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InvalidInputError, match=r"training_processes: got 3, but this machine has 2 CUDA device\(s\)"):
        Ranks(0, 3).choose_device("auto")
