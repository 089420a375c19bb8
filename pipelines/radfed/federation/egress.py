"""What leaves a site, seen at the last filter: every answer is written into the site's egress log before it is sent."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.dxo import DataKind, MetaKey
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.app_common.app_constant import AppConstants

from radfed.errors import GateError, RadfedError
from radfed.federation.closed_commands import close_job
from radfed.federation.messages import SIGNED
from radfed.federation.place import site_folder
from radfed.federation.statements import told
from radfed.federation.statistics_message import opened
from radfed.job import SETTINGS_FILE, Job
from radfed.site.egress import Message, append
from radfed.weights import weights_digest

_LONGEST_TEXT = 100
_DXO = "DXO"
# FLARE's own words about the message; they say nothing of the site's data.
_BOOKKEEPING = frozenset(
    {ReservedHeaderKey.RC, ReservedHeaderKey.CONTENT_TYPE, AppConstants.CURRENT_ROUND, AppConstants.START_ROUND}
)
Scalar = float | int | str | bool | None


class EgressFilter(Filter):  # type: ignore[misc] # nvflare has no types
    """Writes an answer into the egress log of the site and passes it on unchanged.

    It is the last of the ``task_result_filters`` in the kit's ``local/privacy.json``, so it sees what the site's other
    filters left of the answer; a job of radfed has no filters of its own. If the log cannot be written, or the answer
    holds anything but arrays, numbers and short codes, it raises, and FLARE sends an error instead of the answer.
    """

    def __init__(self) -> None:
        super().__init__()
        # FLARE builds this filter before the job's process listens to anybody.
        close_job()

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Log one answer.

        Raises:
            GateError: nothing may leave; the text holds no path.
        """
        try:
            workspace, job_id = fl_ctx.get_engine().get_workspace(), fl_ctx.get_job_id()
            folder = site_folder(fl_ctx.get_identity_name(), Path(workspace.get_root_dir()))
            job = Job.read_json(Path(workspace.get_app_config_dir(job_id)) / SETTINGS_FILE)
            message = describe(shareable, str(fl_ctx.get_prop(FLContextKey.TASK_NAME)), job_id, job.campaign)
            message = message.model_copy(update={"filters": self._filters(fl_ctx)})
            append(folder, message)
        except GateError:
            raise
        except (OSError, RadfedError) as error:
            # FLARE keeps an error's text, and admins can ask for it: the name of a file must not be in it.
            raise GateError(f"nothing may leave: the egress log cannot be written ({type(error).__name__})") from None
        return shareable

    def _filters(self, fl_ctx: FLContext) -> tuple[str, ...]:
        """The site's filters that the answer went through before it came here."""
        scope = fl_ctx.get_prop(FLContextKey.SCOPE_OBJECT)
        chain = scope.task_result_filters.get(FilterKey.OUT, []) if scope else []
        return tuple(type(entry).__name__ for entry in chain if entry is not self)


def describe(answer: Shareable, task: str, job_id: str, campaign: str | None) -> Message:
    """An answer as the log names it.

    Raises:
        GateError: it holds something that radfed never sends.
    """
    arrays: dict[str, NDArray[Any]] = {}
    numbers: dict[str, Scalar] = {}
    report: dict[str, Scalar] = {}
    for name, value in _contents(answer):
        if name == SIGNED and isinstance(value, str):
            about, signed = told(value)
            numbers |= {f"{SIGNED}.{inner}": _scalar(inner, part) for inner, part in _walk("", about)}
            report = {inner: _scalar(inner, part) for inner, part in _walk("", signed)}
            continue
        if name in arrays or name in numbers:
            raise GateError(f"nothing may leave: two values are called {name[:_LONGEST_TEXT]}")
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise GateError(f"nothing may leave: {name[:_LONGEST_TEXT]} is an array of objects")
            arrays[name] = value
        else:
            numbers[name] = _scalar(name, value)
    if not report.items() <= numbers.items():
        raise GateError("nothing may leave: what is signed is not what is sent")
    number = answer.get_header(AppConstants.CURRENT_ROUND)
    return Message(
        campaign=campaign,
        job=job_id,
        round=number if isinstance(number, int) else None,
        task=task,
        status=str(answer.get_return_code(ReturnCode.OK)),
        digest=weights_digest(arrays) if arrays else None,
        tensors=len(arrays),
        bytes=sum(array.nbytes for array in arrays.values()),
        metrics=numbers,
    )


def _contents(answer: Shareable) -> Iterator[tuple[str, object]]:
    """Every value in an answer under its name; a weight's is that of the weight, a metric's that of the metric."""
    rest = {key: value for key, value in answer.items() if key != ReservedHeaderKey.HEADERS}
    headers = dict(answer.get(ReservedHeaderKey.HEADERS) or {})
    if headers.get(ReservedHeaderKey.CONTENT_TYPE) == _DXO:
        content = dict(rest.pop(_DXO))
        meta = dict(content.pop("meta", None) or {})
        kind, data = content.pop("kind", None), content.pop("data", None)
        if kind == DataKind.STATISTICS and isinstance(data, dict):
            for name, value in opened(data):
                yield from _walk(name, value)
        else:
            yield from _walk("", data)
        yield from _walk("", meta.pop(MetaKey.INITIAL_METRICS, {}))
        yield from _walk("meta", meta)
        yield from _walk("dxo", content)
    yield from _walk("content", rest)
    yield from _walk("header", {key: value for key, value in headers.items() if key not in _BOOKKEEPING})


def _walk(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _walk(f"{name}.{index}", inner)
    else:
        yield name, value


def _scalar(name: str, value: object) -> Scalar:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        # JSON has no word for these.
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT:
        return value
    raise GateError(f"nothing may leave: {name[:_LONGEST_TEXT]} is {type(value).__name__}, or a long text")
