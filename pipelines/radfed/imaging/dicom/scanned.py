"""A volume as it was scanned, with the frames that it came from."""

from dataclasses import dataclass
from pathlib import Path

from radfed.imaging.volume import Volume

Source = tuple[Path, int] | tuple[()]


@dataclass(frozen=True)
class ScannedVolume:
    """A volume read from DICOM.

    Attributes:
        volume: array ``(C, H, W, D)``: C volumes over time, echo or b-value, H column index, W row index, D slice
            index, so that ``array[c, i, j, k]`` is row j, column i of slice k. int16, int32 or float32; the affine
            gives RAS+ mm.
        sources: ``sources[c][k]`` is the file and the frame (from 0) of a slice; () where it was interpolated or
            resampled.
        steps: what was done beyond plain reading.
    """

    volume: Volume
    sources: tuple[tuple[Source, ...], ...]
    steps: tuple[str, ...] = ()
