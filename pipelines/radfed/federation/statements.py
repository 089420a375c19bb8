"""Signed statements on their way: made at a site, seen by its egress log, judged by the server."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from radfed.errors import GateError
from radfed.federation.messages import SIGNED
from radfed.metrics.signed import KIT_ROOT, Purpose, SiteStatement, checked_statement, sign_with_kit, today
from radfed.signatures import Signed
from radfed.task import TaskSpec

_LARGEST = 4_000_000


@dataclass(frozen=True)
class Expected:
    """What a site's statement must say.

    Attributes:
        root: the federation's root certificate; None in a simulation, whose sites have no keys.
        purpose: what was asked for.
        task: the contract.
        model: SHA-256 of the weights that were asked about.
        split: of which cases.
    """

    root: bytes | None
    purpose: Purpose
    task: TaskSpec
    model: str
    split: str

    def check(self, site: str, text: object, report: dict[str, object]) -> Signed | None:
        """The signed statement that came beside a report; None in a simulation.

        Args:
            site: who sent it, as FLARE knows it.
            text: what came.
            report: the numbers that came.

        Raises:
            GateError: it is missing, is not signed by that site, or says something else than the report.
        """
        if self.root is None:
            return None
        signed = _read(text)
        statement = checked_statement(signed, site, self.root)
        about = (statement.purpose, statement.task_digest, statement.model, statement.split)
        if about != (self.purpose, self.task.digest, self.model, self.split) or statement.task != self.task.name:
            raise GateError(f"{site}: the signed statement is about something else than was asked")
        if statement.report != report:
            raise GateError(f"{site}: the signed statement does not say what the report says")
        return signed


def server_root(kit: Path) -> bytes | None:
    """The root certificate in the server's kit; None in a simulation."""
    path = kit / KIT_ROOT
    return path.read_bytes() if path.is_file() else None


def signed_beside(
    report: dict[str, object], purpose: Purpose, site: str, task: TaskSpec, model: str, split: str, kit: Path
) -> dict[str, object]:
    """What goes beside a report: the site's signed statement of it; nothing in a simulation.

    Args:
        report: the numbers, as JSON knows them.
        purpose: what they are.
        site: the site's name.
        task: the contract.
        model: SHA-256 of the weights that they are about.
        split: of which cases.
        kit: the site's startup kit.

    Raises:
        InvalidInputError: the kit's key or certificate cannot be read.
    """
    statement = SiteStatement(
        purpose=purpose, site=site, task=task.name, task_digest=task.digest, model=model, split=split, made=today(),
        report=report,
    )  # fmt: skip
    signed = sign_with_kit(statement, kit)
    return {} if signed is None else {SIGNED: signed.model_dump_json()}


def told(text: str) -> tuple[dict[str, object], dict[str, object]]:
    """What a signed statement is about, with the digest of all that is sent, and its report; for the egress log.

    Raises:
        GateError: the text is no signed statement, so it must not leave.
    """
    signed = _read(text)
    statement = signed.read_as(SiteStatement)
    # The digest pins every byte that leaves: the key, the certificate and the statement's own spelling too.
    sent = {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    return statement.model_dump(mode="json", exclude={"report"}) | sent, statement.report


def _read(text: object) -> Signed:
    if not isinstance(text, str) or len(text) > _LARGEST:
        raise GateError("there is no signed statement")
    try:
        return Signed.model_validate_json(text)
    except ValidationError as error:
        raise GateError("what came as a signed statement is none") from error
