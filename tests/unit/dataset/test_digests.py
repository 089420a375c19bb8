import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from radfed.dataset.digests import volume_digest
from radfed.imaging import order
from radfed.imaging.nifti import to_ras
from radfed.imaging.volume import Volume


def at_once(volume: Volume) -> str:
    """The digest's definition, without blocks."""
    affine = np.round(np.asarray(volume.affine, dtype=np.float32).astype(np.float64), 3) + 0.0
    content = repr(tuple(volume.array.shape)).encode() + affine.astype("<f8").tobytes("C")
    return hashlib.sha256(content + volume.array.astype("<f4").tobytes("C")).hexdigest()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, ">i2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_digest_by_blocks_is_the_digest_of_the_whole(
    dtype: type, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "_BLOCK_BYTES", 600)
    array: NDArray[np.generic] = np.random.default_rng(1).integers(0, 200, size=(channels, 7, 6, 9)).astype(dtype)
    slices = np.ascontiguousarray(array.transpose(0, 3, 2, 1)).transpose(0, 3, 2, 1)
    affine = np.diag([-1.5, -1.5, 3.0, 1.0])
    for volume in (Volume(array, affine), Volume(slices, affine), to_ras(Volume(slices, affine))):
        assert volume_digest(volume) == at_once(volume)
