"""Find the cases of a source folder: pairs of image and label, and what has no partner.

Known arrangements: MSD (``imagesTr/``, ``labelsTr/``, with or without ``dataset.json``), ``images/`` and
``labels/``, and a flat folder in which labels end in ``_label``, ``_seg`` or ``_mask``. Files are matched by stem;
nnU-Net's channel suffixes (``_0000``) are understood. Files in ``bad_samples/`` are strays: listed, never paired.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radfed.errors import InvalidInputError

Place = Literal["image", "label", "stray"]

ENDINGS = (".nii.gz", ".nii")
FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"))
STRAYS = "bad_samples"
_CHANNEL = re.compile(r"^(?P<base>.+)_(?P<channel>\d{4})$")
_FLAT_LABEL = re.compile(r"^(?P<base>.+)[_-](label|labels|seg|mask)$", re.IGNORECASE)
_FLAT_IMAGE = re.compile(r"^(?P<base>.+)[_-](image|img)$", re.IGNORECASE)


@dataclass(frozen=True)
class SourceCase:
    """What a source holds under one id.

    Attributes:
        id: raw id, unique in the source; never leaves the site.
        images: one file a channel in channel order, or one file of one or more channels; empty without an image.
        label: the label, if there is one.
        place: where the files lay; ``stray`` says that the folder does not tell images from labels.
        channels: the channel numbers of the file names, empty without channel suffixes.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None
    place: Place = "image"
    channels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Source:
    """The cases of a folder, sorted by id.

    Attributes:
        cases: pairs and what has no partner.
        phantom: the source's ``dataset.json`` says that the data are made up.
        label_names: names of label values from the source's ``dataset.json``.
    """

    cases: tuple[SourceCase, ...]
    phantom: bool
    label_names: dict[int, str]

    @property
    def labelled(self) -> bool:
        """Whether any label was found."""
        return any(case.label is not None for case in self.cases)


def find_cases(folder: Path, channels: int = 1) -> Source:
    """List a folder's cases.

    Args:
        folder: the source.
        channels: how many channels a case has; decides whether ``_0000`` is a channel where no label says so.

    Raises:
        InvalidInputError: the folder is missing, holds no NIfTI file, or its ``dataset.json`` is broken.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: is not a folder; give the folder that holds the images")
    content = _datalist(folder)
    images, labels = _by_folder(folder)
    listed, images, labels = _listed(folder, content, images, labels)
    matched = _match(images, labels, channels)
    strays = [SourceCase(f"{STRAYS}/{path.name}", (path,), None, "stray") for path in _nifti_files(folder / STRAYS)]
    cases = _unique([*listed, *matched, *strays])
    if not cases:
        raise InvalidInputError(
            f"{folder}: holds no case; expected .nii or .nii.gz files in imagesTr/ and labelsTr/, in images/ and "
            "labels/, or in the folder itself"
        )
    return Source(cases, _is_phantom(content), _label_names(content))


def stem(path: Path) -> str:
    """File name without ``.nii`` or ``.nii.gz``."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def _nifti_files(folder: Path) -> list[Path]:
    """NIfTI files of a folder, sorted; names that begin with a dot are a system's leftovers."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.lower().endswith(ENDINGS) and not path.name.startswith(".")
    )


def _by_folder(folder: Path) -> tuple[dict[Path, str], dict[Path, str]]:
    """Images and labels with the stem that each is matched by."""
    for image_name, label_name in FOLDERS:
        images, labels = _nifti_files(folder / image_name), _nifti_files(folder / label_name)
        if images or labels:
            return {path: stem(path) for path in images}, {path: stem(path) for path in labels}
    flat_images: dict[Path, str] = {}
    flat_labels: dict[Path, str] = {}
    for path in _nifti_files(folder):
        if found := _FLAT_LABEL.match(stem(path)):
            flat_labels[path] = found["base"]
        else:
            named = _FLAT_IMAGE.match(stem(path))
            flat_images[path] = named["base"] if named else stem(path)
    return flat_images, flat_labels


def _listed(
    folder: Path, content: dict[str, object], images: dict[Path, str], labels: dict[Path, str]
) -> tuple[list[SourceCase], dict[Path, str], dict[Path, str]]:
    """Pairs that ``dataset.json`` names although stems or folders differ, and the files left to match by stem.

    A pair of which no file is there is listed too, so that an incomplete copy shows.
    """
    cases = []
    used: set[Path] = set()
    for image_name, label_name in (
        pair for key in ("training", "validation", "test") for pair in _entries(content, key)
    ):
        image, label = _inside(folder, image_name), _inside(folder, label_name)
        if (image in images) != (label in labels) or (image in images and images[image] == labels[label]):
            continue  # found, or found to lack its partner, by stem
        cases.append(SourceCase(stem(image), (image,), label))
        used |= {image, label}
    return (
        cases,
        {path: name for path, name in images.items() if path not in used},
        {path: name for path, name in labels.items() if path not in used},
    )


def _match(images: dict[Path, str], labels: dict[Path, str], channels: int) -> list[SourceCase]:
    """Match images and labels by stem, taking channel files together."""
    label_of: dict[str, Path] = {}
    cases = []
    for path, name in labels.items():
        if name in label_of:  # x.nii beside x.nii.gz: which one holds cannot be told
            cases.append(SourceCase(path.name, (), path, "label"))
        else:
            label_of[name] = path
    groups, single = _channel_groups(images, label_of, channels)
    for name, members in groups.items():
        numbers = tuple(sorted(members))
        files = tuple(members[number] for number in numbers)
        cases.append(SourceCase(name, files, label_of.pop(name, None), channels=numbers))
    for path, name in single:
        cases.append(SourceCase(name, (path,), label_of.pop(name, None)))
    cases.extend(SourceCase(name, (), path, "label") for name, path in label_of.items())
    return cases


def _channel_groups(
    images: dict[Path, str], label_of: dict[str, Path], channels: int
) -> tuple[dict[str, dict[int, Path]], list[tuple[Path, str]]]:
    """Images whose name ends in a channel number, by case; and the others."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    single: list[tuple[Path, str]] = []
    for path, name in images.items():
        match = _CHANNEL.match(name)
        # A label of the full name proves that the number belongs to the case's id.
        if match is None or name in label_of or int(match["channel"]) in found[match["base"]]:
            single.append((path, name))
        else:
            found[match["base"]][int(match["channel"])] = path
    groups = {}
    for base, members in found.items():
        if base in label_of or sorted(members) == list(range(channels)):
            groups[base] = members
        else:
            single.extend((path, images[path]) for path in members.values())
    return groups, sorted(single)


def _unique(cases: Iterable[SourceCase]) -> tuple[SourceCase, ...]:
    """Cases sorted by id; an id that occurs again takes its file's full name."""
    seen: dict[str, SourceCase] = {}
    for case in cases:
        file = case.images[0] if case.images else case.label
        name = case.id
        if name in seen and file is not None:
            name = f"{file.parent.name}/{file.name}"
        seen[name] = SourceCase(name, case.images, case.label, case.place, case.channels)
    return tuple(seen[name] for name in sorted(seen))


def _datalist(folder: Path) -> dict[str, object]:
    """The source's ``dataset.json``, or nothing."""
    path = folder / "dataset.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path}: is not valid JSON ({error}); mend it or take it away") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path}: must be a JSON object, got {type(content).__name__}; mend it or take it away")
    return content


def _entries(content: dict[str, object], key: str) -> list[tuple[str, str]]:
    """The pairs that a list of ``dataset.json`` names."""
    items = content.get(key)
    return [
        (item["image"], item["label"])
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict) and isinstance(item.get("image"), str) and isinstance(item.get("label"), str)
    ]


def _inside(folder: Path, relative: str) -> Path:
    """The path of a file that ``dataset.json`` lists, which must lie in the folder."""
    path = folder.joinpath(*[part for part in Path(relative).parts if part != "."])
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidInputError(f"dataset.json lists {relative!r}, which is outside the source folder; take it out")
    return path


def _is_phantom(content: dict[str, object]) -> bool:
    return content.get("phantom") is True or "PHANTOM" in str(content.get("description", ""))


def _label_names(content: dict[str, object]) -> dict[int, str]:
    """Names by label value; both MSD's {"1": "name"} and nnU-Net's {"name": 1} are in use."""
    labels = content.get("labels")
    names: dict[int, str] = {}
    for key, value in (labels if isinstance(labels, dict) else {}).items():
        number, name = (key, value) if str(key).isdigit() else (value, key)
        if str(number).isdigit() and isinstance(name, str) and int(number) != 0:
            names[int(number)] = name
    return names
