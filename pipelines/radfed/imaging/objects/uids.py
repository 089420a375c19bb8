"""UIDs of the objects that are written about images: new ones, or ones that follow from what they are about."""

import hashlib
from collections.abc import Callable, Sequence

Naming = Callable[[str], str]
"""A UID for a part of the results, such as ``seg`` or ``tracking liver``; parts are named alike in SEG and SR."""


def fresh(part: str) -> str:
    """A UID that was never there before, whatever the part."""
    from highdicom import UID

    return str(UID())


def derived(about: Sequence[str]) -> Naming:
    """UIDs that are the same whenever they are made about the same things (PS3.5, B.2: derived from a UUID's range)."""
    whole = "\n".join(about)

    def name(part: str) -> str:
        digest = hashlib.sha256(f"{part}\n{whole}".encode()).hexdigest()
        return f"2.25.{int(digest[:32], 16)}"

    return name
