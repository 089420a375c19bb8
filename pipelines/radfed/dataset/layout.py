"""The prepared dataset on disk: ``dataset.json``, ``cases.jsonl``, ``quarantine.jsonl``, ``images/``, ``labels/``."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from radfed.dataset.splits import SPLITS, SplitName
from radfed.errors import DataError, InvalidInputError
from radfed.imaging.nifti import read_image, read_label
from radfed.imaging.volume import Volume
from radfed.settings import Settings, explain

DATALIST, CASES, QUARANTINE = "dataset.json", "cases.jsonl", "quarantine.jsonl"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Sex = Literal["F", "M", "O"]
AgeBand = Literal["under 18", "18 to 39", "40 to 59", "60 to 74", "75 and over"]
"""Years."""
Projection = Literal["PA", "AP", "LL", "RL", "LATERAL", "CC", "MLO", "ML", "LM"]


class Scanner(Settings):
    """What made a scan, as far as it helps to see why sites differ."""

    manufacturer: str = ""
    model: str = ""
    field_strength: float | None = Field(default=None, description="Tesla")


class Observed(Settings):
    """How long somebody was watched, and whether the event came at the end of it or not yet (censored)."""

    time: Annotated[float, Field(ge=0)] = Field(description="In the unit that the task's outcome names")
    event: bool


Outcome = str | tuple[str, ...] | Observed
"""What became of a case: the name of its class, the findings that are there, or the time to an event."""


class Case(Settings):
    """One line of ``cases.jsonl``: a case under its pseudonym. Axes are RAS, lengths mm."""

    id: Annotated[str, Field(pattern=r"^case-[0-9a-f]{12}$")] = Field(description="Pseudonym of the case")
    patient: Annotated[str, Field(pattern=r"^pat-[0-9a-f]{12}$")] = Field(description="Pseudonym of the patient")
    split: SplitName
    image: Annotated[str, Field(pattern=r"^images/[a-z0-9-]+\.nii\.gz$")] | None = Field(
        default=None, description="Relative path; none of a case that is a record alone"
    )
    label: Annotated[str, Field(pattern=r"^labels/[a-z0-9-]+\.nii\.gz$")] | None = Field(
        default=None, description="Relative path"
    )
    digest: Digest = Field(description="SHA-256 of the image's voxels, shape and affine in RAS, and of the record")
    image_digest: Digest | None = Field(default=None, description="Of the image alone, where there is a record too")
    label_digest: Digest | None = Field(default=None, description="The same of the label")
    channels: Annotated[int, Field(ge=0)] = Field(default=1, description="Of the image; 0 without one")
    size: tuple[int, int, int] | None = Field(default=None, description="Voxels along R, A, S")
    spacing: tuple[float, float, float] | None = Field(default=None, description="Voxel spacing along R, A, S (mm)")
    source_orientation: str = Field(default="", description="Axis codes of the file that was ingested, such as LPS")
    label_volumes: dict[int, float] = Field(default={}, description="Volume per label value (mm^3)")
    modality: str = Field(default="", description="DICOM Modality, empty for NIfTI")
    scanner: Scanner | None = Field(default=None, description="From DICOM headers")
    sex: Sex | None = Field(default=None, description="DICOM PatientSex; null where it is not of the list")
    age_band: AgeBand | None = Field(default=None, description="Of DICOM PatientAge (years); never the age itself")
    projection: Projection | None = Field(default=None, description="DICOM ViewPosition; null if not of the list")
    steps: tuple[str, ...] = Field(
        default=(), description="What was done to the voxels on the way, such as an interpolated gap; mostly nothing"
    )
    defaced: bool | None = Field(default=None, description="False for a head whose face is in the voxels")
    covariates: dict[str, float | str] = Field(
        default={}, description="By the task's name, in the task's unit; what is missing is not there"
    )
    outcome: Outcome | None = Field(
        default=None, description="Name of the class, names of the findings, or time and event"
    )
    qc: Literal["passed"] = Field(default="passed", description="A case that did not pass is in quarantine.jsonl")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        there = [self.image is not None, self.size is not None, self.spacing is not None, self.channels > 0]
        if len(set(there)) > 1:
            raise ValueError("image, size, spacing and channels must be there together, or none of them")
        if self.image is None and (self.label is not None or not (self.covariates or self.outcome is not None)):
            raise ValueError("a case without an image must have a record, and no label")
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """Relative paths of the case's files."""
        return tuple(relative for relative in (self.image, self.label) if relative is not None)

    @property
    def has_record(self) -> bool:
        """Whether there is more to the case than an image and its label."""
        return bool(self.covariates) or self.outcome is not None

    @property
    def pixels(self) -> str | None:
        """SHA-256 of the image alone, None without one: two cases with the same are the same image."""
        return None if self.image is None else self.image_digest or self.digest


class Quarantined(Settings):
    """One line of ``quarantine.jsonl``: what was refused and why, free of identifiers and paths."""

    id: str = Field(description="Pseudonym of the case")
    reason: str = Field(description="Stable reason code, see radfed.dataset.checks.REASONS")
    detail: str


class Datalist(Settings):
    """``dataset.json``: a MONAI/MSD style datalist."""

    name: str
    description: str
    site: str
    task: str = Field(default="", description="Name of the task, empty if none was given")
    phantom: bool = Field(default=False, description="True for made-up data")
    labels: dict[str, str]
    channels: dict[str, str]
    training: tuple[dict[str, str], ...]
    validation: tuple[dict[str, str], ...]
    test: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset.

    Attributes:
        root: its folder.
        site: the site that prepared it.
        task: name of the task it was checked against, or empty.
        cases: all cases, ordered by digest.
        phantom: True for made-up data.
    """

    root: Path
    site: str
    task: str
    cases: tuple[Case, ...]
    phantom: bool = False

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read a dataset's lists; voxels are read on demand.

        Raises:
            InvalidInputError: the folder is no prepared dataset, or a line of it is broken.
        """
        if not (root / DATALIST).is_file() or not (root / CASES).is_file():
            raise InvalidInputError(
                f"{root}: is not a prepared dataset ({DATALIST} and {CASES} are not both there); "
                "make one with radfed ingest"
            )
        datalist = read_datalist(root)
        cases = []
        for number, line in enumerate((root / CASES).read_text(encoding="utf-8").splitlines(), start=1):
            source = f"{CASES} line {number}"
            try:
                cases.append(Case.model_validate_json(line))
            except ValidationError as error:
                raise InvalidInputError(explain(error, Case, source)) from error
        cases.sort(key=lambda case: case.digest)
        return cls(root, datalist.site, datalist.task, tuple(cases), datalist.phantom)

    def split(self, name: SplitName) -> tuple[Case, ...]:
        """The cases of one split, ordered by digest: no name or secret of the site plays into the order."""
        if name not in SPLITS:
            raise InvalidInputError(f"unknown split {name!r}; allowed: {', '.join(SPLITS)}")
        return tuple(case for case in self.cases if case.split == name)

    def image(self, case: Case) -> Volume:
        """The image of a case, float32 ``(C, H, W, D)`` in RAS; a plane has the depth 1.

        Raises:
            DataError: ``no_image`` if the case is a record alone.
        """
        if case.image is None:
            raise DataError("no_image", f"{case.id} is a record without an image; use a dataset of images")
        return read_image(self.root / case.image)

    def label(self, case: Case) -> Volume:
        """The label of a case, whole numbers ``(1, H, W, D)`` in RAS.

        Raises:
            DataError: ``no_label`` if the case has none.
        """
        if case.label is None:
            raise DataError("no_label", f"{case.id} has no label; use a labelled dataset")
        return read_label(self.root / case.label)

    @property
    def digest(self) -> str:
        """SHA-256 over the content and split of every case; names and secrets of the site play no part."""
        lines = sorted(f"{case.digest} {case.label_digest or '-'} {case.split}" for case in self.cases)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_datalist(root: Path) -> Datalist:
    """Read ``dataset.json``.

    Raises:
        InvalidInputError: it is no JSON, or a key or value is not allowed.
    """
    try:
        return Datalist.model_validate_json((root / DATALIST).read_text(encoding="utf-8"))
    except ValidationError as error:
        raise InvalidInputError(explain(error, Datalist, DATALIST)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{DATALIST}: cannot be read as text ({type(error).__name__})") from error


def entry(case: Case) -> dict[str, str]:
    """A case as it stands in the datalist: its files, and of a case with a record the id to find it by."""
    named = {"image": case.image, "label": case.label, "case": case.id if case.has_record else None}
    return {key: value for key, value in named.items() if value is not None}


def write_lists(root: Path, datalist: Datalist, cases: tuple[Case, ...], quarantine: tuple[Quarantined, ...]) -> None:
    """Write the three lists of a dataset that is being staged; ``dataset.json`` comes last."""
    ordered = sorted(cases, key=lambda case: case.digest)
    write_jsonl(root / CASES, ordered)
    write_jsonl(root / QUARANTINE, quarantine)
    text = json.dumps(datalist.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (root / DATALIST).write_text(text + "\n", encoding="utf-8")


def write_jsonl(path: Path, records: tuple[Settings, ...] | list[Case]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(record.model_dump_json() + "\n" for record in records), encoding="utf-8")
