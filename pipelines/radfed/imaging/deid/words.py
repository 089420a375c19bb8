"""Clean Descriptors by allow-list: of a free text, only words that are known to be about images are kept."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

_CHUNK = re.compile(r"(?:[^\W_]|[.+*])+")
_NUMBER = re.compile(r"\d{1,2}(\.\d{1,3})?")
_MEASURE = re.compile(r"\d{1,4}(\.\d{1,3})?(mm|cm|um|ms|s|sec|min|ml|cc|kv|kvp|mas|deg|x|t|sl|ch|hz|khz|mhz|ppm|d)")
_KERNEL = re.compile(r"(b|h|d|u|j|i|t|s|fl|br|bv|bf|bl|bd|hr|hv|hf|hc|hp|qr|sa|sb|ur)\d{2}[a-z]?")
_SUSPECT = re.compile(r"[\^@=]|\d{6}")


@cache
def vocabulary() -> frozenset[str]:
    """The words that radfed brings, in lower case."""
    text = files(__package__).joinpath("vocabulary.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def allowed_words(descriptors: Iterable[str]) -> frozenset[str]:
    """The vocabulary and a site's own words."""
    return vocabulary() | {chunk.casefold() for text in descriptors for chunk in _chunks(text)}


def clean_text(text: str, allowed: frozenset[str]) -> str:
    """The words of a text that are allowed, measures (``5mm``), kernels (``B30f``) and single small numbers.

    Two numbers that follow each other may be a date or a telephone number, and go.
    """
    chunks = _chunks(text)
    numeric = [_is_numeric(chunk) for chunk in chunks]
    kept = []
    for index, chunk in enumerate(chunks):
        word = chunk.casefold()
        alone = not any(numeric[max(index - 1, 0) : index] + numeric[index + 1 : index + 2])
        known = word in allowed or _MEASURE.fullmatch(word) or _KERNEL.fullmatch(word)
        if known or (_NUMBER.fullmatch(word) and alone):
            kept.append(chunk)
    return " ".join(kept)


def plain_text(text: str) -> str:
    """A text that names equipment or technique, without words that look like an identifier or are not ASCII."""
    words = (word for word in text.split() if word.isascii() and word.isprintable())
    return " ".join(word for word in words if not _SUSPECT.search(word))


def _chunks(text: str) -> list[str]:
    return [chunk for chunk in (found.strip(".+*") for found in _CHUNK.findall(text)) if chunk]


def _is_numeric(chunk: str) -> bool:
    return chunk.replace(".", "").isdigit()
