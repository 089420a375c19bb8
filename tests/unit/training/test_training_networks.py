import inspect
from typing import get_args

import monai.networks.nets as nets
import pytest
from pydantic import BaseModel

from radfed.task import DynUNetArgs, SegmentationTask, SegResNetArgs, SwinUNETRArgs, UNetArgs
from radfed.training.networks import build_network

ARGS: dict[str, type[BaseModel]] = {
    "UNet": UNetArgs,
    "SegResNet": SegResNetArgs,
    "DynUNet": DynUNetArgs,
    "SwinUNETR": SwinUNETRArgs,
}


@pytest.mark.parametrize("name", ARGS)
def test_every_argument_of_the_contract_is_one_of_monais_network(name: str) -> None:
    taken = inspect.signature(getattr(nets, name)).parameters
    assert set(ARGS[name].model_fields) <= set(taken)


def test_every_network_of_the_contract_is_built() -> None:
    union = get_args(SegmentationTask.model_fields["network"].annotation)
    names = {model.model_fields["name"].default for model in union}
    assert names == set(ARGS)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_norm_asked_for_is_the_norm_built(norm: str) -> None:
    content = {
        "name": "t",
        "description": "d",
        "intended_use": "i",
        "channels": [{"name": "c"}],
        "labels": [{"value": 1, "name": "a"}],
        "roi_size": [16, 16, 16],
        "network": {"name": "UNet", "args": {"channels": [4, 8], "strides": [2], "norm": norm}},
        "spacing": [1, 1, 1],
    }
    names = build_network(SegmentationTask.check(content, "test"), seed=0).state_dict()
    assert any("running_var" in name for name in names) == (norm == "batch")
