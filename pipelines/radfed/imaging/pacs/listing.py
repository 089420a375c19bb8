"""What a PACS says that it has, and whether that is what was asked for."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

Answer = Mapping[str, tuple[str, ...]]
"""One match of a query: keyword to values."""


@dataclass(frozen=True)
class ListedSeries:
    """A series as the PACS lists it.

    Attributes:
        study: StudyInstanceUID.
        uid: SeriesInstanceUID.
        instances: SOPInstanceUIDs, sorted; None where the PACS cannot list them.
        count: number of instances; None where the PACS tells neither them nor their number.
        sop_classes: SOPClassUIDs of the instances, as far as the PACS tells.
    """

    study: str
    uid: str
    instances: tuple[str, ...] | None
    count: int | None
    sop_classes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, study: str, uid: str, number: int | None, instances: Iterable[Answer]) -> "ListedSeries":
        """From the answers at the series and the instance level; without any of the latter, ``number`` counts."""
        listed = tuple(instances)
        classes = frozenset(name for answer in listed for name in answer.get("SOPClassUID", ()) if name)
        names = sorted({first(answer, "SOPInstanceUID") for answer in listed} - {""})
        if not names:
            return cls(study, uid, None, number)
        return cls(study, uid, tuple(names), len(names), classes)


def first(answer: Answer, keyword: str) -> str:
    """The first value, or an empty text."""
    return next(iter(answer.get(keyword, ())), "")


def number_of_instances(answer: Answer) -> int | None:
    """NumberOfSeriesRelatedInstances, if the PACS tells it."""
    text = first(answer, "NumberOfSeriesRelatedInstances").strip()
    return int(text) if text.isdecimal() else None


def queries(filters: Sequence[tuple[str, str]], level: Sequence[str]) -> Iterator[dict[str, str]]:
    """Single-valued queries whose answers together are what the filters of one level ask for.

    Not every PACS takes lists of values, so each combination of alternatives is a query of its own.
    """
    keywords = sorted({keyword for keyword, _ in filters if keyword in level})
    values = [[value for name, value in filters if name == keyword] for keyword in keywords]
    for combination in product(*values):
        yield dict(zip(keywords, combination, strict=True))


def matches(answer: Answer, query: Mapping[str, str]) -> bool:
    """Whether an answer is one to the query: a PACS that ignores a filter must not send other patients' scans.

    Follows PS3.4, C.2.2.2: single value, wildcards, ranges of dates. What the PACS did not return is believed.
    """
    return all(
        any(_matches(keyword, value.strip(), wanted) for value in answer[keyword])
        for keyword, wanted in query.items()
        if answer.get(keyword)
    )


def _matches(keyword: str, value: str, wanted: str) -> bool:
    if keyword == "StudyDate" and "-" in wanted:
        low, _, high = wanted.partition("-")
        return (low or "0") <= value <= (high or "9")
    if not (value.isascii() and wanted.isascii()):
        return True  # spelled in a character set that the PACS may compare otherwise
    pattern = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in wanted)
    return re.fullmatch(pattern, value, re.IGNORECASE | re.DOTALL) is not None
