import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.utils.task_utils import apply_filters
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.private.fed.client.admin_commands import AdminCommands
from nvflare.private.privacy_manager import Scope

from radfed.errors import GateError
from radfed.federation.egress import EgressFilter, describe
from radfed.job import as_campaign, find_job
from radfed.site.config import init_site
from radfed.site.egress import LOG_FILE, Sent, verify
from radfed.weights import weights_digest

WEIGHTS = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "norm.count": np.array(3)}
METRICS = {"cases": 5, "loss": 0.25, "optimiser": "fresh", "metric": None}


class Halves(Filter):  # type: ignore[misc] # nvflare has no types
    """Stands for a site's privacy filter."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        data = shareable["DXO"]["data"]
        shareable["DXO"]["data"] = {name: np.asarray(array / 2) for name, array in data.items()}
        return shareable


@pytest.fixture(autouse=True)
def _flares_commands() -> Iterator[None]:
    """The filter closes one of them in its process."""
    before = list(AdminCommands.commands)
    yield
    AdminCommands.commands[:] = before


@pytest.fixture
def site(tmp_path: Path) -> Path:
    init_site(tmp_path / "site", "site-a")
    config = tmp_path / "kit/job-1/app_site-a/config"
    config.mkdir(parents=True)
    as_campaign(find_job("phantom_segmentation"), "campaign-1").write_json(config / "radfed.json")
    (tmp_path / "kit/local").mkdir()
    (tmp_path / "kit/local/radfed.json").write_text(json.dumps({"site": str(tmp_path / "site")}))
    return tmp_path / "site"


def context(site: Path, scope: Scope | None = None) -> FLContext:
    kit = site.parent / "kit"
    workspace = SimpleNamespace(
        get_root_dir=lambda: str(kit), get_app_config_dir=lambda job: str(kit / job / "app_site-a/config")
    )
    made = FLContext()
    made.put("__identity_name__", "site-a", private=False, sticky=False)
    made.put("__engine__", SimpleNamespace(get_workspace=lambda: workspace), private=True, sticky=False)
    made.put("__run_num__", "job-1", private=False, sticky=False)
    made.put(FLContextKey.TASK_NAME, "train", private=True, sticky=False)
    made.put(FLContextKey.SCOPE_OBJECT, scope, private=True, sticky=False)
    return made


def update() -> Shareable:
    model = FLModel(params_type=ParamsType.FULL, params=dict(WEIGHTS), metrics=dict(METRICS), current_round=3)
    return FLModelUtils.to_shareable(model)


def sent(site: Path) -> list[Sent]:
    verdict = verify(site)
    assert verdict.problems == ()
    return [line for line in verdict.lines if isinstance(line, Sent)]


def test_an_update_is_logged_as_the_server_will_name_it_and_passes_unchanged(site: Path) -> None:
    answer = update()
    assert EgressFilter().process(answer, context(site)) is answer
    [line] = sent(site)
    assert (line.campaign, line.job, line.round, line.task, line.status) == ("campaign-1", "job-1", 3, "train", "OK")
    assert (line.digest, line.tensors, line.bytes) == (weights_digest(WEIGHTS), 2, 32)
    assert line.metrics == METRICS


def test_it_sees_what_the_other_filters_of_the_site_left_and_names_them(site: Path) -> None:
    scope = Scope()
    for entry in (Halves(), EgressFilter()):
        scope.add_task_result_filter(entry, FilterKey.OUT)
    answer = update()
    left = apply_filters("task_result_filters", answer, context(site, scope), {}, "train", FilterKey.OUT)
    [line] = sent(site)
    assert line.filters == ("Halves",)
    assert line.digest == weights_digest(left["DXO"]["data"]) != weights_digest(WEIGHTS)


def test_metrics_alone_and_error_replies_are_logged_too(site: Path) -> None:
    EgressFilter().process(FLModelUtils.to_shareable(FLModel(metrics={"cases": 2})), context(site))
    reply = make_reply(ReturnCode.EXECUTION_EXCEPTION, headers={"radfed_reason": "not_finite", "current_round": 4})
    EgressFilter().process(reply, context(site))
    metrics, error = sent(site)
    assert (metrics.digest, metrics.bytes, metrics.metrics) == (None, 0, {"cases": 2})
    assert (error.status, error.round) == (ReturnCode.EXECUTION_EXCEPTION, 4)
    assert error.metrics == {"header.radfed_reason": "not_finite"}


def test_a_number_that_json_does_not_know_is_written_as_text(site: Path) -> None:
    EgressFilter().process(FLModelUtils.to_shareable(FLModel(metrics={"loss": float("nan")})), context(site))
    assert sent(site)[0].metrics == {"loss": "nan"}


def test_without_a_log_nothing_leaves_and_the_error_names_no_path(site: Path) -> None:
    (site / LOG_FILE).mkdir()
    with pytest.raises(GateError, match="nothing may leave") as refused:
        EgressFilter().process(update(), context(site))
    assert str(site.parent) not in str(refused.value)
    assert refused.value.__cause__ is None


def test_without_a_site_or_a_job_nothing_leaves(site: Path) -> None:
    (site.parent / "kit/local/radfed.json").unlink()
    with pytest.raises(GateError, match="nothing may leave") as refused:
        EgressFilter().process(update(), context(site))
    assert str(site.parent) not in str(refused.value)


def test_a_log_that_was_cut_lets_nothing_leave(site: Path) -> None:
    EgressFilter().process(update(), context(site))
    (site / LOG_FILE).write_text("")
    with pytest.raises(GateError, match="nothing may leave: lines were cut off"):
        EgressFilter().process(update(), context(site))


def _dxo(data: dict[str, Any], meta: dict[str, Any] | None = None) -> Shareable:
    return DXO(DataKind.WEIGHTS, data=data, meta=meta or {}).to_shareable()


def _with(answer: Shareable, key: str, value: object) -> Shareable:
    answer[key] = value
    return answer


@pytest.mark.parametrize(
    "answer",
    [
        _dxo({"w": b"any bytes"}),
        _dxo({"w": np.array(["Jane Doe"], dtype=object)}),
        _dxo({"w": np.ones(2)}, {"note": "Jane Doe, born 1970-01-01, " * 5}),
        _dxo({"w": np.ones(2)}, {"initial_metrics": {"w": 1}}),
        _dxo({"w": object()}),
        _dxo({"w": {"x", "y"}}),
        _with(_dxo({"w": np.ones(2)}), "extra", b"hidden"),
        make_reply(ReturnCode.OK, headers={"why": "x" * 101}),
    ],
)
def test_what_radfed_never_sends_does_not_leave(site: Path, answer: Shareable) -> None:
    with pytest.raises(GateError, match="nothing may leave"):
        EgressFilter().process(answer, context(site))
    assert sent(site) == []


def test_arrays_outside_the_model_are_counted() -> None:
    answer = _with(_dxo({"w": np.ones(2)}, {"initial_metrics": {"curve": np.ones(4)}}), "extra", [np.ones(8)])
    answer["DXO"]["more"] = np.ones(16)
    message = describe(answer, "train", "job-1", None)
    assert (message.tensors, message.bytes) == (4, 8 * (2 + 4 + 8 + 16))
