"""What is seen of a FLARE job from afar: FLARE's own status, what each site answered, and signs of life."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from radfed.errors import FederationError, InvalidInputError
from radfed.ledger import Line, read_line

_REFUSAL = re.compile(r"radfed:([a-z_]+)(?::([^\s\"']{1,200}))?")
_MENDABLE = ("not_approved", "no_site")
_SUBMITTED, _ENDED = ("SUBMITTED", "DISPATCHED"), "FINISHED"


class UnreachableError(FederationError):
    """The server did not answer for as long as it was tried."""

    reason = "server_unreachable"


class TooFewSitesError(UnreachableError):
    """Fewer sites than the quorum were connected for as long as they were waited for."""

    reason = "too_few_sites"


class Life(StrEnum):
    """Whether a job's process on the server answers."""

    ANSWERED = "answered"
    SILENT = "silent"
    GONE = "gone"
    """The server knows of no process for the job."""


@dataclass(frozen=True)
class Refusal:
    """Why a site did not take a job. ``detail`` of ``not_approved`` is the job's digest."""

    site: str
    code: str
    detail: str | None = None

    @property
    def can_pass(self) -> bool:
        """Whether a person at the site can have it take the very same job."""
        return self.code in _MENDABLE


@dataclass(frozen=True)
class JobStatus:
    """What FLARE says of a job.

    Attributes:
        job_id: FLARE's.
        name: what FLARE calls it; for radfed's jobs the campaign.
        status: FLARE's own word, for example ``RUNNING`` or ``FINISHED:COMPLETED``.
        deployed: by site, ``OK`` or what the site said instead. Empty before the sites were asked.
        note: the scheduler's last word on it.
    """

    job_id: str
    name: str
    status: str
    deployed: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def of(cls, meta: Mapping[str, object]) -> Self:
        """From FLARE's meta data of a job."""
        answers = meta.get("job_deploy_detail")
        history = meta.get("schedule_history")
        pairs = [str(text).partition(": ") for text in answers] if isinstance(answers, list) else []
        return cls(
            job_id=str(meta.get("job_id", "")),
            name=str(meta.get("name", "")),
            status=str(meta.get("status", "")),
            # Lines without a colon are FLARE's own counts.
            deployed={site: text for site, colon, text in pairs if colon and site != "server"},
            note=str(history[-1]).split(": ", 1)[-1] if isinstance(history, list) and history else "",
        )

    @property
    def ended(self) -> bool:
        """Whether FLARE will do nothing more with it."""
        return self.status.startswith(_ENDED)

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return self.status in _SUBMITTED

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The sites that refused it, by radfed's codes; another error of a site has the code ``not_deployed``."""
        refused = {site: text for site, text in self.deployed.items() if text != "OK"}
        return tuple(_refusal(site, text) for site, text in sorted(refused.items()))


def _refusal(site: str, text: str) -> Refusal:
    found = _REFUSAL.search(text)
    return Refusal(site, found[1], found[2]) if found else Refusal(site, "not_deployed", text[:200])


@dataclass(frozen=True)
class LedgerPage:
    """What a running job answered when it was asked for its ledger.

    Attributes:
        life: whether it answered at all.
        lines: the lines asked for.
        total: how many lines the ledger has.
    """

    life: Life
    lines: tuple[Line, ...] = ()
    total: int = 0

    @classmethod
    def of(cls, content: object) -> Self:
        """From the answer to the app command.

        Raises:
            FederationError: the answer is none that radfed gives.
        """
        lines = content.get("lines") if isinstance(content, Mapping) else None
        total = content.get("total") if isinstance(content, Mapping) else None
        try:
            if not isinstance(lines, list) or not isinstance(total, int):
                raise InvalidInputError("no list of lines")
            return cls(Life.ANSWERED, tuple(read_line(line, "ledger") for line in lines), total)
        except InvalidInputError as error:
            raise FederationError(
                f"the job's ledger cannot be read ({error}); the server may run another version of radfed"
            ) from error
