"""What a release's files say, read into one object: from it the card, the bill of materials and the crate are made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from radfed.errors import GateError
from radfed.inference.operating import OPERATING, OperatingThresholds
from radfed.job import Job
from radfed.ledger import Line, SiteLine, final_of, read_ledger
from radfed.metrics.pooling import FederatedEvaluation
from radfed.metrics.signoff import SignOff
from radfed.privacy.spent import PrivacyRecord
from radfed.release.code import CodeFacts
from radfed.release.facts import TrainingFacts, training_facts
from radfed.release.layout import (
    CODE,
    ENVIRONMENT,
    FEDERATED,
    JOB,
    LEAKAGE,
    LEDGER,
    METADATA,
    METRICS,
    PARITY,
    PRIVACY,
    SIGNOFF,
    SITES,
    TASK,
)
from radfed.release.metadata import PHANTOM_DATA
from radfed.release.outcome_parity import OutcomeParityReport
from radfed.release.parity import ParityReport
from radfed.release.reading import Release
from radfed.signatures import Signed
from radfed.task import OutcomeTask, SegmentationTask

if TYPE_CHECKING:
    from radfed.privacy.leakage_report import Leakage


@dataclass(frozen=True)
class Contents:
    """A release in the words of its own files.

    Attributes:
        task: the contract.
        version: of the release.
        phantom: whether the model was trained on made-up data.
        facts: how the model was trained, by the ledger.
        parity: what the gate found, of the task's kind.
        code: what built the release.
        environment: versions by package.
        evaluation: the sites' test scores, pooled; None if they were not asked.
        operating: thresholds of an outcome task; None without.
        metrics: figures of a report; None without.
        privacy: what was spent; None without differential privacy.
        leakage: what an audit found; None without one.
        signoff: what a reviewer signed; None without.
        signed_sites: the sites whose signed statements are there.
    """

    task: SegmentationTask | OutcomeTask
    version: str
    phantom: bool
    facts: TrainingFacts
    parity: ParityReport | OutcomeParityReport
    code: CodeFacts
    environment: Mapping[str, str]
    evaluation: FederatedEvaluation | None
    operating: OperatingThresholds | None
    metrics: Mapping[str, Any] | None
    privacy: PrivacyRecord | None
    leakage: "Leakage | None"
    signoff: SignOff | None
    signed_sites: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the release."""
        return f"{self.task.name}-{self.version}"


def read_contents(release: Release) -> Contents:
    """Read a release.

    Raises:
        GateError: a file is missing or does not say what it must.
        InvalidInputError: a file cannot be read.
    """
    task = contract_of(release)
    metadata = read_json(release, METADATA)
    lines = read_ledger(release.file(LEDGER))
    final = final_of(lines)
    if final is None:
        raise GateError(f"{LEDGER} has no final line")
    kind = OutcomeParityReport if isinstance(task, OutcomeTask) else ParityReport
    return Contents(
        task=task,
        version=str(metadata["version"]),
        phantom=metadata["data_source"] == PHANTOM_DATA,
        facts=training_facts(lines, final),
        parity=kind.check(read_json(release, PARITY), PARITY),
        code=CodeFacts.check(read_json(release, CODE), CODE),
        environment=read_environment(release),
        evaluation=FederatedEvaluation.check(read_json(release, FEDERATED), FEDERATED)
        if release.has(FEDERATED)
        else None,
        operating=OperatingThresholds.check(read_json(release, OPERATING), OPERATING)
        if release.has(OPERATING)
        else None,
        metrics=_optional(release, METRICS),
        privacy=PrivacyRecord.check(read_json(release, PRIVACY), PRIVACY) if release.has(PRIVACY) else None,
        leakage=_leakage(release),
        signoff=read_signed(release, SIGNOFF).read_as(SignOff) if release.has(SIGNOFF) else None,
        signed_sites=signed_sites(release),
    )


def privacy_of(job: Job, lines: Sequence[Line]) -> PrivacyRecord | None:
    """What a training spent by its ledger; None without differential privacy."""
    return PrivacyRecord.of(job, [line for line in lines if isinstance(line, SiteLine)])


def read_json(release: Release, name: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        GateError: it is none.
    """
    try:
        content = json.loads(release.file(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GateError(f"{name} cannot be read as JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise GateError(f"{name} must hold one JSON object, got {type(content).__name__}")
    return content


def signed_sites(release: Release) -> tuple[str, ...]:
    """The names of the sites' signed statements, ``evaluation/sites/<site>.json``."""
    return tuple(PurePosixPath(name).stem for name in release.names(SITES) if name.endswith(".json"))


def _optional(release: Release, name: str) -> dict[str, Any] | None:
    return read_json(release, name) if release.has(name) else None


def read_signed(release: Release, name: str) -> Signed:
    """A signed statement, whose signature is still to be checked."""
    return Signed.check(read_json(release, name), name)


def contract_of(release: Release) -> SegmentationTask | OutcomeTask:
    """The contract in ``task.yaml``."""
    task = release.contract
    if not isinstance(task, SegmentationTask | OutcomeTask):
        raise GateError(f"{TASK}: got a task of the kind {task.kind}, which has no release")
    return task


def _leakage(release: Release) -> "Leakage | None":
    if not release.has(LEAKAGE):
        return None
    # Statistics take a second to import, and few releases have an audit.
    from radfed.privacy.leakage_report import Leakage

    return Leakage.check(read_json(release, LEAKAGE), LEAKAGE)


def job_of(release: Release) -> Job:
    """What was run, of ``training/job.json``."""
    return Job.check(read_json(release, JOB), JOB)


def read_environment(release: Release) -> dict[str, str]:
    """Versions by package, of ``training/environment.txt``.

    Raises:
        GateError: a line is no ``name==version``, or they are not sorted.
    """
    text = release.file(ENVIRONMENT).read_text(encoding="utf-8")
    lines = text.splitlines()
    pairs = [line.split("==") for line in lines]
    found = {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and all(pair)}
    if len(found) != len(lines) or lines != sorted(lines) or not lines:
        raise GateError(f"{ENVIRONMENT} must be sorted lines of name==version, each package once")
    return found
