"""Returning results to the PACS."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from radfed.imaging.pacs.address import PacsAddress
from radfed.imaging.pacs.cstore import store_files
from radfed.imaging.pacs.dicomweb import DicomWeb
from radfed.imaging.pacs.failure import TransientError
from radfed.imaging.pacs.patience import Patience
from radfed.imaging.pacs.peer import Peer
from radfed.imaging.pacs.settings import PacsSettings


@dataclass(frozen=True)
class SendReport:
    """What the PACS did with each file.

    Attributes:
        sent: files that the PACS keeps, in the order given.
        failed: files that it refused, each with the code: a DICOM status or failure reason such as ``0x0122``,
            an HTTP status, or ``not accepted`` where it takes no such SOP class and transfer syntax.
    """

    sent: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...]


def send(
    address: PacsAddress,
    settings: PacsSettings,
    files: Sequence[Path],
    on_progress: Callable[[int, int], None] | None = None,
    patience: Patience | None = None,
) -> SendReport:
    """Store DICOM files in the PACS, by STOW-RS or C-STORE. The address' filters mean nothing here.

    Raises:
        InvalidInputError: a file is no DICOM; credentials or TLS files are not as they should be.
        GateError: others can read a secret.
        PacsError: the PACS cannot be used. What was sent before stays there; sending again does no harm.
    """
    patience = patience or Patience(settings.retries)
    codes: dict[Path, str | None] = {}
    for path, code in _send(address, settings, files, patience):
        codes[path] = code
        if on_progress:
            on_progress(len(codes), len(files))
    return SendReport(
        sent=tuple(path for path in files if codes[path] is None),
        failed=tuple((path, code) for path in files if (code := codes[path]) is not None),
    )


def _send(
    address: PacsAddress, settings: PacsSettings, files: Sequence[Path], patience: Patience
) -> Iterator[tuple[Path, str | None]]:
    if address.scheme == "dicomweb":
        web = DicomWeb(address, settings, patience)
        try:
            for path in files:
                yield path, patience.run(partial(web.store, path))
        finally:
            web.close()
        return
    yield from _store_all(Peer(address, settings), files, patience)


def _store_all(peer: Peer, files: Sequence[Path], patience: Patience) -> Iterator[tuple[Path, str | None]]:
    """C-STORE shares an association among files, so what was not sent is sent over another one."""
    left, failures = list(files), 0
    while left:
        try:
            for path, code in store_files(peer, tuple(left)):
                yield path, code
                left.remove(path)
                failures = 0
        except TransientError as error:
            failures += 1
            if failures > patience.retries:
                raise patience.given_up(error) from error
            patience.wait(failures, error.retry_after)
