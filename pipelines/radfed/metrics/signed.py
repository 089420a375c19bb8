"""What a site says of a model, signed with the key of its startup kit, so that a release can be checked offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from radfed.errors import GateError, InvalidInputError
from radfed.files import put_bytes, put_text
from radfed.metrics.pooling import FederatedEvaluation, Score, TestReport, pool
from radfed.settings import Settings
from radfed.signatures import Signed, read_key

SITES, ROOT = "sites", "root.pem"
"""Folder of the statements in a run and in a release's ``evaluation/``, and the federation's root certificate in it."""
_KEY, _CERTIFICATE, KIT_ROOT = "startup/client.key", "startup/client.crt", "startup/rootCA.pem"
"""In a startup kit of FLARE's."""

Purpose = Literal["test", "validation", "leakage"]
_TOLERANCE = 1e-9


class SiteStatement(Settings):
    """A site's numbers on a model: sums over groups of patients, with small ones held back, and nothing per case."""

    purpose: Purpose = Field(description="What the numbers are: the test of a campaign, or an answer to a question")
    site: str = Field(description="As its certificate names it")
    task: str
    task_digest: str
    model: str = Field(description="SHA-256 of the model's weights")
    split: str
    made: date = Field(description="Day, UTC")
    report: dict[str, Any] = Field(description="The sums, as they were sent; of a test those of TestReport")


@dataclass(frozen=True)
class Statements:
    """What a check of signed statements found.

    Attributes:
        sites: who signed a statement that holds, by name.
        problems: what is wrong, one sentence each; empty if nothing is.
    """

    sites: tuple[str, ...]
    problems: tuple[str, ...]


def today() -> date:
    """The day, UTC."""
    return datetime.now(UTC).date()


def sign_with_kit(statement: SiteStatement, kit: Path) -> Signed | None:
    """Sign with the key of a startup kit; None in a simulation, whose sites have no kit.

    Raises:
        InvalidInputError: the kit has a root certificate, but no key that can be read.
    """
    if not (kit / KIT_ROOT).is_file():
        return None
    try:
        certificate = (kit / _CERTIFICATE).read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"the startup kit's client.crt cannot be read ({type(error).__name__}), so nothing can be signed; "
            "unpack the kit again"
        ) from error
    return Signed.make(statement, read_key(kit / _KEY), certificate)


def checked_statement(signed: Signed, site: str, root: bytes) -> SiteStatement:
    """A statement, once its signature is that of the site.

    Raises:
        GateError: it is not, or the statement names another site.
    """
    statement = signed.read_as(SiteStatement)
    signer = signed.signer(root)
    if not site == signer == statement.site:
        raise GateError(f"{site}: the statement is of {statement.site!r}, signed by {signer!r}")
    return statement


def keep_statements(folder: Path, statements: Mapping[str, Signed], root: bytes) -> None:
    """Write ``sites/<site>.json`` and ``sites/root.pem`` into a run folder, in place of those that were there."""
    place = folder / SITES
    place.mkdir(exist_ok=True)
    for old in place.glob("*.json"):
        if old.stem not in statements:
            old.unlink()
    put_bytes(place / ROOT, root)
    for site, signed in statements.items():
        put_text(place / f"{site}.json", signed.model_dump_json(indent=1) + "\n")


def read_statements(folder: Path) -> tuple[dict[str, Signed], bytes]:
    """The statements in a folder by site, and the root certificate beside them.

    Raises:
        GateError: a file is missing or is no signed statement.
    """
    try:
        root = (folder / ROOT).read_bytes()
        texts = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.json"))}
        return {site: Signed.model_validate_json(text) for site, text in texts.items()}, root
    except (OSError, ValidationError) as error:
        raise GateError(f"the sites' signed statements cannot be read ({type(error).__name__})") from error


def check_statements(folder: Path, evaluation: FederatedEvaluation, root: bytes | None = None) -> Statements:
    """Whether the sites' signed statements are what a pooled evaluation was made from.

    Each signature must be of the site that the file is named after, under one root; each must be of the evaluation's
    model and of one task; every site of the evaluation must have one; and pooled they must give its numbers.

    Args:
        folder: ``sites/`` of a run, or ``evaluation/sites/`` of a release.
        evaluation: ``federated.json``.
        root: PEM of the root certificate to expect; without it the one in the folder is taken at its word.
    """
    try:
        statements, own_root = read_statements(folder)
    except GateError as error:
        return Statements((), (str(error),))
    problems = []
    if root is not None and root.split() != own_root.split():
        problems.append(f"{ROOT} is not the root certificate that was given")
    reports: dict[str, TestReport] = {}
    tasks = set()
    for site, signed in statements.items():
        try:
            statement = checked_statement(signed, site, own_root if root is None else root)
            reports[site] = _of_test(statement, evaluation.model)
            tasks.add((statement.task, statement.task_digest, statement.split))
        except (GateError, InvalidInputError) as error:
            problems.append(f"{site}: {str(error).removeprefix(f'{site}: ')}")
    if len(tasks) > 1:
        problems.append("the statements are of several tasks or splits")
    problems += [f"{site}: has no valid signed statement" for site in sorted(evaluation.sites.keys() - reports.keys())]
    if not problems:
        problems += _differences(pool(evaluation.model, reports), evaluation)
    return Statements(tuple(sorted(reports)), tuple(problems))


def _of_test(statement: SiteStatement, model: str) -> TestReport:
    if statement.purpose != "test":
        raise GateError(f"the statement is of a {statement.purpose}, not of the test")
    if statement.model != model:
        raise GateError(f"the statement is of another model ({statement.model[:12]})")
    return TestReport.check(statement.report, "statement")


def _differences(found: FederatedEvaluation, told: FederatedEvaluation) -> list[str]:
    """Where a pooled evaluation is not what the statements give; sites that are silent need no statement."""
    pairs = [("pooled", found.pooled, told.pooled)]
    pairs += [
        (site, found.sites.get(site, {}), told.sites.get(site, {})) for site in sorted({*found.sites, *told.sites})
    ]
    return [
        f"{name}: the statements do not add up to what federated.json says"
        for name, ours, theirs in pairs
        if ours.keys() != theirs.keys() or any(not _same(ours[label], theirs[label]) for label in ours)
    ]


def _same(one: Score, other: Score) -> bool:
    values = [(a, b) for a, b in zip(one.model_dump().values(), other.model_dump().values(), strict=True)]
    return all(a == b or (a is not None and b is not None and abs(a - b) <= _TOLERANCE) for a, b in values)
