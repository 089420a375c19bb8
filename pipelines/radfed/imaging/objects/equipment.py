"""What SEG and SR say of who made them: this software with this task, for research."""

from typing import Any

from radfed.imaging.objects.codes import private_schemes
from radfed.task import SegmentationTask

MANUFACTURER = "radfed"


def equipment(task: SegmentationTask, software_version: str) -> dict[str, Any]:
    """Arguments that highdicom's Segmentation and Comprehensive3DSR share (PS3.3 C.7.5.2, C.12.1)."""
    from highdicom.enum import ContentQualificationValues

    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": task.name,
        "software_versions": software_version,
        "device_serial_number": task.digest[:16],
        "content_qualification": ContentQualificationValues.RESEARCH,
        "coding_schemes": private_schemes(task.labels) or None,
    }
