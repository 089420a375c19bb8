"""Which jobs may run at a site: the digest that a person approves, the grants on disk, and the decision.

A job is approved by its digest, so a job with one setting changed is another job. A grant also holds the facts that
the person saw; it lapses as soon as one of those that lie in the site's own hands is no longer so.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from radfed.errors import GateError, InvalidInputError
from radfed.files import put_text
from radfed.job import Job
from radfed.settings import Settings
from radfed.site.approval_facts import JobFacts
from radfed.site.approval_settings import ApprovalSettings, StandingApproval

PENDING, GRANTED, WITHDRAWN = "pending", "granted", "withdrawn"
SIGNATURE_FILES = frozenset({".__nvfl_sig.json", ".__nvfl_submitter.crt"})
"""What FLARE's console adds to each folder of a job that it submits; they differ with each submission."""

_MAX_PENDING = 100
_SHORTEST_PREFIX = 8
_DIGEST = re.compile(r"[0-9a-f]{64}")
_Record = TypeVar("_Record", bound=Settings)


class Grant(Settings):
    """A person's yes to one job: ``granted/<digest>.json``."""

    facts: JobFacts
    by: str
    time: str
    note: str = ""


class Withdrawal(Settings):
    """A grant that was taken back: ``withdrawn/<digest>.json``."""

    grant: Grant
    by: str
    time: str
    note: str = ""


class PrivacyDemandError(GateError):
    """The site demands more privacy than the job gives. The text may leave the site."""

    reason = "privacy_demanded"


@dataclass(frozen=True)
class Decision:
    """Whether a job may run.

    Attributes:
        approved: True if it may.
        by: who or what approved it; empty if nobody did.
        changed: what is no longer as it was when the job was approved, in plain words.
    """

    approved: bool
    by: str = ""
    changed: tuple[str, ...] = ()


def job_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the relative paths and contents of a job's app folder, in the order of the paths.

    FLARE's id and meta data of the job play no part, nor do the signatures that its console adds, nor how JSON is laid
    out, which its console changes: the same job, submitted again by whatever way, has the same digest.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        if name.rsplit("/", 1)[-1] not in SIGNATURE_FILES:
            content = hashlib.sha256(_one_form(name, files[name])).hexdigest()
            digest.update(f"{len(name.encode())} {name} {content}\n".encode())
    return digest.hexdigest()


def _one_form(name: str, content: bytes) -> bytes:
    if not name.endswith(".json"):
        return content
    try:
        return json.dumps(json.loads(content), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return content


def decide(approvals: "Approvals", settings: ApprovalSettings, facts: JobFacts, today: date) -> Decision:
    """Whether a job with these facts may run now."""
    if not settings.required:
        return Decision(True, "site.yaml: approval is not required")
    grant = approvals.grant_of(facts.digest)
    changed = () if grant is None else facts.changed_since(grant.facts)
    if grant is not None and not changed:
        return Decision(True, grant.by)
    for rule in settings.standing:
        if fulfils(rule, facts, today):
            return Decision(True, f"standing approval of jobs {rule.jobs!r}")
    return Decision(False, changed=changed)


def fulfils(rule: StandingApproval, facts: JobFacts, today: date) -> bool:
    """Whether a standing approval covers a job. A size that is not known fulfils no limit on it."""
    if facts.settings.purpose not in rule.purposes:
        return False
    if re.fullmatch(rule.jobs, facts.job) is None or (rule.until is not None and today > rule.until):
        return False
    if rule.networks is not None and facts.network not in rule.networks:
        return False
    if rule.max_rounds is not None and facts.rounds > rule.max_rounds:
        return False
    return rule.max_bytes is None or (facts.bytes_in_all is not None and facts.bytes_in_all <= rule.max_bytes)


def demand_privacy(settings: ApprovalSettings, job: Job) -> None:
    """Check a training against what the site demands; other jobs train nothing.

    Raises:
        PrivacyDemandError: it has no differential privacy, no budget, or too large a one.
    """
    demand, given = settings.require_privacy, job.job.training.privacy
    if demand is None or job.purpose != "training":
        return
    wanted = f"this site demands training.privacy with epsilon up to {demand.epsilon:g} at delta up to {demand.delta:g}"
    if given is None:
        raise PrivacyDemandError(f"{wanted}; the job has no training.privacy")
    if given.epsilon is None:
        raise PrivacyDemandError(f"{wanted}; the job has no epsilon, so no budget")
    if given.epsilon > demand.epsilon or given.delta > demand.delta:
        raise PrivacyDemandError(f"{wanted}; the job has {given.epsilon:g} at {given.delta:g}")


class Approvals:
    """The folder ``approvals/`` of a site: what waits for a person, what was granted, what was withdrawn."""

    def __init__(self, site_folder: Path) -> None:
        self._root = site_folder / "approvals"

    def pending(self) -> list[JobFacts]:
        """The jobs that wait for a person, the latest first."""
        return sorted(self._all(PENDING, JobFacts), key=lambda facts: facts.seen, reverse=True)

    def granted(self) -> list[Grant]:
        """All grants, the latest first."""
        return sorted(self._all(GRANTED, Grant), key=lambda grant: grant.time, reverse=True)

    def grant_of(self, digest: str) -> Grant | None:
        """The grant of a digest, whether it still holds or not; one that cannot be read counts as none."""
        return self._one(GRANTED, digest, Grant)

    def pending_of(self, digest: str) -> JobFacts | None:
        """What is known of a job that waits."""
        return self._one(PENDING, digest, JobFacts)

    def unreadable(self) -> list[str]:
        """Digests whose record another version of radfed wrote, or that was damaged; they count for nothing."""
        there = {kind: [p.stem for p in (self._root / kind).glob("*.json")] for kind in (PENDING, GRANTED)}
        broken = {name for name in there[PENDING] if self.pending_of(name) is None}
        return sorted(broken | {name for name in there[GRANTED] if self.grant_of(name) is None})

    def wait_for(self, facts: JobFacts) -> None:
        """Put a job among those that wait. Of very many, the oldest go: a flood must not fill the disk."""
        self._write(PENDING, facts.digest, facts)
        files = sorted((self._root / PENDING).glob("*.json"), key=_modified, reverse=True)
        for path in files[_MAX_PENDING:]:
            path.unlink(missing_ok=True)

    def grant(self, facts: JobFacts, by: str, note: str = "") -> Grant:
        """Approve a job on the facts shown."""
        grant = Grant(facts=facts.model_copy(update={"changed": ()}), by=by, time=timestamp(), note=note)
        self._write(GRANTED, facts.digest, grant)
        (self._root / PENDING / f"{facts.digest}.json").unlink(missing_ok=True)
        return grant

    def withdraw(self, digest: str, by: str, note: str = "") -> Withdrawal:
        """Take a grant back; its record stays. A run that has begun goes on to its end.

        Raises:
            InvalidInputError: nothing was granted under this digest.
        """
        grant = self.grant_of(digest)
        if grant is None:
            raise InvalidInputError(f"{digest[:16]}: was not granted; 'radfed site approve SITE' lists what was")
        withdrawal = Withdrawal(grant=grant, by=by, time=timestamp(), note=note)
        self._write(WITHDRAWN, digest, withdrawal)
        (self._root / GRANTED / f"{digest}.json").unlink()
        return withdrawal

    def find(self, prefix: str) -> str:
        """The one digest, pending or granted, that begins so.

        Raises:
            InvalidInputError: the prefix is too short, or fits none or several.
        """
        if len(prefix) < _SHORTEST_PREFIX:
            raise InvalidInputError(f"digest {prefix!r}: give at least its first {_SHORTEST_PREFIX} characters")
        names = {path.stem for kind in (PENDING, GRANTED) for path in (self._root / kind).glob("*.json")}
        fitting = sorted(name for name in names if _DIGEST.fullmatch(name) and name.startswith(prefix))
        if len(fitting) != 1:
            raise InvalidInputError(
                f"digest {prefix!r}: fits {len(fitting)} jobs that are pending or granted here; "
                "'radfed site approve SITE' lists them"
            )
        return fitting[0]

    def _all(self, kind: str, record: type[_Record]) -> list[_Record]:
        names = sorted(path.stem for path in (self._root / kind).glob("*.json") if _DIGEST.fullmatch(path.stem))
        found = (self._one(kind, name, record) for name in names)
        return [content for content in found if content is not None]

    def _one(self, kind: str, digest: str, record: type[_Record]) -> _Record | None:
        path = self._root / kind / f"{digest}.json"
        try:
            return record.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            # An upgrade may change what a record holds; its grant would lapse anyway, since the code has changed.
            return None

    def _write(self, kind: str, digest: str, record: Settings) -> None:
        folder = self._root / kind
        folder.mkdir(parents=True, exist_ok=True)
        put_text(folder / f"{digest}.json", record.model_dump_json(indent=2) + "\n")


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        # A person granted it in between.
        return 0.0


def read_app(folder: Path) -> dict[str, bytes]:
    """The files of an exported job's app folder, by relative path.

    Args:
        folder: what ``radfed job export`` wrote, or the app folder in it.

    Raises:
        InvalidInputError: the folder holds no app, or several.
    """
    apps = [folder] if (folder / "config").is_dir() else sorted(path.parent for path in folder.glob("*/config"))
    if len(apps) != 1:
        raise InvalidInputError(
            f"{folder}: holds {len(apps)} FLARE apps, expected one; give the folder that 'radfed job export' wrote"
        )
    [app] = apps
    return {path.relative_to(app).as_posix(): path.read_bytes() for path in sorted(app.rglob("*")) if path.is_file()}


def timestamp() -> str:
    """Now, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
