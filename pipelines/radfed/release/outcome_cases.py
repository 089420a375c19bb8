"""The cases that the gate answers with both: made up and read from files, or of a folder of DICOM files."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radfed.errors import GateError, InvalidInputError, RadfedError
from radfed.imaging.dicom.options import ReadOptions
from radfed.inference.case_inputs import CaseInput, find_cases, read_case
from radfed.inference.outcome import Prepared, prepare_case
from radfed.release.outcome_files import RECORDS, MadeUpCase, write_forms
from radfed.task import OutcomeTask


@dataclass(frozen=True)
class ReadyCase:
    """A case to answer with both.

    Attributes:
        form: of what was read, for people.
        made_up: whether no patient is behind it.
        prepared: what the network sees of it.
        image: what the network should see of its image, where that is known.
    """

    form: str
    made_up: bool
    prepared: Prepared
    image: NDArray[np.float32] | None = None


def made_up_answers(task: OutcomeTask) -> list[ReadyCase]:
    """Made-up cases, read from files as ``radfed predict`` reads them.

    Raises:
        GateError: a file is not found again, or cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="radfed-parity-") as name:
        folder = Path(name)
        made = write_forms(folder, task)
        table = folder / RECORDS
        if task.image is None:
            found = find_cases(table, None, task)
        else:
            # One by one: an only image is meant whatever the rules say of descriptions, which made-up files lack.
            sources = [case.path for case in made if case.path is not None]
            found = [
                case for source in sources for case in find_cases(source, table if task.covariates else None, task)
            ]
        if [case.name for case in found] != [case.name for case in made]:
            raise GateError(f"parity: of {len(made)} made-up cases {len(found)} were found, or under other names")
        return [_read(case, meant, task) for case, meant in zip(found, made, strict=True)]


def _read(found: CaseInput, made: MadeUpCase, task: OutcomeTask) -> ReadyCase:
    try:
        prepared = prepare_case(*read_case(found, task, ReadOptions()), task)
        meant = prepare_case(made.volume, made.covariates, task)
    except RadfedError as error:
        raise GateError(f"parity: a made-up case cannot be read ({made.form}): {error}") from error
    records = meant.record, prepared.record
    if records[0] is not None and records[1] is not None and not np.array_equal(records[0], records[1]):
        raise GateError(f"parity: the record of {made.name} is another one when it is read from the table")
    return ReadyCase(made.form, True, prepared, meant.image)


def dicom_answers(folder: Path, task: OutcomeTask) -> list[ReadyCase]:
    """The cases of a folder of DICOM files that a person gave.

    Raises:
        InvalidInputError: it holds no case of the task.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: is no folder; give folders of DICOM files")
    if task.covariates:
        raise InvalidInputError(f"the task {task.name} needs records beside images: give a prepared dataset instead")
    ready, refused = [], set()
    for case in find_cases(folder, None, task):
        try:
            ready.append(ReadyCase("DICOM", False, prepare_case(*read_case(case, task, ReadOptions()), task)))
        except RadfedError as error:
            refused.add(str(error))
    if not ready:
        raise InvalidInputError(f"{folder}: holds no case of the task: {'; '.join(sorted(refused))}")
    return ready
