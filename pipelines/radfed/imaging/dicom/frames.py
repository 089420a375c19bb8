"""Place, rescale and moment of each frame, from classic attributes or from the functional groups of enhanced ones.

PS3.3 C.7.6.2 (Image Plane), C.7.6.16 (Multi-frame Functional Groups), C.8.13 (Enhanced MR), C.8.15 (Enhanced CT).
"""

from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword

from radfed.imaging.dicom.elements import Elements


@dataclass(frozen=True, slots=True)
class Frame:
    """What distinguishes one frame of an instance; a classic file has one.

    Attributes:
        position: centre of the first pixel (LPS, mm).
        orientation: direction cosines of the rows, then of the columns (LPS).
        pixel_spacing: distance between rows, and between columns (mm).
        thickness: nominal slice thickness (mm).
        between: SpacingBetweenSlices as written (mm); vendors disagree about it, so it proves nothing.
        slope: with ``intercept``, stored values to units of the modality; None where the header gives none.
        image_type: ImageType or FrameType, and for enhanced MR the complex image component.
        stack, temporal, acquisition, echo, b_value, trigger, time: what volumes at one place may differ by.
    """

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    thickness: float | None
    between: float | None
    slope: float | None
    intercept: float | None
    image_type: tuple[str, ...]
    stack: str
    temporal: int | None
    acquisition: int | None
    echo: float | None
    b_value: float | None
    trigger: float | None
    time: str


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return int(tag)


_POSITION = _tag("ImagePositionPatient")
_ORIENTATION = _tag("ImageOrientationPatient")
_SPACING = _tag("PixelSpacing")
_THICKNESS = _tag("SliceThickness")
_BETWEEN = _tag("SpacingBetweenSlices")
_SLOPE = _tag("RescaleSlope")
_INTERCEPT = _tag("RescaleIntercept")
_TEMPORAL = _tag("TemporalPositionIdentifier")
_ACQUISITION = _tag("AcquisitionNumber")
_ECHO = _tag("EchoTime")
_TRIGGER = _tag("TriggerTime")
_DATE = _tag("AcquisitionDate")
_TIME = _tag("AcquisitionTime")
_DATE_TIME = _tag("AcquisitionDateTime")
_B_VALUE = _tag("DiffusionBValue")
_SHARED = _tag("SharedFunctionalGroupsSequence")
_PER_FRAME = _tag("PerFrameFunctionalGroupsSequence")

FRAME_TAGS = (
    *(_POSITION, _ORIENTATION, _SPACING, _THICKNESS, _BETWEEN, _SLOPE, _INTERCEPT, _TEMPORAL, _ACQUISITION, _ECHO),
    *(_TRIGGER, _DATE, _TIME, _DATE_TIME, _B_VALUE, _SHARED, _PER_FRAME),
)
"""The elements that ``read_frames`` looks at."""

_PLANE_POSITION = _tag("PlanePositionSequence")
_PLANE_ORIENTATION = _tag("PlaneOrientationSequence")
_MEASURES = _tag("PixelMeasuresSequence")
_TRANSFORMATION = _tag("PixelValueTransformationSequence")
_CONTENT = _tag("FrameContentSequence")
_FRAME_TYPES = tuple(_tag(f"{kind}FrameTypeSequence") for kind in ("MRImage", "CTImage", "PET"))
_FRAME_TYPE = _tag("FrameType")
_COMPONENT = _tag("ComplexImageComponent")
_STACK = _tag("StackID")
_TEMPORAL_INDEX = _tag("TemporalPositionIndex")
_FRAME_ACQUISITION = _tag("FrameAcquisitionNumber")
_FRAME_TIME = _tag("FrameAcquisitionDateTime")
_MR_ECHO = _tag("MREchoSequence")
_EFFECTIVE_ECHO = _tag("EffectiveEchoTime")
_DIFFUSION = _tag("MRDiffusionSequence")
_CARDIAC = _tag("CardiacSynchronizationSequence")
_NOMINAL_DELAY = _tag("NominalCardiacTriggerDelayTime")


def read_frames(elements: Elements, frames: int, image_type: tuple[str, ...]) -> tuple[Frame, ...]:
    """One ``Frame`` a frame.

    Raises:
        ValueError: the functional groups describe another number of frames than the header promises.
    """
    per_frame = elements.items(_PER_FRAME)
    if not per_frame:
        classic = _classic(elements, image_type)
        if frames == 1:
            return (classic,)
        # Several frames at one place and no functional groups: a loop over time, or no geometry at all.
        return (classic,) * frames
    if len(per_frame) != frames:
        raise ValueError("the functional groups describe another number of frames")
    shared = elements.first(_SHARED)
    return tuple(_enhanced(group, shared, elements, image_type) for group in per_frame)


def _classic(elements: Elements, image_type: tuple[str, ...]) -> Frame:
    return Frame(
        position=elements.numbers(_POSITION, 3),
        orientation=elements.numbers(_ORIENTATION, 6),
        pixel_spacing=elements.numbers(_SPACING, 2),
        thickness=elements.number(_THICKNESS),
        between=elements.number(_BETWEEN),
        slope=elements.number(_SLOPE),
        intercept=elements.number(_INTERCEPT),
        image_type=image_type,
        stack="",
        temporal=elements.integer(_TEMPORAL),
        acquisition=elements.integer(_ACQUISITION),
        echo=elements.number(_ECHO),
        b_value=elements.double(_B_VALUE),
        trigger=elements.number(_TRIGGER),
        time=elements.text(_DATE_TIME) or elements.text(_DATE) + elements.text(_TIME),
    )


def _enhanced(group: Elements, shared: Elements | None, whole: Elements, image_type: tuple[str, ...]) -> Frame:
    """A frame of an enhanced instance: its own group first, then the shared one."""

    def item(tag: int) -> Elements | None:
        return group.first(tag) or (shared.first(tag) if shared is not None else None)

    position, orientation, measures = item(_PLANE_POSITION), item(_PLANE_ORIENTATION), item(_MEASURES)
    values, content, echo = item(_TRANSFORMATION), item(_CONTENT), item(_MR_ECHO)
    diffusion, cardiac = item(_DIFFUSION), item(_CARDIAC)
    kind = next((found for tag in _FRAME_TYPES if (found := item(tag)) is not None), None)
    temporal = content.binary(_TEMPORAL_INDEX, "UL") if content else ()
    acquisition = content.binary(_FRAME_ACQUISITION, "US") if content else ()
    return Frame(
        position=position.numbers(_POSITION, 3) if position else None,
        orientation=orientation.numbers(_ORIENTATION, 6) if orientation else None,
        pixel_spacing=measures.numbers(_SPACING, 2) if measures else None,
        thickness=measures.number(_THICKNESS) if measures else None,
        between=measures.number(_BETWEEN) if measures else None,
        slope=values.number(_SLOPE) if values else None,
        intercept=values.number(_INTERCEPT) if values else None,
        image_type=(kind.texts(_FRAME_TYPE) + kind.texts(_COMPONENT)) if kind else image_type,
        stack=content.text(_STACK) if content else "",
        temporal=temporal[0] if temporal else None,
        acquisition=acquisition[0] if acquisition else whole.integer(_ACQUISITION),
        echo=echo.double(_EFFECTIVE_ECHO) if echo else None,
        b_value=diffusion.double(_B_VALUE) if diffusion else None,
        trigger=cardiac.double(_NOMINAL_DELAY) if cardiac else None,
        time=content.text(_FRAME_TIME) if content else whole.text(_DATE_TIME),
    )
