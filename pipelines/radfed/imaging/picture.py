"""One picture of any format as a plane: PNG, DICOM (CR, DX, a single slice) or NIfTI of depth 1."""

from pathlib import Path

from radfed.errors import DataError
from radfed.imaging.dicom.radiograph import read_radiograph
from radfed.imaging.nifti import read_image
from radfed.imaging.plane import as_plane, plane
from radfed.imaging.png import SIGNATURE, read_png
from radfed.imaging.volume import Volume

PNG_SUFFIX = ".png"
_NIFTI = (".nii.gz", ".nii")


def read_picture(path: Path) -> Volume:
    """Read a picture as a plane ``(C, columns, rows, 1)``; see ``radfed.imaging.plane``.

    DICOM is told by its content, as its files may have any name. A PNG states no spacing in mm: it gets
    ``NOMINAL_SPACING``, so that only its proportions count.

    Raises:
        DataError: what cannot be read, or is no grey plane, with the code of the reader.
    """
    if path.name.lower().endswith(_NIFTI):
        return as_plane(read_image(path))
    if is_png(path):
        return plane(read_png(path))
    return read_radiograph(path)[0]


def is_png(path: Path) -> bool:
    """Whether a file begins as PNG does, or is named so.

    Raises:
        DataError: ``unreadable``.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE or path.name.lower().endswith(PNG_SUFFIX)
    except OSError as error:
        raise DataError("unreadable", f"the file cannot be opened ({type(error).__name__})") from error
