"""Verification: what a release says of itself, checked offline, claim by claim."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from radfed.errors import GateError, InvalidInputError
from radfed.inference.checksums import SUMS, file_digest, read_sums
from radfed.inference.opened import MODEL
from radfed.release.additions import check_leakage, check_privacy, check_signoff, check_site_metrics, read_root
from radfed.release.claims import (
    check_conformance_logits,
    check_conformance_masks,
    check_contract,
    check_evaluation,
    check_ledger,
    check_metadata,
    check_parity_report,
    check_rebuild,
    check_weights,
)
from radfed.release.contents import contract_of
from radfed.release.descriptions import (
    check_bill,
    check_bundle,
    check_card,
    check_code,
    check_crate,
    check_history,
)
from radfed.release.layout import (
    BUNDLE_METADATA,
    CARD,
    CODE,
    CONFORMANCE,
    CRATE,
    ENVIRONMENT,
    HISTORY,
    INFERENCE,
    JOB,
    LEDGER,
    METADATA,
    PARITY,
    SBOM,
    SIGNATURE,
    TASK,
    WEIGHTS,
)
from radfed.release.limits import NOT_PROVABLE
from radfed.release.onnx_audit import check_self_contained
from radfed.release.outcome_claims import (
    check_outcome_answers,
    check_outcome_logits,
    check_outcome_parity_report,
    check_outcome_rebuild,
)
from radfed.release.reading import NotVerifiableError, OpenRelease
from radfed.release.seal import release_files, sealed_files
from radfed.release.signing import check_covers, check_signature, read_public
from radfed.settings import Settings
from radfed.task import OutcomeTask

Verdict = Literal["PASS", "FAIL", "NOT VERIFIABLE"]
REQUIRED = (
    CARD,
    MODEL,
    WEIGHTS,
    TASK,
    METADATA,
    BUNDLE_METADATA,
    INFERENCE,
    SBOM,
    CRATE,
    PARITY,
    JOB,
    LEDGER,
    HISTORY,
    ENVIRONMENT,
    CODE,
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
    not_provable: tuple[str, ...] = Field(default=NOT_PROVABLE, description="What no release can prove")

    @property
    def false(self) -> tuple[Claim, ...]:
        """The claims that failed."""
        return tuple(claim for claim in self.claims if claim.verdict == "FAIL")

    @property
    def ok(self) -> bool:
        """True unless a claim failed."""
        return not self.false


def verify(release: Path, public_key: Path | None = None, root: Path | None = None) -> VerifyReport:
    """Check a release without network; a broken or changed release gives FAIL, never an exception.

    Args:
        release: its folder.
        public_key: of who must have signed it; None asks only what the signature says of itself.
        root: the federation's root certificate in PEM, under which the sites must have signed; None takes the one in
            the release at its word.

    Raises:
        InvalidInputError: there is no such folder, or a key or certificate cannot be read.
    """
    if not release.is_dir():
        raise InvalidInputError(f"{release}: is no folder; give a release that 'radfed release build' wrote")
    if public_key is not None:
        read_public(public_key)
    certificate = None if root is None else read_root(root)
    opened = OpenRelease(release)
    checks = _checks(opened, public_key, certificate)
    claims = tuple(_judge(name, says, partial(check, opened)) for name, says, check in checks)
    return VerifyReport(release=release.resolve().name, claims=claims)


Check = Callable[[OpenRelease], str]


def _checks(release: OpenRelease, public_key: Path | None, root: bytes | None) -> tuple[tuple[str, str, Check], ...]:
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
    signature: Check = partial(_check_signature, public_key=public_key)
    sites: Check = partial(check_site_metrics, root=root)
    return (
        ("signature", "its builder signed every file of it", signature),
        ("plain", "it holds plain files only, no links", _check_plain),
        ("complete", "every file it needs is there and listed", _check_complete),
        ("digests", f"every file has the digest in {SUMS}, and none is extra", _check_digests),
        ("self_contained", "model.onnx needs no other file and names no machine", _check_self_contained),
        ("contract", "task.yaml, the job and model.onnx carry one contract", check_contract),
        ("metadata", "metadata.json describes the contract", check_metadata),
        ("bundle", "MONAI's configuration follows from the contract", check_bundle),
        ("ledger", "the outcome follows from the ledger's lines", check_ledger),
        ("history", "training/history.json follows from the ledger", check_history),
        ("code", "code and packages that built it are named alike everywhere", check_code),
        ("sbom", "the bill of materials follows from the other files", check_bill),
        ("ro_crate", "the crate follows from the other files", check_crate),
        ("card", "the model card follows from the other files", check_card),
        ("weights", "model.safetensors is the ledger's model and model.onnx's", check_weights),
        ("parity", "evaluation/parity.json is of this model and within tolerance", parity),
        ("evaluation", "test scores and reports, if there are any, are of this model and may travel", check_evaluation),
        ("site_metrics", "the pooled test scores follow from what the sites signed", sites),
        ("privacy", "the privacy spent is what the ledger shows", check_privacy),
        ("leakage", "the leakage audit is of this model, its verdict follows from its numbers", check_leakage),
        ("signoff", "a reader signed it off, at the end of a whole chain", check_signoff),
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


def _check_signature(release: OpenRelease, public_key: Path | None) -> str:
    if not release.has(SIGNATURE):
        if public_key is not None:
            raise GateError(f"it is not signed: there is no {SIGNATURE}")
        raise NotVerifiableError("it is not signed")
    if public_key is None:
        hint = check_covers(release.root, release.file(SIGNATURE))
        raise NotVerifiableError(
            f"{SIGNATURE} lists these very files and names the key {hint[:16]}; whose that is, and whether it made the "
            "signature, --public-key can tell"
        )
    check_signature(release.root, release.file(SIGNATURE), public_key)
    return f"made by {public_key.name} over {len(release.names()) - 1} files and {SUMS}"


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
    listed, there = read_sums(release.root), sealed_files(release.root)
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
