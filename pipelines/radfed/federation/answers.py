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

from radfed.errors import GateError, InvalidInputError
from radfed.federation.aggregation import change_norm, refusal
from radfed.federation.gathering import Answer, Gathering
from radfed.federation.messages import SIGNED, TEST, TRAIN, Report
from radfed.federation.statements import Expected
from radfed.ledger import SiteLine
from radfed.metrics.pooling import TestReport
from radfed.signatures import Signed
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
        expected: what a test report must be signed as.
        private: whether an update must say what it cost the site's patients.
        seen: sites whose answer was taken.
        signed: where signed test reports go, by site.
    """

    task: str
    gathering: Gathering
    model: dict[str, NDArray[Any]]
    folder: Path
    tests: dict[str, TestReport]
    measured: frozenset[str]
    pool: ThreadPoolExecutor
    expected: Expected | None = None
    private: bool = False
    seen: set[str] = field(default_factory=set)
    signed: dict[str, Signed] = field(default_factory=dict)

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
        except GateError as error:
            _LOGGER.warning("%s", error)
            answer = self.gathering.refused(line.site, "bad_signature")
        except Exception:
            # Whatever a site made it stumble over must not keep the others waiting for that site.
            _LOGGER.exception("an answer of %s cannot be used", line.site)
            answer = self.gathering.refused(line.site, "unusable_answer")
        self.gathering.put(answer)

    def _judged(self, line: SiteLine, result: FLModel) -> Answer:
        content = dict(result.metrics or {})
        if self.task == TEST:
            text = content.pop(SIGNED, None)
            report = TestReport.check(content, "report")
            if not report.labels.keys() <= self.measured:
                raise InvalidInputError("the report names what the task does not have measured")
            signed = self.expected.check(line.site, text, report.model_dump()) if self.expected else None
            if signed is not None:
                self.signed[line.site] = signed
            self.tests[line.site] = report
            return Answer(line)
        numbers = Report.check(content, "report")
        told = numbers.model_dump(exclude={"cases", "privacy"})
        line = line.model_copy(update=told | {"weight": float(numbers.cases), "privacy": numbers.privacy})
        if self.task != TRAIN:
            return Answer(line)
        params: dict[str, NDArray[Any]] = result.params or {}
        reason = refusal(params, self.model) or ("no_cases" if numbers.cases == 0 else None)
        if self.private and numbers.privacy is None:
            reason = "no_privacy"
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
