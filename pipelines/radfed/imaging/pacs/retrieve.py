"""Fetching what a site's PACS has, into a folder, so that it can be interrupted anywhere and continued."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from radfed.imaging.pacs.address import PacsAddress
from radfed.imaging.pacs.dicomweb import DicomWeb
from radfed.imaging.pacs.dimse import Dimse
from radfed.imaging.pacs.failure import TransientError
from radfed.imaging.pacs.listing import ListedSeries
from radfed.imaging.pacs.patience import Patience
from radfed.imaging.pacs.rate import TokenBucket
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.pacs.spool import Spool

Progress = Callable[[int, int], None]
"""Called with instances done and in all."""


@dataclass(frozen=True)
class RetrieveReport:
    """What a retrieval ended with.

    Attributes:
        files: the files in the spool that belong to this query, sorted; others from earlier queries may lie there.
        missing: SeriesInstanceUID to the number of instances that the PACS lists but did not give.
        series: number of series that matched.
        fetched: instances that came in this run; the others were there.
    """

    files: tuple[Path, ...]
    missing: Mapping[str, int]
    series: int
    fetched: int


class _Source(Protocol):
    def fetch(self, series: ListedSeries, lacking: tuple[str, ...] | None, spool: Spool) -> None: ...


def retrieve(
    address: PacsAddress,
    settings: PacsSettings,
    spool: Path,
    on_progress: Progress | None = None,
    patience: Patience | None = None,
) -> RetrieveReport:
    """Bring ``spool`` up to what matches the address' filters; what is there and whole is not fetched again.

    Instances that the PACS lists but does not give are counted in the report and stop nothing. That the PACS
    cannot be reached, refuses us, or that the disk fills up, does; a later call continues.

    Raises:
        InvalidInputError: credentials or TLS files are not as they should be.
        GateError: others can read a secret.
        PacsError: the PACS cannot be used, or the spool cannot be written.
    """
    patience = patience or Patience(settings.retries)
    source = (DicomWeb if address.scheme == "dicomweb" else Dimse)(address, settings, patience)
    bucket = TokenBucket(settings.max_mbit * 1e6 / 8) if settings.max_mbit else None
    try:
        with Spool(spool, settings.min_free_gb * 1e9, bucket) as folder:
            return _fill(source, sorted(source.listing(), key=lambda series: series.uid), folder, patience, on_progress)
    finally:
        source.close()


def _fill(
    source: _Source, listed: list[ListedSeries], spool: Spool, patience: Patience, on_progress: Progress | None
) -> RetrieveReport:
    total = sum(series.count or 0 for series in listed)
    done = sum(len(spool.of_series(series)) for series in listed)
    tell = on_progress or (lambda done, total: None)
    tell(done, max(done, total))
    before = spool.kept
    spool.on_kept = lambda: tell(done + spool.kept - before, max(total, done + spool.kept - before))
    missing = {series.uid: _fetch(source, series, spool, patience) for series in listed}
    there = {name for series in listed for name in spool.of_series(series)}
    return RetrieveReport(
        files=tuple(sorted(spool.path(name) for name in there)),
        missing={uid: count for uid, count in missing.items() if count},
        series=len(listed),
        fetched=spool.kept - before,
    )


def _fetch(source: _Source, series: ListedSeries, spool: Spool, patience: Patience) -> int:
    """Ask for a series until it is whole or patience ends; the number of instances that did not come.

    The first request is for all of it; what then lacks is asked for one by one, so that a single instance that
    the PACS cannot give costs no other.
    """
    failures, there, asked_for_all = 0, len(spool.of_series(series)), False
    while there != series.count:
        error: TransientError | None = None
        try:
            source.fetch(series, _lacking(series, spool, asked_for_all), spool)
        except TransientError as caught:
            error = caught
        asked_for_all = True
        now = len(spool.of_series(series))
        if series.count is None and error is None:
            return 0  # the PACS does not say how many there are; it gave what it has
        failures = 0 if now > there else failures + 1
        there = now
        if there == series.count:
            break
        if failures > patience.retries:
            if error and error.gone:
                raise patience.given_up(error) from error
            return max(1, (series.count or 0) - there)
        if failures or error:
            patience.wait(max(failures, 1), error.retry_after if error else None)
    return 0


def _lacking(series: ListedSeries, spool: Spool, asked_for_all: bool) -> tuple[str, ...] | None:
    """The instances to ask for; None for all of the series."""
    if series.instances is None:
        return None
    lacking = tuple(name for name in series.instances if not spool.has(name))
    return None if len(lacking) == series.count and not asked_for_all else lacking
