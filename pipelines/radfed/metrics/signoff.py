"""A review that was signed off: what was reviewed, with which verdicts, and the chain of what was done.

The chain holds digests only. A verdict's digest covers a random number too, so nobody can find out by trying.
"""

from typing import Annotated, Literal

from pydantic import Field

from radfed.chain import Link, Verdict, follow
from radfed.errors import GateError
from radfed.settings import Settings
from radfed.signatures import Signed

UNDONE = "what it told of was written again, or was never answered"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Deed(Settings):
    event: Literal["deed"] = "deed"
    user: str = Field(description="Name in the workbench; empty where nobody had logged in")
    role: str
    action: str
    case: str | None = Field(default=None, description="Keyed digest of the case: nobody can find it from an image")
    digest: Digest = Field(description="SHA-256 of the details, which stay in the workbench")


class AuditLine(Link, _Deed):
    """One thing that somebody did in the workbench."""


class AuditHead(Settings):
    """The end of a review's chain, as the workbench signs it."""

    kind: Literal["radfed review head"] = "radfed review head"
    review: str = Field(description="Random name of the review, so that no head stands for another's")
    index: int
    hash: Digest


class SignOff(Settings):
    """What a lead signed."""

    kind: Literal["radfed review sign-off"] = "radfed review sign-off"
    review: str
    task: str
    task_digest: Digest
    model_sha256: Digest
    weights_digest: str
    dataset_digest: Digest
    split: str
    blinded: bool
    readers: int = Field(description="Who reviewed each case, at the least")
    statement: str = Field(description="In the lead's own words")
    signed_by: str
    role: Literal["lead"] = "lead"
    time: str = Field(description="ISO 8601, UTC")
    cases: int
    verdicts: dict[str, dict[str, int]] | None = Field(
        description="Cases by subject and final verdict; null where a count would be of fewer than 3 patients"
    )
    chain_lines: int = Field(description="Lines of the chain up to and with the sign-off")
    chain_head: Digest = Field(description="Hash of the last of them")


def check_review(signed: Signed, chain: bytes) -> tuple[SignOff, Verdict[AuditLine]]:
    """Read a sign-off and follow its exported chain.

    Args:
        signed: what ``signoff.json`` holds.
        chain: content of ``review-chain.jsonl``.

    Raises:
        GateError: the signature does not fit, or the chain is not whole or not the one that was signed.
    """
    signoff = signed.read_as(SignOff)
    found = follow(chain, AuditLine, UNDONE)
    if found.problems:
        raise GateError(f"the review's chain does not hold: {found.problems[0]}")
    last = found.lines[-1] if found.lines else None
    if last is None or (len(found.lines), last.hash) != (signoff.chain_lines, signoff.chain_head):
        raise GateError("the review's chain does not end with the line that was signed")
    try:
        ends = AuditLine.model_validate_json(chain.splitlines()[-1])
    except ValueError:
        ends = None  # what a crash could have left at the end, but not of a chain that was signed
    if ends != last:
        raise GateError("text follows the line that was signed")
    if not isinstance(last, AuditLine) or (last.action, last.user) != ("signoff", signoff.signed_by):
        raise GateError("the review's chain does not end with the sign-off of the one who signed")
    return signoff, found
