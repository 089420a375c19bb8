"""NIfTI labels beside DICOM: which file belongs to which series."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from radfed.errors import DataError
from radfed.imaging.objects.grid import same_grid
from radfed.imaging.volume import Volume

KINDS = ("series", "study", "patient", "folder")
"""What a label may be named after, the closest first."""

_SUFFIX = re.compile(r"[_\-.](label|labels|seg|segmentation|mask)$", re.IGNORECASE)


def label_key(path: Path) -> str:
    """What a label file is named after: its name without ``.nii.gz``, ``_label``, ``_seg`` and the like."""
    name = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    return _SUFFIX.sub("", name)


def match_nifti_label(paths: Sequence[Path], volume: Volume, ids: Mapping[str, str]) -> Path | None:
    """Find the label of a series among NIfTI files: by name, else by the grid that it shares.

    A file named after the series is its label, whatever its grid; checks after this refuse a wrong one. After the
    study, the patient or the folder, which may hold several series, only a file on the volume's grid is. A file that
    is named after nothing counts by its grid alone: leave out of ``paths`` the files that are named after other
    series, and give each file that was taken to one series only.

    Args:
        paths: NIfTI files.
        volume: the volume of the series.
        ids: SeriesInstanceUID, StudyInstanceUID, PatientID and folder name under the keys of ``KINDS``.

    Returns:
        The file, or None if no file is the label.

    Raises:
        DataError: ``label_reference``: several files fit equally well.
    """
    for kind in KINDS:
        wanted = ids.get(kind, "")
        named = [path for path in paths if wanted and wanted in (label_key(path), _stem(path))]
        fitting = named if kind == "series" else [path for path in named if _shares_grid(path, volume)]
        if fitting:
            return _only(fitting, f"are named after the {kind}")
    fitting = [path for path in paths if _shares_grid(path, volume)]
    return _only(fitting, "lie on the grid of the series") if fitting else None


def _stem(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def _only(paths: Sequence[Path], why: str) -> Path:
    if len(paths) > 1:
        raise DataError(
            "label_reference",
            f"{len(paths)} label files {why}; name the right one after the series",
        )
    return paths[0]


def _shares_grid(path: Path, volume: Volume) -> bool:
    """Whether a file's header states the voxel positions of a volume; a broken file does not."""
    try:
        image = nib.load(path)
        shape = tuple(int(side) for side in image.shape if side != 1 or len(image.shape) == 3)
        affine = np.asarray(image.affine, dtype=np.float64)
    except (OSError, EOFError, ImageFileError, HeaderDataError, ValueError, KeyError):
        return False
    if len(shape) != 3 or not np.isfinite(affine).all():
        return False
    # A view of one byte: only the shape is wanted, not the memory.
    return same_grid(Volume(np.broadcast_to(np.uint8(0), (1, *shape)), affine), volume)
