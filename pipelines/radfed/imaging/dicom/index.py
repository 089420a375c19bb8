"""An index of DICOM files: series that may be read as volumes, other objects, and what is broken or foreign."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from radfed.imaging.dicom.grouping import Slice, split
from radfed.imaging.dicom.header import Broken, Instance, read_header

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_NIFTI = (".nii", ".nii.gz")
_OBJECTS = {
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
    "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
}
"""What has pixels and is still no image."""
_OBJECT_MODALITIES = {"SEG", "RTDOSE"}


@dataclass(frozen=True)
class Series:
    """Images that should make one volume, or one volume over time.

    Attributes:
        id: unique in its index, and the same wherever the files lie and whatever they are called:
            SeriesInstanceUID, or where that is empty a digest; ``<id>#2`` for a further part of the same series.
        instances: sorted by SOPInstanceUID and digest, exact duplicates dropped.
        frame_numbers: for each instance the frames (from 0) that belong here; None for all of them.
    """

    id: str
    instances: tuple[Instance, ...]
    frame_numbers: tuple[tuple[int, ...], ...] | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the instances' digests, and over the chosen frames."""
        chosen: Iterable[tuple[int, ...] | str] = self.frame_numbers or [""] * len(self.instances)
        lines = sorted(f"{instance.digest} {frames}" for instance, frames in zip(self.instances, chosen, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """Every frame of the series."""
        chosen = self.frame_numbers or [range(len(instance.details)) for instance in self.instances]
        return tuple(
            Slice(instance, number)
            for instance, numbers in zip(self.instances, chosen, strict=True)
            for number in numbers
        )

    @property
    def first(self) -> Instance:
        """The instance that speaks for all."""
        return self.instances[0]

    @property
    def study(self) -> str:
        """StudyInstanceUID."""
        return self.first.study

    @property
    def uid(self) -> str:
        """SeriesInstanceUID, "" if the files have none."""
        return self.first.series

    @property
    def patient(self) -> str:
        """PatientID."""
        return self.first.patient

    @property
    def modality(self) -> str:
        """Modality."""
        return self.first.modality

    @property
    def description(self) -> str:
        """SeriesDescription."""
        return self.first.series_description

    @property
    def number(self) -> int | None:
        """SeriesNumber."""
        return self.first.series_number

    @property
    def manufacturer(self) -> str:
        """Manufacturer."""
        return self.first.manufacturer

    @property
    def model(self) -> str:
        """ManufacturerModelName."""
        return self.first.model

    @property
    def phantom(self) -> bool:
        """Whether QualityControlImage says that it shows a phantom, not a patient."""
        return self.first.quality_control == "YES"

    @property
    def slice_thickness(self) -> float | None:
        """Nominal, of the first slice (mm)."""
        return self.slices[0].frame.thickness


@dataclass(frozen=True)
class Index:
    """Everything that was found.

    Attributes:
        series: images, sorted by id.
        objects: segmentations, structure sets, reports and all else that is no image, sorted.
        broken: files that look like DICOM and cannot be read.
        archives: packed files, which are not looked into.
        foreign: how many files are no DICOM.
        duplicates: how many exact copies were dropped.
    """

    series: tuple[Series, ...]
    objects: tuple[Instance, ...]
    broken: tuple[Broken, ...]
    archives: tuple[Path, ...]
    foreign: int
    duplicates: int


def index_folder(folder: Path) -> Index:
    """Read every header below a folder, one after another."""
    return make_index((read_header(path) for path in dicom_files(folder)), archives(folder))


def dicom_files(folder: Path) -> list[Path]:
    """Every file that may be DICOM, sorted: none that is hidden, packed, NIfTI, a DICOMDIR, or outside the folder."""
    return sorted(
        path
        for path in files_below(folder)
        if not path.name.lower().endswith((*_ARCHIVES, *_NIFTI)) and path.name.upper() != "DICOMDIR"
    )


def archives(folder: Path) -> list[Path]:
    """Packed files that are no NIfTI, sorted."""
    return sorted(
        path for path in files_below(folder) if path.name.lower().endswith(_ARCHIVES) and not path.name.endswith(_NIFTI)
    )


def make_index(headers: Iterable[Instance | Broken | None], archives: Iterable[Path] = ()) -> Index:
    """Sort headers into series, other objects and the rest."""
    images: list[Instance] = []
    objects: list[Instance] = []
    broken: list[Broken] = []
    foreign = 0
    for header in headers:
        match header:
            case Instance():
                (images if is_image(header) else objects).append(header)
            case Broken():
                broken.append(header)
            case None:
                foreign += 1
    kept, image_copies = _without_copies(images)
    others, object_copies = _without_copies(objects)
    return Index(
        series=_series(kept),
        objects=tuple(others),
        broken=tuple(sorted(broken, key=lambda one: one.path)),
        archives=tuple(sorted(archives)),
        foreign=foreign,
        duplicates=image_copies + object_copies,
    )


def is_image(instance: Instance) -> bool:
    """Whether an instance is a picture of the patient, and no label, dose, report or document."""
    is_object = instance.sop_class in _OBJECTS or instance.modality in _OBJECT_MODALITIES
    return bool(instance.details) and not is_object


def files_below(folder: Path) -> Iterator[Path]:
    """Every file of a tree, but what is hidden, and links that lead out of it."""
    root = folder.resolve()
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent, name)
            if name.startswith(".") or (path.is_symlink() and not path.resolve().is_relative_to(root)):
                continue
            if path.is_file():
                yield path


def _series(images: list[Instance]) -> tuple[Series, ...]:
    named: dict[str, list[Instance]] = defaultdict(list)
    for instance in images:
        named[instance.series or _substitute(instance)].append(instance)
    series = []
    for name, instances in named.items():
        for number, part in enumerate(split(instances), start=1):
            series.append(_part(name if number == 1 else f"{name}#{number}", part))
    return tuple(sorted(series, key=lambda one: one.id))


def _part(name: str, part: list[Slice]) -> Series:
    """The series of some frames."""
    frames: dict[str, list[int]] = defaultdict(list)
    instances = {one.instance.digest: one.instance for one in part}
    for one in part:
        frames[one.instance.digest].append(one.number)
    ordered = sorted(instances.values(), key=_order)
    whole = all(len(frames[one.digest]) == len(one.details) for one in ordered)
    chosen = None if whole else tuple(tuple(sorted(frames[one.digest])) for one in ordered)
    return Series(name, tuple(ordered), chosen)


def _order(instance: Instance) -> tuple[str, str]:
    return instance.sop_instance, instance.digest


def _substitute(instance: Instance) -> str:
    """A stable name for a series whose UID was removed."""
    parts = (instance.study, instance.patient, instance.modality, instance.series_number)
    text = repr((*parts, instance.series_description, instance.protocol, instance.frame_of_reference))
    return f"unnamed-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _without_copies(instances: list[Instance]) -> tuple[list[Instance], int]:
    """Instances in a fixed order, each once: by digest, then by UID where header and pixels are the same."""
    by_digest: dict[str, Instance] = {}
    for instance in sorted(instances, key=lambda one: (one.digest, one.path)):
        by_digest.setdefault(instance.digest, instance)
    kept: dict[object, Instance] = {}
    for instance in by_digest.values():
        same = replace(instance, path=Path(), digest="", pixel_offset=0, transfer_syntax="")
        known = instance.sop_instance and instance.content
        kept.setdefault(same if known else instance.digest, instance)
    return sorted(kept.values(), key=_order), len(instances) - len(kept)
