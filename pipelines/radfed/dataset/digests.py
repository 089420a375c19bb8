"""Digests of content: equal voxels in the same place give the same digest, whatever the file's name or packing."""

import hashlib

import numpy as np

from radfed.imaging.order import in_c_order
from radfed.imaging.volume import Volume

_FLOAT = np.dtype("<f4")


def volume_digest(volume: Volume) -> str:
    """SHA-256 over the float32 voxels, the shape and the affine (to 0.001 mm) of a RAS volume ``(C, H, W, D)``."""
    # NIfTI stores the affine as float32, so it is compared as float32: a digest outlives a round trip to disk.
    affine = np.round(np.asarray(volume.affine, dtype=np.float32).astype(np.float64), 3) + 0.0
    hasher = hashlib.sha256(repr(tuple(volume.array.shape)).encode())
    hasher.update(np.ascontiguousarray(affine, dtype="<f8").tobytes())
    # Block by block: the whole as float32 would be 1 GB for a CT of 1,000 slices.
    for channel in volume.array:
        for block in in_c_order(channel, _FLOAT):
            hasher.update(block.data)
    return hasher.hexdigest()
