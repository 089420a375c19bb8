"""What there is to judge for an outcome task: pictures or volumes, each with the name that its answer gets."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from radfed.dataset.channels import one_image
from radfed.errors import DataError, InvalidInputError
from radfed.imaging.dicom.header import Instance, read_header
from radfed.imaging.dicom.index import Index, Series, index_folder, make_index
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import read_series
from radfed.imaging.dicom.selection import mismatch, single
from radfed.imaging.nifti import read_image
from radfed.imaging.picture import PNG_SUFFIX, read_picture
from radfed.imaging.plausibility import check_depth, check_geometry
from radfed.imaging.volume import Volume
from radfed.inference.dicom_inputs import DicomCase, choose, relative_name, unique_names
from radfed.inference.inputs import NIFTI_SUFFIXES
from radfed.task import Channel, ImageInput, OutcomeTask

_SUFFIXES = (*NIFTI_SUFFIXES, PNG_SUFFIX)
_REASONS = 3


@dataclass(frozen=True)
class PictureInput:
    """One case, or one thing that is none.

    Attributes:
        name: for people: of a PNG or NIfTI file its own, else as ``case``.
        case: what the answer stands under, unique in the list: the file's name without suffix.
        content: a file of one picture or NIfTI volume, DICOM series (one a channel), or why there is no image.
        warnings: what people should know about the choice.
    """

    name: str
    case: str
    content: Path | tuple[Series, ...] | DataError
    warnings: tuple[str, ...] = ()


def find_pictures(source: Path, task: OutcomeTask) -> list[PictureInput]:
    """Everything in a file or folder that may be a case of the task, ordered by name.

    PNG and NIfTI files are looked for in the folder itself, DICOM files in the whole tree. Of a task of planes each
    DICOM image is a case of its own; images of a study that the channel's rule does not take are left out where it
    takes another one of that study.

    Raises:
        InvalidInputError: there is nothing, or the task has no image.
    """
    wanted = _image(task)
    files = _files(source)
    named = [] if source.is_dir() or files else [source]
    index = index_folder(source) if source.is_dir() else make_index(read_header(path) for path in named)
    if not files and not (index.series or index.broken or index.archives):
        objects = f" but {len(index.objects)} DICOM object(s) that are no images" if index.objects else ""
        raise InvalidInputError(
            f"{source}: holds no image{objects}; give a .png, .nii, .nii.gz or DICOM file, or a folder of them"
        )
    found = [*_file_inputs(files, wanted), *_dicom_inputs(source, index, wanted, {_stem(path) for path in files})]
    return sorted(found, key=lambda one: one.name)


def read_input(one: PictureInput, task: OutcomeTask, reading: ReadOptions = ReadOptions()) -> Volume:  # noqa: B008 - frozen
    """The image of a case.

    Returns:
        ``(C, H, W, D)`` with its affine, a plane with D = 1.

    Raises:
        DataError: there is none, it cannot be read, or it is outside the task's limits.
    """
    wanted = _image(task)
    match one.content:
        case DataError() as error:
            raise error
        case Path() as path:
            volume = read_picture(path) if wanted.dimensions == 2 else read_image(path)
            if path.name.lower().endswith(PNG_SUFFIX):
                check_depth(volume, wanted.intensity)
        case series:
            volume = one_image([read_series(part, reading).volume for part in series], wanted)
    check_geometry(volume, wanted.limits)
    return volume


def _image(task: OutcomeTask) -> ImageInput:
    if task.image is None:
        raise InvalidInputError(f"the task {task.name} takes no image; give a table of its covariates")
    return task.image


def _files(source: Path) -> list[Path]:
    """PNG and NIfTI files."""
    if source.is_dir():
        # Names with a leading dot are a system's own: macOS keeps its '._' files beside every image.
        there = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    elif source.is_file():
        there = [source]
    else:
        raise InvalidInputError(f"{source}: is neither a file nor a folder")
    return sorted(path for path in there if path.name.lower().endswith(_SUFFIXES))


def _stem(path: Path) -> str:
    suffix = next(suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix))
    return path.name[: -len(suffix)]


def _file_inputs(files: Sequence[Path], wanted: ImageInput) -> Iterable[PictureInput]:
    counts = Counter(_stem(path) for path in files)
    for path in files:
        case = _stem(path)
        content: Path | DataError = path
        if counts[case] > 1:
            content = DataError("same_name", f"several inputs are called {case}; rename one of them")
        elif wanted.dimensions == 3 and path.name.lower().endswith(PNG_SUFFIX):
            content = DataError("not_a_volume", "a PNG picture is one plane, the task needs volumes")
        yield PictureInput(path.name, case, content)


def _dicom_inputs(source: Path, index: Index, wanted: ImageInput, taken: set[str]) -> Iterable[PictureInput]:
    unread = [DicomCase((one.path,), DataError(one.reason, one.message)) for one in index.broken]
    packed = DataError("archive", "a packed archive, whose content was not looked at; unpack it")
    archives = [DicomCase((path,), packed) for path in index.archives]
    cases = [*(_planes(index, wanted) if wanted.dimensions == 2 else choose(index.series, wanted)), *unread, *archives]
    numbered = [(relative_name(source, case.files), case.number) for case in cases]
    for case, name in zip(cases, unique_names(numbered, taken), strict=True):
        a_plane = wanted.dimensions == 2 and not isinstance(case.content, DataError)
        yield PictureInput(name, name, case.files[0] if a_plane else case.content, case.warnings)


def _planes(index: Index, wanted: ImageInput) -> list[DicomCase]:
    """Each image that the channel's rule takes; of a study without one every image, with the reason."""
    images = [Series(one.id, (instance,)) for one in index.series for instance in one.instances]
    channel = single(wanted.channels[0])
    if len(images) == 1:
        return [_only(images[0], channel)]
    studies: dict[tuple[str, str], list[Series]] = {}
    for one in images:
        studies.setdefault((one.patient, one.study), []).append(one)
    return [case for members in studies.values() for case in _of_study(members, channel)]


def _only(image: Series, channel: Channel) -> DicomCase:
    """The only image is meant, whatever the rule says besides its modality."""
    why = mismatch(image, channel)
    if why and channel.modality not in ("OT", image.modality):
        return _case(image, _no_match(why))
    return _case(
        image, (image,), (f"taken as the only image, though the rule would not choose it: {why}",) if why else ()
    )


def _of_study(members: Sequence[Series], channel: Channel) -> list[DicomCase]:
    reasons = [mismatch(one, channel) for one in members]
    fitting = [one for one, why in zip(members, reasons, strict=True) if why is None]
    if fitting:
        return [_case(one, (one,)) for one in fitting]
    return [_case(one, _no_match(str(why))) for one, why in zip(members, reasons, strict=True)]


def _case(image: Series, content: tuple[Series, ...] | DataError, warnings: tuple[str, ...] = ()) -> DicomCase:
    instance: Instance = image.first
    return DicomCase((instance.path,), content, instance.instance_number, warnings)


def _no_match(why: str) -> DataError:
    return DataError("no_matching_series", f"the image does not fit the task: {why}")
