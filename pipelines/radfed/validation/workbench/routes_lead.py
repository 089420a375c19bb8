"""Progress, sign-off, the audit chain and what is exported."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from pydantic import Field, StringConstraints

from radfed.metrics.signoff import AuditLine
from radfed.settings import Settings
from radfed.validation.workbench import signing
from radfed.validation.workbench.access import Anybody, Lead, Overseer, Served, address_of
from radfed.validation.workbench.exports import protocol_file, results_file
from radfed.validation.workbench.journal import Deed
from radfed.validation.workbench.users import LONGEST_PASSWORD, authenticate

router = APIRouter()


class Signing(Settings):
    """What a lead signs, with the password once more."""

    statement: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
    password: Annotated[str, Field(max_length=LONGEST_PASSWORD)]


@router.get("/progress")
def progress(session: Anybody, bench: Served) -> dict[str, Any]:
    """How far the review has come."""
    return signing.progress(bench, session.role)


@router.post("/signoff", status_code=201)
def signoff(body: Signing, request: Request, session: Lead, bench: Served) -> dict[str, bool]:
    """Sign the review off."""
    authenticate(bench.journal, session.user, body.password, address_of(request), bench.clock())
    signing.sign_off(bench, session.user, body.statement)
    signing.signed_document(bench)
    return {"signed": True}


@router.get("/audit")
def audit(session: Overseer, bench: Served) -> dict[str, Any]:
    """The audit chain, checked whole."""
    found, problems = bench.journal.check()
    lines = [
        {key: getattr(line, key) for key in ("index", "time", "user", "action", "case", "digest", "hash")}
        for line in found.lines
        if isinstance(line, AuditLine)
    ]
    head = found.lines[-1].hash if found.lines else None
    return {"ok": not problems, "problems": [*problems], "notes": [*found.notes], "lines": lines, "head": head}


@router.get("/export/signoff.json")
def export_signoff(session: Lead, bench: Served) -> Response:
    """The signed statement."""
    signed, _ = signing.signed_document(bench)
    _note(bench, session.user, "signoff.json")
    return _download(signed.model_dump_json(indent=1) + "\n", "application/json", "signoff.json")


@router.get("/export/review-chain.jsonl")
def export_chain(session: Lead, bench: Served) -> Response:
    """The chain up to the sign-off."""
    _, chain = signing.signed_document(bench)
    _note(bench, session.user, "review-chain.jsonl")
    return _download(chain.decode(), "application/jsonl", "review-chain.jsonl")


@router.get("/export/report.pdf")
def export_report(session: Lead, bench: Served) -> FileResponse:
    """The protocol of the review; it stays at the site."""
    signed, _ = signing.signed_document(bench)
    path = protocol_file(bench, signed)
    _note(bench, session.user, "report.pdf")
    return FileResponse(path, media_type="application/pdf", filename="report.pdf")


@router.get("/export/results.zip")
def export_results(session: Lead, bench: Served) -> FileResponse:
    """SEG and SR of the cases whose DICOM files are known; they are of patients and stay at the site."""
    signed, _ = signing.signed_document(bench)
    path = results_file(bench, signed)
    _note(bench, session.user, "results.zip")
    return FileResponse(path, media_type="application/zip", filename="results.zip")


def _note(bench: Served, user: str, name: str) -> None:
    bench.journal.record(Deed(user, "lead", "export", {"file": name}))


def _download(text: str, kind: str, name: str) -> Response:
    return Response(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
