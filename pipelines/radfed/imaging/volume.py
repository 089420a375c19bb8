"""A volume in the world: an array, and the affine that says where its voxels are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Volume:
    """Channels of one case on one grid.

    Attributes:
        array: voxels ``(C, H, W, D)``.
        affine: ``(4, 4)`` float64, voxel index to RAS+ world coordinates in mm.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three spatial axes."""
        height, width, depth = self.array.shape[-3:]
        return height, width, depth

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each array axis (mm)."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel (mm^3)."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))
