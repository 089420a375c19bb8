"""The cases of an outcome task: images, records, or images joined with records by their name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radfed.errors import DataError, InvalidInputError
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.volume import Volume
from radfed.inference.picture_inputs import PictureInput, find_pictures, read_input
from radfed.inference.record_inputs import CASE, Covariates, read_records
from radfed.task import OutcomeTask


@dataclass(frozen=True)
class CaseInput:
    """One case, or one thing that is none.

    Attributes:
        name: the image's file name without suffix, or what the table calls the record.
        picture: where the image lies; None where the task has no image.
        covariates: the record, or why it cannot be used; empty where the task has no covariates.
        warnings: what people should know about the choice.
    """

    name: str
    picture: PictureInput | None = None
    covariates: Mapping[str, float | str] | DataError = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def find_cases(source: Path, covariates: Path | None, task: OutcomeTask) -> list[CaseInput]:
    """Everything that may be a case of the task. Rows of a table that name none of the images are not looked at.

    Args:
        source: images, a file or a folder; of a task without images the table of records.
        covariates: table of records for images.
        task: the contract.

    Raises:
        InvalidInputError: there is nothing, a table is missing or one too many, or it lacks a column.
    """
    if task.image is None:
        if covariates is not None:
            raise InvalidInputError(f"the task {task.name} reads records alone: give the table as INPUT")
        return [CaseInput(name, covariates=record) for name, record in read_records(source, task).items()]
    if (covariates is not None) != bool(task.covariates):
        names = ", ".join(covariate.name for covariate in task.covariates)
        raise InvalidInputError(
            f"the task {task.name} needs records: give --covariates, a table with the columns {CASE}, {names}"
            if task.covariates
            else f"the task {task.name} takes no records: leave --covariates out"
        )
    records = read_records(covariates, task) if covariates is not None else None
    return [
        CaseInput(one.case, one, {} if records is None else _of(one.case, records), one.warnings)
        for one in find_pictures(source, task)
    ]


def read_case(case: CaseInput, task: OutcomeTask, reading: ReadOptions) -> tuple[Volume | None, Covariates]:
    """The image and the record of a case.

    Raises:
        DataError: one of them is missing, or cannot be used.
    """
    if isinstance(case.covariates, DataError):
        raise case.covariates
    volume = None if case.picture is None else read_input(case.picture, task, reading)
    return volume, dict(case.covariates)


def _of(case: str, records: Mapping[str, Covariates | DataError]) -> Covariates | DataError:
    missing = DataError("no_record", f"the table of records has no row with the {CASE} {case}; add it")
    return records.get(case, missing)
