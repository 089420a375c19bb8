"""A finding: what was checked, what was found in one line, and what mends it in another."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from radfed.settings import Settings
from radfed.site.doctor.prediction import Prediction
from radfed.site.timeouts import Timeouts


class Verdict(StrEnum):
    """How bad a finding is: only a ``fail`` keeps a site from joining."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


class Finding(BaseModel):
    """One line of what was found, and one of what to do about it; that is empty when nothing is to be done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    verdict: Verdict
    found: str
    fix: str = ""


class Report(Settings):
    """Everything that the doctor found at a site."""

    findings: tuple[Finding, ...]
    predicted: Prediction | None = None
    timeouts: Timeouts | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.verdict is not Verdict.FAIL for finding in self.findings)

    def as_object(self) -> dict[str, Any]:
        """The report for ``--json``."""
        return {"ok": self.ok, **self.model_dump(mode="json")}


def passed(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check=check, verdict=Verdict.PASS, found=found)


def warned(check: str, found: str, fix: str) -> Finding:
    """The site can join, but should know."""
    return Finding(check=check, verdict=Verdict.WARN, found=found, fix=fix)


def failed(check: str, found: str, fix: str) -> Finding:
    """The site must not join like this, or could not."""
    return Finding(check=check, verdict=Verdict.FAIL, found=found, fix=fix)
