"""The protocol of a review as PDF: what was reviewed, by whom, every verdict, and what was signed."""

import sqlite3
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from radfed import __version__
from radfed.files import put_bytes
from radfed.metrics.kappa import cohen_kappa
from radfed.metrics.operating import wilson
from radfed.metrics.signoff import SignOff
from radfed.signatures import Signed
from radfed.validation.pdf import to_pdf, why_no_pdf
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.material import Material
from radfed.validation.workbench.reviews import CaseReviews, case_reviews
from radfed.validation.workbench.words import VERDICTS, RefusedError, Subject, Verdicts

_ACCEPTED = ("accept", "minor")


def write_protocol(bench: Bench, signed: Signed, path: Path) -> None:
    """Write the protocol.

    Args:
        bench: the review.
        signed: the sign-off.
        path: the PDF to write.

    Raises:
        RefusedError: 409 WeasyPrint or what it needs is not installed.
    """
    why = why_no_pdf()
    if why:
        raise RefusedError(409, f"there is no PDF: {why}")
    put_bytes(path, to_pdf(protocol_html(bench, signed)))


def protocol_html(bench: Bench, signed: Signed) -> str:
    """The protocol as HTML that refers to nothing outside itself."""
    signoff = signed.read_as(SignOff)
    with bench.bundle.store.read() as db:
        rows = db.execute("SELECT id, number, name, material FROM cases ORDER BY number").fetchall()
        said = case_reviews(db, bench.bundle.reviewed.readers)
    subjects = bench.bundle.reviewed.subjects
    finals = [said[row["id"]].final or {} for row in rows]
    environment = Environment(
        loader=PackageLoader("radfed.validation.workbench"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("protocol.html.j2").render(
        signoff=signoff,
        signed=signed,
        task=bench.task,
        site=bench.site,
        version=__version__,
        subjects=subjects,
        verdicts=VERDICTS,
        accepted=_ACCEPTED,
        rates=[_rates(subject, finals) for subject in subjects],
        agreement=[row for subject in subjects for row in _agreement(subject, list(said.values()))],
        cases=[_case(row, said[row["id"]]) for row in rows],
    )


def _rates(subject: Subject, finals: Sequence[Verdicts]) -> dict[str, Any]:
    """How many cases got which final verdict, and the share that was accepted with its 95% interval."""
    given = [verdicts[subject] for verdicts in finals if subject in verdicts]
    accepted = sum(verdict in _ACCEPTED for verdict in given)
    return {
        "subject": subject,
        "counts": {verdict: given.count(verdict) for verdict in VERDICTS},
        "cases": len(given),
        "accepted": accepted,
        "interval": wilson(accepted, len(given)),
    }


def _agreement(subject: Subject, cases: Sequence[CaseReviews]) -> list[dict[str, Any]]:
    """Cohen's kappa of each pair of readers over the cases that both have reviewed."""
    readers = sorted({review.user for one in cases for review in one.reviews})
    found = []
    for first, second in combinations(readers, 2):
        pairs = [(a, b) for one in cases if (a := one.of(first)) and (b := one.of(second))]
        ones, others = ([pair[side].verdicts[subject] for pair in pairs] for side in (0, 1))
        if pairs:
            equal = sum(a == b for a, b in zip(ones, others, strict=True))
            row = {"subject": subject, "readers": f"{first} and {second}", "n": len(pairs), "equal": equal}
            found.append({**row, "kappa": cohen_kappa(ones, others)})
    return found


def _case(row: sqlite3.Row, reviews: CaseReviews) -> dict[str, Any]:
    return {
        "number": row["number"],
        "name": row["name"],
        "dice": Material.model_validate_json(row["material"]).dice,
        "state": reviews.state,
        "final": reviews.final or {},
        "reviews": reviews.reviews,
        "adjudication": reviews.adjudication if reviews.state == "adjudicated" else None,
    }
