"""Sign-off: when it may be given, and the document that it makes."""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence

import numpy as np

from radfed.chain import Verdict
from radfed.errors import GateError
from radfed.files import put_text
from radfed.metrics.signoff import AuditLine, SignOff, check_review
from radfed.metrics.small_cells import numbered, tellable
from radfed.signatures import Signed, public_pem
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.journal import Deed
from radfed.validation.workbench.material import changed_files
from radfed.validation.workbench.reviews import State, case_reviews, counted, is_signed
from radfed.validation.workbench.words import VERDICTS, RefusedError, Role


def progress(bench: Bench, role: Role) -> dict[str, object]:
    """How far the review has come, and whether it can be signed off; a blinded reader learns who has read, no more."""
    with bench.bundle.store.read() as db:
        found, signed = tuple(case_reviews(db, bench.bundle.reviewed.readers).values()), is_signed(db)
    if role == "reader" and bench.bundle.reviewed.blinded and not signed:
        told = Counter(reviews.told for reviews in found)
        return {"cases": len(found), **{state: told[state] for state in ("open", "one", "read")}, "signed": False}
    states = [reviews.state for reviews in found]
    why_not = _why_not(signed, states)
    return {
        "cases": len(states), **counted(states), "signed": signed, "signable": why_not is None, "why_not": why_not,
    }  # fmt: skip


def check_unchanged(bench: Bench) -> Verdict[AuditLine]:
    """Check model, dataset, predictions and chain; gives the chain.

    Raises:
        RefusedError: 409 one of them is not as it was.
    """
    found, chain_problems = bench.journal.check()
    problems = [*changed_files(bench.bundle), *chain_problems]
    if problems:
        raise RefusedError(409, "this cannot be signed or exported: " + "; ".join(problems[:5]))
    return found


def sign_off(bench: Bench, user: str, statement: str) -> None:
    """Sign the review off.

    Raises:
        RefusedError: 409 it is not complete, is signed off already, or something was changed.
    """
    check_unchanged(bench)
    with bench.bundle.store.read() as db:
        details = {"statement": statement, **_counts(bench, db), "until": _last_review(db)}

    def still_so(db: sqlite3.Connection) -> None:
        found = case_reviews(db, bench.bundle.reviewed.readers).values()
        why_not = _why_not(is_signed(db), [reviews.state for reviews in found])
        if why_not is not None:
            raise RefusedError(409, why_not)
        if _last_review(db) != details["until"]:
            raise RefusedError(409, "a verdict came in at this moment; look at the progress and sign again")

    bench.journal.record(Deed(user, "lead", "signoff", details), still_so)


def signed_document(bench: Bench) -> tuple[Signed, bytes]:
    """The signed statement and the chain up to it; both are made once, and checked whenever they are given.

    Raises:
        RefusedError: 409 there is no sign-off yet, or something was changed.
    """
    with bench.bundle.store.read() as db:
        if not is_signed(db):
            raise RefusedError(409, "the review is not signed off yet")
    found = check_unchanged(bench)
    with bench.exporting:
        path = bench.bundle.folder.exports / "signoff.json"
        if not path.exists():
            path.parent.mkdir(exist_ok=True, mode=0o700)
            signed = Signed.make(_statement(bench, found), bench.journal.key)
            put_text(path, signed.model_dump_json(indent=1) + "\n", durable=True)
    try:
        signed = Signed.model_validate_json(path.read_text(encoding="utf-8"))
        content = signed.read_as(SignOff)
        chain = _until(bench.bundle.folder.audit.read_bytes(), content.chain_head)
        check_review(signed, chain)
    except (ValueError, GateError) as error:
        raise RefusedError(409, "the signed document was changed; ask who runs the workbench") from error
    if signed.public_key != public_pem(bench.journal.key) or content != _statement(bench, found):
        raise RefusedError(409, "the signed document was changed; ask who runs the workbench")
    return signed, chain


def _statement(bench: Bench, found: Verdict[AuditLine]) -> SignOff:
    """What was signed, from the event and its line; after a kill it comes out the same."""
    with bench.bundle.store.read() as db:
        event = db.execute("SELECT * FROM events WHERE action = 'signoff'").fetchone()
    line, details, reviewed = found.lines[event["line"]], json.loads(event["details"]), bench.bundle.reviewed
    return SignOff(
        review=bench.journal.review,
        task=reviewed.task,
        task_digest=reviewed.task_digest,
        model_sha256=reviewed.model_sha256,
        weights_digest=reviewed.weights_digest,
        dataset_digest=reviewed.dataset_digest,
        split=reviewed.split,
        blinded=reviewed.blinded,
        readers=reviewed.readers,
        statement=details["statement"],
        signed_by=event["user"],
        time=event["time"],
        cases=details["cases"],
        verdicts=details["verdicts"],
        chain_lines=line.index + 1,
        chain_head=line.hash,
    )


def _until(content: bytes, head: str) -> bytes:
    """The chain up to the line with that hash, as it stands in the file."""
    lines = content.splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if line.rstrip().endswith(f'"hash":"{head}"}}'.encode())]
    return b"".join(lines[: ends[0] + 1]) if ends else b""


def _why_not(signed: bool, states: Sequence[State]) -> str | None:
    """Why the review cannot be signed off, by the verdicts alone."""
    if signed:
        return "the review is signed off already"
    counts = counted(states)
    waiting = counts["open"] + counts["one"]
    if waiting:
        return f"{waiting} of {len(states)} case(s) wait for a reader"
    return f"{counts['disagreed']} case(s) wait for the lead's word" if counts["disagreed"] else None


def _last_review(db: sqlite3.Connection) -> int:
    last = db.execute("SELECT max(id) FROM events WHERE action IN ('review', 'adjudicate')").fetchone()[0]
    return int(last or 0)


def _counts(bench: Bench, db: sqlite3.Connection) -> dict[str, object]:
    """Cases, and how many have which final verdict: a table that is told whole or not at all."""
    patients = {row["id"]: row["patient"] for row in db.execute("SELECT id, patient FROM cases")}
    said = case_reviews(db, bench.bundle.reviewed.readers)
    finals = [reviews.final or {} for reviews in said.values()]
    cells = {
        subject: {verdict: np.array([final.get(subject) == verdict for final in finals], bool) for verdict in VERDICTS}
        for subject in bench.bundle.reviewed.subjects
    }
    whose = numbered(patients[case_id] for case_id in said)
    told = tellable((cell for row in cells.values() for cell in row.values()), whose)
    counts = {subject: {verdict: int(cell.sum()) for verdict, cell in row.items()} for subject, row in cells.items()}
    return {"cases": len(finals), "verdicts": counts if told else None}
