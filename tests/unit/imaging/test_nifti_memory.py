"""Large scans go through in pieces: neither writing, reading nor digesting holds a second copy of the voxels."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from radfed.dataset.digests import volume_digest
from radfed.imaging import nifti, order
from radfed.imaging.nifti import read_image, to_ras, write_image
from radfed.imaging.volume import Volume

SIDE = 128
VOXELS = SIDE**3


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_BLOCK_BYTES", 2**18)
    monkeypatch.setattr(nifti, "_SLAB_BYTES", 2**18)


def scanned() -> Volume:
    """Slices as a scanner gives them: columns lie side by side, the axes run to L, P, S."""
    slices = np.random.default_rng(0).integers(-1000, 1000, size=(1, SIDE, SIDE, SIDE), dtype=np.int16)
    return Volume(slices.transpose(0, 3, 2, 1), np.diag([-0.7, -0.7, 1.0, 1.0]))


def peak(action: Callable[[], object]) -> int:
    """Most bytes held at once beyond those held before."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_writing_and_digesting_hold_a_fraction_of_the_voxels(tmp_path: Path) -> None:
    volume = scanned()
    assert peak(lambda: write_image(tmp_path / "x.nii.gz", to_ras(volume))) < 2 * VOXELS / 2
    assert peak(lambda: volume_digest(to_ras(volume))) < 2 * VOXELS / 2


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nii"])
def test_reading_holds_what_it_returns(tmp_path: Path, name: str) -> None:
    volume = to_ras(scanned())
    write_image(tmp_path / "x.nii.gz", volume)
    if name == "x.nii":
        (tmp_path / name).write_bytes(gzip.decompress((tmp_path / "x.nii.gz").read_bytes()))
    assert peak(lambda: read_image(tmp_path / name)) < 4 * VOXELS * 1.5
