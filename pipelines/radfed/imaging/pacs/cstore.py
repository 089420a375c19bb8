"""Sending files by C-STORE (PS3.4, annex B)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from radfed.errors import InvalidInputError
from radfed.imaging.pacs.failure import TransientError
from radfed.imaging.pacs.peer import MOST_CONTEXTS, NO_ROOM, NoServiceError, Peer, context, status_code

if TYPE_CHECKING:
    from pynetdicom.association import Association

_NOT_ACCEPTED = "not accepted"


def store_files(peer: Peer, paths: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """Send files over as many associations as their kinds need; each with None, or the code it was refused with.

    Raises:
        InvalidInputError: a file is no DICOM.
        TransientError: it may pass; files not yet named were not sent.
        PacsError: it is of no use to go on.
    """
    import pynetdicom

    # The bytes of the file go out as they are; without it pynetdicom decodes and encodes every data set.
    pynetdicom._config.STORE_SEND_CHUNKED_DATASET = True
    kinds = {path: _kind(path) for path in paths}
    wanted = sorted(set(kinds.values()))
    for start in range(0, len(wanted), MOST_CONTEXTS):
        group = wanted[start : start + MOST_CONTEXTS]
        chosen = [path for path in paths if kinds[path] in group]
        try:
            with peer.association([context(sop_class, [syntax]) for sop_class, syntax in group]) as association:
                for path in chosen:
                    yield path, _store(association, path, kinds[path])
        except NoServiceError:
            yield from ((path, _NOT_ACCEPTED) for path in chosen)


def _store(association: "Association", path: Path, kind: tuple[str, str]) -> str | None:
    if kind not in {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}:
        return _NOT_ACCEPTED
    if not association.is_established:
        raise TransientError("the PACS broke off while we sent")
    code = status_code(association.send_c_store(path))
    if code is None or code & 0xFF00 == NO_ROOM:
        raise TransientError("the PACS broke off while we sent, or has no room")
    # PS3.4, table B.2-1: 0xB000 and its like are warnings, the instance is kept.
    return None if code == 0 or code & 0xF000 == 0xB000 else f"0x{code:04X}"


def _kind(path: Path) -> tuple[str, str]:
    """SOP class and transfer syntax of a file."""
    try:
        meta = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).file_meta
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except (OSError, InvalidDicomError, AttributeError, EOFError, ValueError) as error:
        raise InvalidInputError(f"{path}: is no DICOM file that can be sent ({type(error).__name__})") from error
