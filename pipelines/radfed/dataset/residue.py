"""What identifies a patient and would go on in the words of DICOM headers."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pydicom

from radfed.dataset.accept import Origin
from radfed.errors import DataError
from radfed.imaging.deid.residual import identifying_values, residual_hits
from radfed.imaging.dicom.header import PYDICOM_ERRORS
from radfed.imaging.dicom.index import Series
from radfed.imaging.unwarned import unwarned


def check_residue(origin: Origin, names: Iterable[str], channels: Sequence[Series]) -> None:
    """Look for what identifies the patient in all that the dataset will say in the words of its source.

    Keys, digests and pseudonyms are ours, and a patient may be called Case or Field: they are not searched.

    Args:
        origin: what ``cases.jsonl`` will say.
        names: of labels, for ``dataset.json``.
        channels: the series that the case is of.

    Raises:
        DataError: ``residual_identifier``, or ``unreadable`` if the headers cannot be searched.
    """
    scanner = (origin.scanner.manufacturer, origin.scanner.model) if origin.scanner else ()
    said = "\n".join((origin.modality, *scanner, *names))
    for series in channels:
        for path in {series.instances[0].path, series.instances[-1].path}:
            if residual_hits(said, _identifying(path)):
                raise DataError(
                    "residual_identifier",
                    "an identifying value of the headers would stand in cases.jsonl or dataset.json, in the scanner's "
                    "name or a label's; mend the headers or the label",
                )


def _identifying(path: Path) -> frozenset[str]:
    try:
        # pydicom warns about odd values; here every value counts as it stands.
        with unwarned():
            return identifying_values(pydicom.dcmread(path, stop_before_pixels=True, force=True))
    except PYDICOM_ERRORS as error:
        raise DataError(
            "unreadable", f"the headers cannot be searched for what identifies ({type(error).__name__})"
        ) from error
