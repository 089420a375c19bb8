"""The report as PDF, made from its own page by WeasyPrint (extra ``pdf``), which needs Debian's libpango."""

import importlib
from pathlib import Path
from typing import Any

from PIL import ImageFile

from radfed.errors import InvalidInputError, RadfedError
from radfed.files import put_bytes

PDF = "report.pdf"
INSTALL = "install radfed[pdf] and Debian's libpango-1.0-0 and libpangoft2-1.0-0"


def why_no_pdf() -> str:
    """Why no PDF can be made on this machine, in a sentence; empty if one can."""
    try:
        _weasyprint()
    except (ImportError, OSError) as error:  # OSError: the wheel is there, Pango is not
        return f"WeasyPrint cannot be loaded ({type(error).__name__}); {INSTALL}"
    return ""


def _weasyprint() -> Any:  # noqa: ANN401 - it publishes no types
    # Loading it tells Pillow, for the whole process, to take pictures that are cut short, which ingest must refuse.
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        return importlib.import_module("weasyprint")
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def to_pdf(page: str) -> bytes:
    """A page that refers to nothing outside itself, as PDF.

    Raises:
        InvalidInputError: WeasyPrint cannot be loaded.
        RadfedError: the page refers to something outside itself.
    """
    why = why_no_pdf()
    if why:
        raise InvalidInputError(f"no PDF: {why}")
    weasyprint = _weasyprint()
    urls: Any = importlib.import_module("weasyprint.urls")
    # Pictures stand in the page; nothing is fetched, neither from the network nor from the disk.
    inside = urls.URLFetcher(allowed_protocols=("data",), fail_on_errors=True)
    try:
        return bytes(weasyprint.HTML(string=page, url_fetcher=inside).write_pdf())
    except urls.FatalURLFetchingError as error:
        raise RadfedError(f"the report refers to something outside itself, which no PDF is made of: {error}") from error


def write_pdf(page: Path) -> Path:
    """Write ``report.pdf`` beside a page, whole or not at all.

    Raises:
        InvalidInputError: WeasyPrint cannot be loaded.
    """
    out = page.parent / PDF
    put_bytes(out, to_pdf(page.read_text(encoding="utf-8")))
    return out
