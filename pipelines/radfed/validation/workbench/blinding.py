"""Blinded reviews: A and B are prediction and reference, in an order drawn for each case and reader."""

import hashlib
import hmac
from collections.abc import Mapping

from radfed.validation.workbench.words import Subject, VerdictName, Verdicts

NAMES = ("A", "B")


def order(salt: str, seed: int, case_id: str, user: str) -> dict[str, Subject]:
    """What A and B are to somebody; drawn by the review's secret, so that knowing the seed is not enough."""
    drawn = hmac.new(salt.encode(), f"order {seed} {case_id} {user}".encode(), hashlib.sha256).digest()[0] % 2
    return {"A": "prediction", "B": "reference"} if drawn else {"A": "reference", "B": "prediction"}


def seen(verdicts: Verdicts, names: Mapping[str, Subject]) -> dict[str, VerdictName]:
    """Verdicts by the names under which somebody sees the subjects."""
    return {name: verdicts[subject] for name, subject in names.items() if subject in verdicts}


def meant(verdicts: Mapping[str, VerdictName], names: Mapping[str, Subject]) -> Verdicts:
    """Verdicts by subject, of those that somebody gave by name."""
    return {names[name]: verdict for name, verdict in verdicts.items()}
