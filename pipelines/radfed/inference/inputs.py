"""What there is to segment: NIfTI and PNG files and DICOM series, each with the name that its results get."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from radfed.errors import DataError, InvalidInputError
from radfed.imaging.dicom.header import read_header
from radfed.imaging.dicom.index import Index, Series, index_folder, make_index
from radfed.imaging.picture import PNG_SUFFIX
from radfed.inference.dicom_inputs import DicomCase, choose, relative_name, unique_names
from radfed.task import SegmentationTask

NIFTI_SUFFIXES = (".nii.gz", ".nii")
_SUFFIXES = (*NIFTI_SUFFIXES, PNG_SUFFIX)


@dataclass(frozen=True)
class Input:
    """One case, or one thing that is none.

    Attributes:
        name: for people: of a NIfTI or PNG file its own, else what the results are called.
        stem: name of the results without suffix, unique in the list.
        content: a NIfTI or PNG file, DICOM series (one a channel), or why it cannot be segmented.
        warnings: what people should know about the choice.
    """

    name: str
    stem: str
    content: Path | tuple[Series, ...] | DataError
    warnings: tuple[str, ...] = ()


def find_inputs(source: Path, out: Path, task: SegmentationTask) -> list[Input]:
    """Everything in a file or folder that may be a case of the task, ordered by name.

    NIfTI files, and for a task of 2 dimensions PNG files, are looked for in the folder itself, DICOM files in the
    whole tree.

    Raises:
        InvalidInputError: there is nothing, or results would be written among the inputs.
    """
    suffixes = _SUFFIXES if task.dimensions == 2 else NIFTI_SUFFIXES
    files = _named_files(source, suffixes)
    index = index_folder(source) if source.is_dir() else make_index([] if files else [read_header(source)])
    if not files and not (index.series or index.broken or index.archives):
        objects = f" but {len(index.objects)} DICOM object(s) that are no images" if index.objects else ""
        kinds = " or ".join(reversed(suffixes))
        raise InvalidInputError(
            f"{source}: holds no scan{objects}; give a {kinds} file, a DICOM file, or a folder of them"
        )
    scans = [*files, *(instance.path for series in index.series for instance in series.instances)]
    if out.resolve() in {path.parent.resolve() for path in scans}:
        raise InvalidInputError(f"{out}: is where the input lies, masks would replace images; give another --out")
    found = [*_file_inputs(files), *_dicom_inputs(source, index, task, {_stem(path) for path in files})]
    return sorted(found, key=lambda one: one.name)


def _named_files(source: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if source.is_dir():
        # Names with a leading dot are a system's own: macOS keeps its '._' files beside every image.
        there = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
        return sorted(path for path in there if path.name.lower().endswith(suffixes))
    if not source.is_file():
        raise InvalidInputError(f"{source}: is neither a file nor a folder")
    return [source] if source.name.lower().endswith(suffixes) else []


def _stem(path: Path) -> str:
    suffix = next(suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix))
    return path.name[: -len(suffix)]


def _file_inputs(files: list[Path]) -> Iterable[Input]:
    counts = Counter(_stem(path) for path in files)
    for path in files:
        stem = _stem(path)
        same = DataError("same_name", f"another input would be written to {stem}.nii.gz too; rename one of them")
        yield Input(path.name, stem, path if counts[stem] == 1 else same)


def _dicom_inputs(source: Path, index: Index, task: SegmentationTask, taken: set[str]) -> Iterable[Input]:
    unread = [DicomCase((one.path,), DataError(one.reason, one.message)) for one in index.broken]
    packed = DataError("archive", "a packed archive, whose content was not looked at; unpack it")
    cases = [*choose(index.series, task), *unread, *(DicomCase((path,), packed) for path in index.archives)]
    wanted = [(relative_name(source, case.files), case.number) for case in cases]
    for case, name in zip(cases, unique_names(wanted, taken), strict=True):
        yield Input(name, name, case.content, case.warnings)
