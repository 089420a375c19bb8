from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.test_signatures import certificate

from radfed.errors import GateError
from radfed.federation.statements import Expected, signed_beside
from radfed.job import find_job
from radfed.metrics.pooling import FederatedEvaluation, LabelScores, TestReport, pool
from radfed.metrics.signed import SITES, SiteStatement, check_statements, keep_statements, sign_with_kit
from radfed.signatures import Signed, new_key, write_key

MODEL = "a" * 64
REPORTS = {
    "north": TestReport(cases=4, labels={"liver": LabelScores(total=3.3, squares=2.75)}),
    "south": TestReport(cases=5, labels={"liver": LabelScores(total=4.1, squares=3.4)}),
}
CA = new_key()
ROOT = certificate("root", CA, "root", CA)


def statement(site: str, **changes: object) -> SiteStatement:
    content = {
        "purpose": "test", "site": site, "task": "t", "task_digest": "b" * 64, "model": MODEL, "split": "test",
        "made": date(2026, 1, 1), "report": REPORTS[site].model_dump(mode="json"),
    }  # fmt: skip
    return SiteStatement.check(content | changes, "test")


def sign(content: SiteStatement, name: str, ca: ec.EllipticCurvePrivateKey = CA) -> Signed:
    key = new_key()
    return Signed.make(content, key, certificate(name, key, "root", ca))


@pytest.fixture
def evaluation() -> FederatedEvaluation:
    return pool(MODEL, {**REPORTS, "silent": None})


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., Path]:
    def write(**statements: Signed) -> Path:
        keep_statements(tmp_path, {site: sign(statement(site), site) for site in REPORTS} | statements, ROOT)
        return tmp_path / SITES

    return write


def test_statements_that_bear_the_evaluation(keep: Callable[..., Path], evaluation: FederatedEvaluation) -> None:
    found = check_statements(keep(), evaluation, ROOT)
    assert found.sites == ("north", "south")
    assert found.problems == ()


@pytest.mark.parametrize(
    ("south", "says"),
    [
        (sign(statement("south"), "north"), "signed by 'north'"),
        (sign(statement("north"), "north"), "is of 'north'"),
        (sign(statement("south"), "south", new_key()), "root"),
        (sign(statement("south", model="c" * 64), "south"), "another model"),
        (sign(statement("south", purpose="validation"), "south"), "not of the test"),
        (sign(statement("south", task_digest="c" * 64), "south"), "several tasks"),
        (
            sign(statement("south", report={"cases": 5, "labels": {"liver": {"total": 4.2, "squares": 3.6}}}), "south"),
            "do not add up",
        ),
    ],
)
def test_what_does_not_bear_it_is_named(
    keep: Callable[..., Path], evaluation: FederatedEvaluation, south: Signed, says: str
) -> None:
    assert any(says in problem for problem in check_statements(keep(south=south), evaluation).problems)


def test_a_missing_statement_or_another_root_is_a_problem(
    keep: Callable[..., Path], evaluation: FederatedEvaluation
) -> None:
    folder = keep()
    other = new_key()
    assert check_statements(folder, evaluation, certificate("root", other, "root", other)).problems
    (folder / "south.json").unlink()
    assert check_statements(folder, evaluation).problems == ("south: has no valid signed statement",)
    (folder / "north.json").write_text("{}")
    assert "cannot be read" in check_statements(folder, evaluation).problems[0]


def test_a_site_signs_with_its_kit_and_the_server_judges(tmp_path: Path) -> None:
    task, key = find_job("phantom_segmentation").task, new_key()
    report: dict[str, object] = REPORTS["north"].model_dump(mode="json")
    assert signed_beside(report, "test", "north", task, MODEL, "test", tmp_path) == {}, "a simulation has no kit"
    (tmp_path / "startup").mkdir()
    (tmp_path / "startup/rootCA.pem").write_bytes(ROOT)
    (tmp_path / "startup/client.crt").write_bytes(certificate("north", key, "root", CA))
    write_key(tmp_path / "startup/client.key", key)
    text = signed_beside(report, "test", "north", task, MODEL, "test", tmp_path)["signed"]
    expected = Expected(ROOT, "test", task, MODEL, "test")
    assert expected.check("north", text, report) is not None
    assert Expected(None, "test", task, MODEL, "test").check("north", None, report) is None
    for site, given, told, about in (
        ("south", text, report, expected),
        ("north", None, report, expected),
        ("north", "{}", report, expected),
        ("north", text, {**report, "cases": 6}, expected),
        ("north", text, report, Expected(ROOT, "test", task, "d" * 64, "test")),
        ("north", text, report, Expected(ROOT, "validation", task, MODEL, "test")),
    ):
        with pytest.raises(GateError):
            about.check(site, given, told)
    assert sign_with_kit(statement("north"), tmp_path) is not None
