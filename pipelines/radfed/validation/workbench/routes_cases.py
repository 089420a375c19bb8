"""The cases: list, one case, its layers, and what people say of it."""

import sqlite3
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import Field

from radfed.inference.checksums import file_digest
from radfed.settings import Settings
from radfed.validation.workbench import blinding
from radfed.validation.workbench.access import Anybody, Lead, Reader, Served
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.journal import Deed
from radfed.validation.workbench.material import LAYERS, Material, layer_file
from radfed.validation.workbench.reviews import CaseReviews, Review, case_reviews, is_signed
from radfed.validation.workbench.sessions import Session
from radfed.validation.workbench.words import RefusedError, Subject, VerdictName, Verdicts

router = APIRouter()


class Said(Settings):
    """A verdict on each subject of a case."""

    verdicts: dict[str, VerdictName]
    comment: Annotated[str, Field(max_length=4000)] = ""


class Reviewing(Said):
    """The same, of a reader."""

    seconds: Annotated[float, Field(ge=0, le=86400)] = Field(description="Spent on the case")


@router.get("/cases")
def cases(session: Anybody, bench: Served) -> list[dict[str, Any]]:
    """Every case, in the order in which it should be looked at."""
    with bench.bundle.store.read() as db:
        blinded, readers = _blinded(bench, db), bench.bundle.reviewed.readers
        rows = db.execute("SELECT id, number, material FROM cases ORDER BY number").fetchall()
        said = case_reviews(db, readers)
    found = []
    for row in rows:
        reviews = said[row["id"]]
        mine = reviews.of(session.user)
        names = _names(bench, session, row["id"], blinded)
        found.append(
            {
                "id": row["id"],
                "number": row["number"],
                "state": reviews.told if blinded and session.role == "reader" else reviews.state,
                "mine": blinding.seen(mine.verdicts, names) if mine else None,
                "dice": None if blinded else Material.model_validate_json(row["material"]).dice,
                "todo": _todo(session, reviews),
            }
        )
    return found


@router.get("/cases/{case_id}")
def case(case_id: str, session: Anybody, bench: Served) -> dict[str, Any]:
    """One case as somebody may see it."""
    with bench.bundle.store.read() as db:
        row, blinded = _row(db, case_id), _blinded(bench, db)
        reviews = case_reviews(db, bench.bundle.reviewed.readers, row["id"])[row["id"]]
    names = _names(bench, session, row["id"], blinded)
    labels = Material.model_validate_json(row["material"]).labels
    shown = session.role == "lead" or (reviews.of(session.user) is not None and not blinded)
    volumes = {one.label: {"prediction": one.prediction_ml, "reference": one.reference_ml} for one in labels}
    return {
        "id": row["id"],
        "number": row["number"],
        "subjects": list(names),
        "layers": ["image", *names] if blinded else list(LAYERS),
        "volumes_ml": None if blinded else volumes,
        "metrics": None if blinded else {o.label: {"dice": o.dice, "hd95": o.hd95, "nsd": o.nsd} for o in labels},
        # One's own always: who revises a reading must find the comment that stands.
        "reviews": [_as_seen(one, names) for one in reviews.reviews if shown or one.user == session.user],
    }


@router.get("/cases/{case_id}/layers/{layer}.nii.gz")
def layer(case_id: str, layer: str, session: Anybody, bench: Served) -> FileResponse:
    """A layer as NIfTI. Neither name becomes a path: one is looked up, the other is one of a few."""
    with bench.bundle.store.read() as db:
        row, blinded = _row(db, case_id), _blinded(bench, db)
    material = Material.model_validate_json(row["material"])
    names = _names(bench, session, row["id"], blinded)
    known: dict[str, str] = {"image": "image", **names} if blinded else {name: name for name in LAYERS}
    if layer not in known:
        raise RefusedError(404, f"there is no such layer; there are: {', '.join(known)}")
    if known[layer] == "image":
        image = next(name for name in material.sources if name.startswith("images/"))
        path, digest = bench.bundle.dataset / image, material.sources[image]
    else:
        path = layer_file(bench.bundle.folder, row["code"], known[layer])
        digest = material.layers[known[layer]]
    if not path.is_file() or file_digest(path) != digest:
        raise RefusedError(409, "the file is not the one that is reviewed; tell who runs the workbench")
    # The file's own time would tell a blinded reader which mask was written first, and so which is the model's.
    headers = {"ETag": f'"{digest}"', "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}
    return FileResponse(path, media_type="application/gzip", headers=headers)


@router.post("/cases/{case_id}/review", status_code=201)
def review(case_id: str, body: Reviewing, session: Reader, bench: Served) -> dict[str, bool]:
    """A reader's verdicts; later ones replace them. The same again, after a broken line, changes nothing."""
    with bench.bundle.store.read() as db:
        row, blinded = _row(db, case_id), _blinded(bench, db)
        mine = case_reviews(db, bench.bundle.reviewed.readers, row["id"])[row["id"]].of(session.user)
    verdicts = _meant(body.verdicts, _names(bench, session, row["id"], blinded))
    if mine is None or (mine.verdicts, mine.comment, mine.seconds) != (verdicts, body.comment, body.seconds):
        details = {"verdicts": verdicts, "comment": body.comment, "seconds": body.seconds}
        bench.journal.record(Deed(session.user, session.role, "review", details, row["id"]), _not_signed)
    return {"stands": True}


@router.post("/cases/{case_id}/adjudicate", status_code=201)
def adjudicate(case_id: str, body: Said, session: Lead, bench: Served) -> dict[str, bool]:
    """The lead's word where readers disagree."""
    with bench.bundle.store.read() as db:
        row, blinded = _row(db, case_id), _blinded(bench, db)
    verdicts = _meant(body.verdicts, _names(bench, session, row["id"], blinded))

    def still_disagreed(db: sqlite3.Connection) -> None:
        _not_signed(db)
        state = case_reviews(db, bench.bundle.reviewed.readers, row["id"])[row["id"]].state
        if state not in ("disagreed", "adjudicated"):
            raise RefusedError(409, f"there is nothing to adjudicate: the case is {state}")

    details = {"verdicts": verdicts, "comment": body.comment, "seconds": 0.0}
    bench.journal.record(Deed(session.user, session.role, "adjudicate", details, row["id"]), still_disagreed)
    return {"stands": True}


def _blinded(bench: Bench, db: sqlite3.Connection) -> bool:
    """Whether people must not know yet which is which."""
    return bench.bundle.reviewed.blinded and not is_signed(db)


def _not_signed(db: sqlite3.Connection) -> None:
    if is_signed(db):
        raise RefusedError(409, "the review is signed off; nothing can be changed any more")


def _row(db: sqlite3.Connection, case_id: str) -> sqlite3.Row:
    row = db.execute("SELECT * FROM cases WHERE id = ?", (case_id,)).fetchone()
    if not isinstance(row, sqlite3.Row):
        raise RefusedError(404, "there is no such case")
    return row


def _names(bench: Bench, session: Session, case_id: str, blinded: bool) -> dict[str, Subject]:
    """What is judged, by the name under which somebody sees it."""
    if blinded:
        return blinding.order(bench.salt, bench.bundle.reviewed.seed, case_id, session.user)
    return {subject: subject for subject in bench.bundle.reviewed.subjects}


def _meant(verdicts: Mapping[str, VerdictName], names: Mapping[str, Subject]) -> Verdicts:
    if set(verdicts) != set(names):
        raise RefusedError(400, f"verdicts must be there for exactly: {', '.join(names)}")
    return blinding.meant(verdicts, names)


def _todo(session: Session, reviews: CaseReviews) -> str | None:
    if session.role == "reader" and reviews.of(session.user) is None and len(reviews.reviews) < reviews.readers:
        return "review"
    return "adjudicate" if session.role == "lead" and reviews.state == "disagreed" else None


def _as_seen(review: Review, names: Mapping[str, Subject]) -> dict[str, Any]:
    return {
        "reader": review.user,
        "verdicts": blinding.seen(review.verdicts, names),
        "comment": review.comment,
        "seconds": review.seconds,
    }
