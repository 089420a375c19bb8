"""What a site sent, judged by itself: its numbers, its tensors, and what of it goes to disk and ledger."""

import logging
import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from nvflare.app_common.abstract.fl_model import FLModel

from radfed.errors import InvalidInputError
from radfed.federation.aggregation import change_norm, refusal
from radfed.federation.gathering import Answer, Gathering
from radfed.federation.messages import TEST, TRAIN, Report
from radfed.ledger import SiteLine
from radfed.metrics.pooling import TestReport
from radfed.weights import save_weights, weights_digest

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One task that was sent to the sites; ``take`` is FLARE's callback, called in threads of FLARE's.

    Attributes:
        task: its name.
        gathering: where answers go.
        model: what was sent.
        folder: for the updates of this task alone.
        tests: where test reports go, by site.
        measured: what the task contract has measured; a report may name nothing else.
        pool: does the judging.
        seen: sites whose answer was taken.
    """

    task: str
    gathering: Gathering
    model: dict[str, NDArray[Any]]
    folder: Path
    tests: dict[str, TestReport]
    measured: frozenset[str]
    pool: ThreadPoolExecutor
    seen: set[str] = field(default_factory=set)

    def take(self, result: FLModel) -> None:
        """Have an answer judged and its update put on disk, while FLARE takes the next one."""
        site = str(result.meta["client_name"])
        if site in self.seen:
            return
        self.seen.add(site)
        line = self.gathering.answered(site)
        self.pool.submit(self._put, line, result)

    def _put(self, line: SiteLine, result: FLModel) -> None:
        try:
            answer = self._judged(line, result)
        except InvalidInputError:
            answer = self.gathering.refused(line.site, "malformed_report")
        except Exception:
            # Whatever a site made it stumble over must not keep the others waiting for that site.
            _LOGGER.exception("an answer of %s cannot be used", line.site)
            answer = self.gathering.refused(line.site, "unusable_answer")
        self.gathering.put(answer)

    def _judged(self, line: SiteLine, result: FLModel) -> Answer:
        content = dict(result.metrics or {})
        if self.task == TEST:
            report = TestReport.check(content, "report")
            if not report.labels.keys() <= self.measured:
                raise InvalidInputError("the report names what the task does not have measured")
            self.tests[line.site] = report
            return Answer(line)
        numbers = Report.check(content, "report")
        line = line.model_copy(update=numbers.model_dump(exclude={"cases"}) | {"weight": float(numbers.cases)})
        if self.task != TRAIN:
            return Answer(line)
        params: dict[str, NDArray[Any]] = result.params or {}
        reason = refusal(params, self.model) or ("no_cases" if numbers.cases == 0 else None)
        norm = change_norm(params, self.model) if reason is None else 0.0
        if not math.isfinite(norm):
            reason = "norm_outlier"
        if reason is not None:
            return Answer(line.model_copy(update={"reason": reason}))
        # Names of sites are no names of files.
        path = self.folder / f"{self.gathering.sites.index(line.site)}.safetensors"
        save_weights(path, params)
        facts = {
            "digest": weights_digest(params),
            "bytes": sum(array.nbytes for array in params.values()),
            "norm": norm,
        }
        return Answer(line.model_copy(update=facts), path)


def as_code(reason: object) -> str:
    """A reason that a site gave, as a code: what a site writes into the ledger is bounded."""
    text = str(reason)
    return text if re.fullmatch(r"[A-Za-z0-9_]{1,64}", text) else "malformed_reason"
