"""What the documentation says must be there: links, commands, options, codes."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.core
import typer.main
import yaml

from radfed.cli.main import app
from radfed.dataset.checks import REASONS
from radfed.dataset.mapping_check import check_mapping
from radfed.dataset.records_mapping import TableMapping
from radfed.job import JobSpec
from radfed.task import OutcomeTask, SegmentationTask, TaskSpec

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "jobs").rglob("*.md")),
)
COMMANDS = ROOT / "docs" / "reference" / "commands.md"
CODES = ROOT / "docs" / "reference" / "reason-codes.md"

_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_DEVELOPER_PATH = re.compile(r"(?<![\w.])(/(home|Users|root|work|tmp|mnt|opt|var)/|[A-Z]:\\)")
# Typer has no public name for the base of its usage errors.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
_ENDS_COMMAND = {"|", "||", "&&", ";", ">", ">>", "..."}


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _is_radfed(words: list[str]) -> bool:
    return words[:1] == ["radfed"] and len(words) > 1


def _command_line(line: str) -> list[str]:
    """The words of one command, without variables before it and what follows a pipe or ``;``."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    ends = [index for index, word in enumerate(words) if word in _ENDS_COMMAND]
    return words[: ends[0]] if ends else words


def _fenced_commands(page: Path) -> Iterator[list[str]]:
    for block in _FENCE.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"^\s*([A-Z_]+=\S+\s+)*radfed\s", line):
                yield _command_line(line)


def _quoted_commands(page: Path) -> Iterator[list[str]]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for span in _SPAN.findall(text):
        if span.startswith("radfed "):
            words = _command_line(span)
            if _is_radfed(words):
                yield words


@cache
def _root() -> typer.core.TyperGroup:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    return command


def _leaves(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Every command with the options that it takes."""
    for name, command in group.commands.items():
        here = (*path, name)
        if isinstance(command, typer.core.TyperGroup):
            yield from _leaves(command, here)
        else:
            yield " ".join(here), {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o[:2] == "--"}


def _problem(words: list[str], whole: bool) -> str | None:
    """What is wrong with a command line; ``whole`` wants every required argument and a usable value for each."""
    return _problem_in(_root(), words[:1], words[1:], whole)


def _problem_in(group: typer.core.TyperGroup, path: list[str], rest: list[str], whole: bool) -> str | None:
    if not rest or rest[0].startswith("-"):
        return _unknown_option(path, rest, {option for parameter in group.params for option in parameter.opts})
    if rest[0].isupper():  # a placeholder, such as COMMAND
        return None
    if rest[0] not in group.commands:
        return f"{' '.join(path)} has no command {rest[0]}"
    command, path, rest = group.commands[rest[0]], [*path, rest[0]], rest[1:]
    if isinstance(command, typer.core.TyperGroup):
        return _problem_in(command, path, rest, whole)
    if not whole:
        return _unknown_option(path, rest, {o for p in command.params for o in (*p.opts, *p.secondary_opts)})
    try:
        command.make_context(path[-1], list(rest))
    except _USAGE_ERROR as error:
        return f"{' '.join(path)}: {error}"
    return None


def _unknown_option(path: list[str], words: list[str], known: set[str]) -> str | None:
    unknown = [word for word in words if word.startswith("-") and word not in known | {"--help", "-h"}]
    return f"{' '.join(path)} has no option {unknown[0]}" if unknown else None


def _yaml_blocks(page: Path) -> list[dict[str, Any]]:
    text = page.read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [link.split("#")[0] for link in _LINK.findall(text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_in_code_blocks_can_be_run(page: Path) -> None:
    problems = [_problem(words, whole=True) for words in _fenced_commands(page)]
    assert [problem for problem in problems if problem] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_in_sentences_exist(page: Path) -> None:
    problems = [_problem(words, whole=False) for words in _quoted_commands(page)]
    assert [problem for problem in problems if problem] == []


def test_pages_hold_commands_to_check() -> None:
    found = {page: len(list(_fenced_commands(page))) for page in PAGES}
    assert found[ROOT / "README.md"] >= 8
    assert found[ROOT / "docs" / "tutorials" / "first-federation.md"] >= 15


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("radfed fly away", "no command fly"),
        ("radfed site fly", "no command fly"),
        ("radfed site init sites/a --colour red", "colour"),
        ("radfed site init --kit kits/site-a", "Missing parameter: folder"),
        ("radfed job submit my_job --out run", "Missing parameter: startup_kit"),
        ("radfed ingest scans --out d --max-refused 7", "less than or equal to 1"),
        ("radfed validate release --out report", "Missing parameter: datasets"),
    ],
)
def test_a_wrong_command_is_found(line: str, problem: str) -> None:
    found = _problem(shlex.split(line), whole=True)
    assert found is not None
    assert problem in found


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_page_names_a_path_of_somebodys_machine(page: Path) -> None:
    assert _DEVELOPER_PATH.search(page.read_text(encoding="utf-8")) is None


def test_the_index_links_every_page_of_docs() -> None:
    docs = ROOT / "docs"
    linked = set(_LINK.findall((docs / "index.md").read_text(encoding="utf-8")))
    assert {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")} - linked == {"index.md"}


def test_the_reference_names_every_command_and_option() -> None:
    sections = re.split(r"^## ", COMMANDS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    missing = []
    for name, options in _leaves(_root()):
        about = [text for text in sections if f"radfed {name}" in text]
        if not about:
            missing.append(name)
        # --json and --help are said once for all commands.
        missing += [f"{name} {o}" for o in sorted(options - {"--json", "--help"}) if not any(o in t for t in about)]
    assert missing == []


def test_the_reference_names_every_quarantine_code() -> None:
    table = CODES.read_text(encoding="utf-8").split("## Dataset check")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(REASONS)


def test_the_yaml_of_the_task_guide_is_a_task_and_a_job() -> None:
    page = ROOT / "docs" / "how-to" / "describe-a-task.md"
    blocks = _yaml_blocks(page)
    [job] = [JobSpec.check(block, page.name) for block in blocks if "federation" in block]
    [planes] = [block for block in blocks if "federation" not in block and "intended_use" not in block]
    tasks = [TaskSpec.check(block, page.name) for block in blocks if "intended_use" in block]
    assert [task.kind for task in tasks] == [*SegmentationTask.kinds(), *OutcomeTask.kinds()]
    assert job.name == tasks[0].name
    # What makes it a task of planes takes the place of the same keys.
    assert SegmentationTask.check(blocks[0] | planes, page.name).window == (128, 128)


def test_the_yaml_of_a_table_of_ones_own_is_a_task_a_job_and_its_mapping() -> None:
    page = ROOT / "docs" / "tutorials" / "own-table.md"
    task, job, mapping = _yaml_blocks(page)
    contract = OutcomeTask.check(task, page.name)
    assert JobSpec.check(job, page.name).name == contract.name
    meaning = TableMapping.check(mapping, page.name)
    check_mapping(meaning, contract)
    table = next(block for block in _FENCE.findall(page.read_text(encoding="utf-8")) if block.startswith("stay,"))
    header, *rows = (line.split(",") for line in table.splitlines())
    assert set(meaning.columns()) <= set(header)
    assert {len(row) for row in rows} == {len(header)}
