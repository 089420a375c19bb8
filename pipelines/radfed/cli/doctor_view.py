"""The doctor's report for people: a line or two a finding, a line a timeout."""

from typing import TYPE_CHECKING

from rich.markup import escape

from radfed.cli.console import log

if TYPE_CHECKING:
    from radfed.site.doctor.findings import Report
    from radfed.site.timeouts import Timeout

_STYLES = {"pass": "green", "warn": "yellow", "fail": "red"}


def show(report: "Report") -> None:
    """Print a report on stderr."""
    width = max(len(finding.check) for finding in report.findings)
    for finding in report.findings:
        style = _STYLES[finding.verdict]
        # One line a finding, however narrow the terminal: it can be searched for and sent on.
        found = f"[{style}]{finding.verdict}[/{style}]  {finding.check:{width}}  {escape(finding.found)}"
        log.print(found, soft_wrap=True)
        if finding.fix:
            log.print(f"      {'':{width}}  [dim]fix: {escape(finding.fix)}[/dim]", soft_wrap=True)
    if report.timeouts is not None:
        _timeouts("Timeouts of this site", report.timeouts.site)
        _timeouts("Timeouts for the federation's engineer: job and server", report.timeouts.advice)
    verdicts = [finding.verdict for finding in report.findings]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in type(verdicts[0]))
    log.print(f"{'This site can join' if report.ok else 'This site cannot join yet'}: {counts}")


def _timeouts(title: str, timeouts: "tuple[Timeout, ...]") -> None:
    """One line a timeout, those that differ from FLARE's own in bold."""
    width = max(len(timeout.name) for timeout in timeouts)
    log.print(f"{title} (seconds; FLARE's own; where; if it were too short)")
    for timeout in timeouts:
        line = f"{timeout.name:{width}}  {timeout.seconds:6g}  {timeout.default:5g}  {timeout.place:8}  {timeout.why}"
        log.print(line, style="bold" if timeout.seconds != timeout.default else "", soft_wrap=True)
