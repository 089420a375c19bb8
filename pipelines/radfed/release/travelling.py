"""No patient's pixels and no row of a case in a release: what is held against the reports that join one."""

from radfed.errors import GateError
from radfed.metrics.travels import KEY, STAYS, TRAVELS
from radfed.release.contents import read_json
from radfed.release.layout import COMPARISON, METRICS, REPORT
from radfed.release.reading import Release

_AGAIN = "'radfed validate --no-pictures' makes one that may"
_PLOT = "data:image/svg+xml"


def check_travels(release: Release) -> None:
    """Reports in a release are of the kind that may leave the site.

    Raises:
        GateError: one holds rows of single cases or pictures of scans, or does not say that it may travel.
    """
    if release.has(METRICS):
        metrics = read_json(release, METRICS)
        if "cases" in metrics:
            raise GateError(f"{METRICS} holds rows of single cases and stays at the site; {_AGAIN} travel")
        if metrics.get(KEY) is not True:
            raise GateError(f"{METRICS} does not say that it may travel; {_AGAIN}")
    if release.has(COMPARISON) and read_json(release, COMPARISON).keys() != {"rows"}:
        raise GateError(f"{COMPARISON} must hold rows over groups, and nothing of single cases")
    if release.has(REPORT):
        _check_page(release.file(REPORT).read_text(encoding="utf-8"))


def _check_page(page: str) -> None:
    if STAYS in page:
        raise GateError(f"{REPORT} stays at the site, as it says; {_AGAIN} travel")
    if TRAVELS not in page:
        raise GateError(f"{REPORT} does not say that it may travel; {_AGAIN}")
    lower = page.lower()
    # Plots are drawn as SVG and scans as PNG, so any other kind of image is of a patient.
    if lower.count("data:image/") != lower.count(_PLOT):
        raise GateError(f"{REPORT} holds pictures of scans and stays at the site; {_AGAIN} travel")
