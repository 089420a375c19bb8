"""Reporting checklists: what each item asks, what is known of it here, and what the authors have still to write."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import Field

from radfed.settings import Settings

CLAIM, TRIPOD_AI = "claim-2024.yaml", "tripod-ai.yaml"

Status = Literal["filled", "partly", "open"]


class Item(Settings):
    """One item. Without facts it is always open; with a rest it is never more than partly filled."""

    id: str
    section: str
    text: str
    facts: tuple[str, ...] = Field(default=(), description="What answers it, see radfed.validation.checklist_facts")
    rest: str = Field(default="", description="What no program knows")


class Checklist(Settings):
    """The content of a data file in ``checklists/``."""

    name: str
    edition: str
    source: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Answer:
    """An item with what is known of it.

    Attributes:
        item: what is asked.
        status: ``filled``, ``partly``, or ``open``.
        known: where it is answered.
        missing: what the authors have to write; empty if it is filled.
    """

    item: Item
    status: Status
    known: tuple[str, ...]
    missing: str


@dataclass(frozen=True)
class Filled:
    """A checklist with its answers."""

    checklist: Checklist
    answers: tuple[Answer, ...]

    def count(self, status: Status) -> int:
        """How many items have that status."""
        return sum(answer.status == status for answer in self.answers)


def read_checklist(name: str) -> Checklist:
    """A checklist of this package, by its file name."""
    text = files("radfed.validation").joinpath("checklists", name).read_text(encoding="utf-8")
    return Checklist.model_validate(yaml.safe_load(text))


def fill(checklist: Checklist, facts: Mapping[str, str]) -> Filled:
    """Answer every item with the facts that are known."""
    return Filled(checklist, tuple(_answer(item, facts) for item in checklist.items))


def _answer(item: Item, facts: Mapping[str, str]) -> Answer:
    known = tuple(facts[name] for name in item.facts if name in facts)
    if not known:
        return Answer(item, "open", (), item.rest or "Not known here.")
    return Answer(item, "partly" if item.rest else "filled", known, item.rest)
