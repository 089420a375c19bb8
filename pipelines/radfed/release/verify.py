"""Verification: what a release says of itself, checked offline, claim by claim."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from radfed.errors import GateError, InvalidInputError
from radfed.inference.checksums import SUMS, file_digest, read_sums
from radfed.inference.model import OnnxModel
from radfed.inference.opened import MODEL
from radfed.release.claims import (
    NotVerifiableError,
    check_conformance_logits,
    check_conformance_masks,
    check_contract,
    check_evaluation,
    check_ledger,
    check_metadata,
    check_parity_report,
    check_rebuild,
    check_weights,
    contract_of,
)
from radfed.release.onnx_audit import check_self_contained
from radfed.release.outcome_claims import (
    check_outcome_answers,
    check_outcome_logits,
    check_outcome_parity_report,
    check_outcome_rebuild,
)
from radfed.release.package import CARD, CONFORMANCE, METADATA, PARITY, TASK, TRAINING, WEIGHTS
from radfed.release.seal import release_files
from radfed.settings import Settings
from radfed.task import OutcomeTask

Verdict = Literal["PASS", "FAIL", "NOT VERIFIABLE"]
REQUIRED = (
    CARD,
    MODEL,
    WEIGHTS,
    TASK,
    METADATA,
    PARITY,
    f"{TRAINING}/job.json",
    f"{TRAINING}/ledger.jsonl",
    f"{TRAINING}/history.json",
    f"{TRAINING}/environment.txt",
    f"{CONFORMANCE}/logits.safetensors",
)


class Claim(Settings):
    """One thing that the release says, and what came of checking it."""

    name: str
    says: str
    verdict: Verdict
    reason: str


class VerifyReport(Settings):
    """All claims of a release."""

    release: str
    claims: tuple[Claim, ...]

    @property
    def ok(self) -> bool:
        """True unless a claim failed."""
        return all(claim.verdict != "FAIL" for claim in self.claims)


class OpenRelease:
    """A release being checked; hands out plain files only, and the model only if it stands alone."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, name: str) -> Path:
        """A file of the release.

        Raises:
            GateError: it is missing, or a link stands on the way to it.
        """
        path = self.root / name
        for step in (path, *path.parents):
            if step == self.root:
                break
            if step.is_symlink():
                raise GateError(f"{name} is, or lies behind, a symbolic link")
        if not path.is_file():
            raise GateError(f"{name} is missing")
        return path

    def has(self, name: str) -> bool:
        """Whether the release holds such a file."""
        return (self.root / name).exists()

    @cached_property
    def model(self) -> OnnxModel:
        """The model, never opened before it is known to point nowhere."""
        path = self.file(MODEL)
        check_self_contained(path)
        return OnnxModel.load(path)


def verify(release: Path) -> VerifyReport:
    """Check a release without network; a broken or changed release gives FAIL, never an exception.

    Args:
        release: its folder.

    Raises:
        InvalidInputError: there is no such folder.
    """
    if not release.is_dir():
        raise InvalidInputError(f"{release}: is no folder; give a release that 'radfed release build' wrote")
    opened = OpenRelease(release)
    claims = tuple(_judge(name, says, partial(check, opened)) for name, says, check in _checks(opened))
    return VerifyReport(release=release.resolve().name, claims=claims)


Check = Callable[[OpenRelease], str]


def _checks(release: OpenRelease) -> tuple[tuple[str, str, Check], ...]:
    """Name, what it says, and how it is checked, of each claim."""
    parity: Check = check_parity_report
    logits: Check = check_conformance_logits
    rebuild: Check = check_rebuild
    cases: tuple[str, str, Check] = (
        "conformance_masks",
        "the model gives the expected masks here",
        check_conformance_masks,
    )
    if _answers(release):
        parity, logits, rebuild = check_outcome_parity_report, check_outcome_logits, check_outcome_rebuild
        cases = ("conformance_answers", "the model gives the expected answers here", check_outcome_answers)
    return (
        ("plain", "it holds plain files only, no links", _check_plain),
        ("complete", "every file it needs is there and listed", _check_complete),
        ("digests", f"every file has the digest in {SUMS}, and none is extra", _check_digests),
        ("self_contained", "model.onnx needs no other file and names no machine", _check_self_contained),
        ("contract", "task.yaml, the job and model.onnx carry one contract", check_contract),
        ("metadata", "metadata.json describes the contract", check_metadata),
        ("ledger", "the outcome follows from the ledger's lines", check_ledger),
        ("weights", "model.safetensors is the ledger's model and model.onnx's", check_weights),
        ("parity", "evaluation/parity.json is of this model and within tolerance", parity),
        ("evaluation", "the sites' test scores, if there are any, are of this model", check_evaluation),
        ("conformance_logits", "the model gives the expected logits here", logits),
        cases,
        ("rebuild", "the network rebuilt from task.yaml and model.safetensors equals model.onnx", rebuild),
    )


def _answers(release: OpenRelease) -> bool:
    """Whether its task has one answer a case; a release without a readable task fails its claims as one with masks."""
    try:
        return isinstance(contract_of(release), OutcomeTask)
    except Exception:
        # Deliberately everything, as in _judge: the claim about the contract says what is wrong with it.
        return False


def _judge(name: str, says: str, check: Callable[[], str]) -> Claim:
    try:
        return Claim(name=name, says=says, verdict="PASS", reason=check())
    except NotVerifiableError as error:
        return Claim(name=name, says=says, verdict="NOT VERIFIABLE", reason=str(error))
    except GateError as error:
        return Claim(name=name, says=says, verdict="FAIL", reason=str(error))
    except Exception as error:
        # Deliberately everything: a tampered file may make any library raise anything, and that is a failed claim.
        return Claim(name=name, says=says, verdict="FAIL", reason=f"{type(error).__name__}: {str(error)[:300]}")


def _check_plain(release: OpenRelease) -> str:
    odd = [n for n, path in release_files(release.root).items() if path.is_symlink() or not path.is_file()]
    if (release.root / SUMS).is_symlink():
        odd.append(SUMS)
    if odd:
        raise GateError(f"not plain files: {_some(odd)}")
    return "no links"


def _check_complete(release: OpenRelease) -> str:
    listed = read_sums(release.root)
    missing = [name for name in REQUIRED if name not in listed or not (release.root / name).is_file()]
    if missing:
        raise GateError(f"missing, or not listed: {_some(missing)}")
    return f"{len(REQUIRED)} needed files"


def _check_digests(release: OpenRelease) -> str:
    listed, there = read_sums(release.root), release_files(release.root)
    for problem, names in (
        ("listed, but missing", sorted(listed.keys() - there.keys())),
        (f"there, but not in {SUMS}", sorted(there.keys() - listed.keys())),
    ):
        if names:
            raise GateError(f"{problem}: {_some(names)}")
    changed = [name for name in there if file_digest(release.file(name)) != listed[name]]
    if changed:
        raise GateError(f"changed since it was sealed: {_some(changed)}")
    return f"{len(listed)} files"


def _check_self_contained(release: OpenRelease) -> str:
    check_self_contained(release.file(MODEL))
    return "standard operators, weights inside"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
