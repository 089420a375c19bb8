"""What reading may do to voxels. All of it is off: a volume is as it was scanned, or refused."""

from typing import Annotated

from pydantic import Field

from radfed.settings import Settings
from radfed.task import SegmentationTask


class ReadOptions(Settings):
    """Explicit permissions; each one that was used is recorded in the case."""

    interpolate_gaps: Annotated[int, Field(ge=0, le=5)] = Field(
        default=0, description="Missing slices in a row that may be interpolated linearly; 0 refuses the series"
    )
    correct_tilt: bool = Field(default=False, description="Whether a tilted gantry's shear may be resampled away")
    dcm2niix: bool = Field(
        default=False, description="Whether mosaics may be read by dcm2niix; its output is checked against the headers"
    )
    min_slices: Annotated[int, Field(ge=1)] = Field(
        default=2, description="Fewer slices are no volume; of two, the header must state the distance as well"
    )

    def of(self, task: SegmentationTask | None) -> "ReadOptions":
        """The same for a task's series: one of 2 dimensions takes single slices too."""
        return self.model_copy(update={"min_slices": 1}) if task is not None and task.dimensions == 2 else self
