"""Where the files of an ingest come from: a folder as it is, or a PACS by way of the site's spool."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radfed.errors import InvalidInputError
from radfed.imaging.pacs.settings import PacsSettings

SPOOL = "spool"


@dataclass(frozen=True)
class Gathered:
    """Files to ingest.

    Attributes:
        root: the folder that holds them.
        files: which of the folder's; None takes all.
        missing: SeriesInstanceUID to the number of instances that the PACS lists and did not give.
        spool: what may go once they are ingested; None for a folder that is not ours.
    """

    root: Path
    files: tuple[Path, ...] | None = None
    missing: Mapping[str, int] = field(default_factory=dict)
    spool: Path | None = None


def gather(
    source: str, site_folder: Path, pacs: PacsSettings, on_progress: Callable[[int, int], None] | None = None
) -> Gathered:
    """Find a folder, or retrieve from a PACS into ``<site folder>/spool/``, going on where an earlier call ended.

    Raises:
        InvalidInputError: no such folder, a malformed address, or the PACS lists nothing.
    """
    if "://" not in source:
        root = Path(source)
        if not root.is_dir():
            raise InvalidInputError(f"{root}: is not a folder; give the folder that holds the images")
        return Gathered(root)
    # pynetdicom and the web client are not waited for by who ingests a folder.
    from radfed.imaging.pacs.address import parse_address
    from radfed.imaging.pacs.retrieve import retrieve

    address = parse_address(source)
    # Scans under their patients' names: in the site's own folder, for as long as it takes.
    spool = site_folder / SPOOL / hashlib.sha256(source.encode()).hexdigest()[:16]
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    (site_folder / SPOOL).chmod(0o700)
    report = retrieve(address, pacs, spool, on_progress or (lambda _done, _total: None))
    if not report.files and not report.missing:
        raise InvalidInputError("the PACS lists no instance for this address; widen its filters")
    return Gathered(spool, tuple(report.files), dict(report.missing), spool)


def discard(gathered: Gathered) -> None:
    """Delete what was retrieved, now that it is ingested."""
    if gathered.spool is not None:
        shutil.rmtree(gathered.spool)
