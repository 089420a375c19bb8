"""What readers and lead said of each case, and how far a case has come."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from radfed.validation.workbench.words import Verdicts

State = Literal["open", "one", "agreed", "disagreed", "adjudicated"]
STATES: tuple[State, ...] = ("open", "one", "agreed", "disagreed", "adjudicated")
_READ = ("agreed", "disagreed", "adjudicated")


@dataclass(frozen=True)
class Review:
    """One person's present verdict on a case.

    Attributes:
        event: its number; a later one is larger.
        user: who.
        verdicts: by subject, which the reader did not know where the review was blinded.
        comment: for the others.
        seconds: spent on it.
    """

    event: int
    user: str
    verdicts: Verdicts
    comment: str
    seconds: float


@dataclass(frozen=True)
class CaseReviews:
    """All that was said of one case.

    Attributes:
        reviews: one a reader, the first reader first.
        adjudication: the lead's word, if there is one.
        readers: how many must have reviewed it.
    """

    reviews: tuple[Review, ...]
    adjudication: Review | None
    readers: int

    @property
    def state(self) -> State:
        """How far it has come; an adjudication of what readers have since said otherwise counts no more."""
        if len(self.reviews) < self.readers:
            return "one" if self.reviews else "open"
        if all(review.verdicts == self.reviews[0].verdicts for review in self.reviews):
            return "agreed"
        last = max(review.event for review in self.reviews)
        return "adjudicated" if self.adjudication is not None and self.adjudication.event > last else "disagreed"

    @property
    def told(self) -> State | Literal["read"]:
        """The same for a blinded reader, to whom "agreed" beside their own verdict would tell the other's."""
        return "read" if self.state in _READ else self.state

    @property
    def final(self) -> Verdicts | None:
        """The verdicts that stand; None while there are none."""
        state = self.state
        if state == "agreed":
            return self.reviews[0].verdicts
        return self.adjudication.verdicts if state == "adjudicated" and self.adjudication else None

    def of(self, user: str) -> Review | None:
        """A reader's own."""
        return next((review for review in self.reviews if review.user == user), None)


def case_reviews(db: sqlite3.Connection, readers: int, case_id: str | None = None) -> Mapping[str, CaseReviews]:
    """What was said, by the token of the case; of one case or of all of them."""
    where, values = ("AND case_id = ?", (case_id,)) if case_id is not None else ("", ())
    rows = db.execute(
        "SELECT events.id AS event, action, case_id, user, details FROM events JOIN"
        " (SELECT max(id) AS last, min(id) AS first FROM events"
        f" WHERE action IN ('review', 'adjudicate') {where} GROUP BY case_id, user, action)"
        " ON events.id = last ORDER BY first",
        values,
    ).fetchall()
    said: dict[str, list[Review]] = defaultdict(list)
    settled: dict[str, Review] = {}
    for row in rows:
        details = json.loads(row["details"])
        review = Review(row["event"], row["user"], details["verdicts"], details["comment"], details["seconds"])
        if row["action"] == "review":
            said[row["case_id"]].append(review)
        elif row["case_id"] not in settled or settled[row["case_id"]].event < review.event:
            settled[row["case_id"]] = review
    return {
        row["id"]: CaseReviews(tuple(said[row["id"]]), settled.get(row["id"]), readers)
        for row in db.execute("SELECT id FROM cases" + (" WHERE id = ?" if case_id is not None else ""), values)
    }


def is_signed(db: sqlite3.Connection) -> bool:
    """Whether a lead has signed off."""
    return db.execute("SELECT 1 FROM events WHERE action = 'signoff'").fetchone() is not None


def counted(states: Sequence[State]) -> dict[str, int]:
    """Cases in each state."""
    return {state: sum(one == state for one in states) for state in STATES}
