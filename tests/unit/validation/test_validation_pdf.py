import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from radfed.cli.console import GuardedGroup
from radfed.cli.validate import validate as command
from radfed.errors import InvalidInputError, RadfedError
from radfed.task import SegmentationTask
from radfed.validation.pdf import to_pdf, why_no_pdf, write_pdf
from radfed.validation.report import ReportInput, write_report
from radfed.validation.results import CaseResult, Evaluation

pytestmark = pytest.mark.skipif(bool(why_no_pdf()), reason="extra pdf")


@pytest.fixture
def without_weasyprint(monkeypatch: pytest.MonkeyPatch) -> None:
    really = importlib.import_module

    def load(name: str) -> Any:  # noqa: ANN401 # any module
        if name.startswith("weasyprint"):
            raise OSError("cannot load library 'libpango-1.0-0'")
        return really(name)

    monkeypatch.setattr("radfed.validation.pdf.importlib.import_module", load)


def test_the_report_becomes_pages_with_heads_and_numbers(
    task: SegmentationTask,
    make_case: Callable[..., CaseResult],
    make_evaluation: Callable[..., Evaluation],
    tmp_path: Path,
) -> None:
    cases = [make_case("a", i, 0.5 + i / 150) for i in range(60)]
    write_report(ReportInput(task=task, evaluation=make_evaluation(*cases)), tmp_path)
    page = tmp_path / "report.html"
    weasyprint = importlib.import_module("weasyprint")
    document = weasyprint.HTML(string=page.read_text()).render()
    texts = [_text(sheet._page_box) for sheet in document.pages]
    assert len(texts) > 4
    for number, text in enumerate(texts, start=1):
        assert f"page {number} of {len(texts)}" in text
        assert "Validation report: two balls" in text
    # The long table of cases goes over pages, and each has its head.
    rows = [text for text in texts if text.count("case-a-") > 4]
    assert len(rows) > 1
    assert all("Structure" in text and "HD95" in text for text in rows)


def test_a_pdf_lies_beside_its_page(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<p>text")
    written = write_pdf(page)
    assert written == tmp_path / "report.pdf"
    assert written.read_bytes().startswith(b"%PDF-")


def _text(box: Any) -> str:  # noqa: ANN401 # WeasyPrint is not typed
    own = getattr(box, "text", "")
    return own + "".join(_text(child) for child in (box.children if hasattr(box, "children") else ()))


@pytest.mark.parametrize("address", ["file:///etc/hostname", "https://example.org/a.png", "a.png"])
def test_nothing_outside_the_page_is_read(address: str, tmp_path: Path) -> None:
    if address == "a.png":
        (tmp_path / address).write_bytes(b"no picture")
        address = (tmp_path / address).as_uri()
    with pytest.raises(RadfedError, match="outside itself"):
        to_pdf(f'<img src="{address}">')


def test_pillow_stays_as_strict_as_it_was() -> None:
    # In a process of its own: loading WeasyPrint would let ingest take pictures that are cut short.
    code = "from radfed.validation.pdf import to_pdf; from PIL import ImageFile; to_pdf('<p>x</p>'); "
    done = subprocess.run([sys.executable, "-c", code + "print(ImageFile.LOAD_TRUNCATED_IMAGES)"], capture_output=True)
    assert done.stdout.split() == [b"False"]


@pytest.mark.usefixtures("without_weasyprint")
def test_without_weasyprint_there_is_a_reason_and_no_pdf() -> None:
    assert "WeasyPrint cannot be loaded (OSError); install radfed[pdf]" in why_no_pdf()
    with pytest.raises(InvalidInputError, match="no PDF"):
        to_pdf("<p>text</p>")


@pytest.mark.usefixtures("without_weasyprint")
def test_the_command_warns_once_and_refuses_a_pdf_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[object] = []

    def run(*given: object) -> None:
        asked.append(given[-1])
        raise InvalidInputError("nothing to score")

    monkeypatch.setattr("radfed.validation.run.validate", run)
    app = typer.Typer(cls=GuardedGroup)
    app.command()(command)
    app.callback()(lambda: None)
    arguments = ["validate", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "out"), "--json"]
    for choice in ([], ["--pdf"], ["--no-pdf"]):
        result = CliRunner().invoke(app, [*arguments, *choice])
        assert json.loads(result.stdout)["error"] == "nothing to score"
    assert asked == [False, True, False]
