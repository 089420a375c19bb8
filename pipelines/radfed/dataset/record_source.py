"""A table's rows as a source of cases, joined with the images that they name."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.accept import Acceptance, Origin, accept, withdraw
from radfed.dataset.judgement import Judgement
from radfed.dataset.layout import Case, Scanner
from radfed.dataset.mapping_check import check_mapping
from radfed.dataset.pictures import Pictures, Scan, most_common_depth
from radfed.dataset.record_rows import read_record, read_split, takes
from radfed.dataset.records_mapping import FileColumn, TableMapping
from radfed.dataset.splits import DRAWN, SplitName
from radfed.dataset.tables import Row, Table
from radfed.errors import DataError, InvalidInputError
from radfed.imaging.plausibility import check_depth
from radfed.imaging.volume import Volume
from radfed.task import Intensity, OutcomeTask, SegmentationTask


@dataclass(frozen=True)
class _Named:
    """A row with its raw ids; the patient is empty where nobody says."""

    row: Row
    case: str
    patient: str


_COLUMN_REMEDY = "mend the column's name in the mapping, where null says that a covariate is not measured here"


class RecordSource:
    """Cases of a table.

    Attributes:
        phantom: False; a table does not say that its data are made up.
        label_names: none, the task names its labels.
    """

    def __init__(
        self, table: Table, mapping: TableMapping, task: SegmentationTask | OutcomeTask, pictures: Pictures | None
    ) -> None:
        """Check the table against mapping and task; no image is read yet.

        Raises:
            InvalidInputError: a column is missing, no row is taken, the mapping does not fit the task, or a patient
                is in two of the splits that the table states.
        """
        check_mapping(mapping, task)
        table.need(mapping.columns(), _COLUMN_REMEDY)
        self._table, self._mapping, self._task, self._pictures = table, mapping, task, pictures
        self._intensity = _intensity(task)
        rows = [row for row in table.rows if takes(row, mapping.where)]
        if not rows:
            raise InvalidInputError(
                f"{table.name}: none of {len(table.rows)} rows is taken by where: "
                + ", ".join(f"{column} = {' or '.join(allowed)}" for column, allowed in mapping.where.items())
            )
        self._named = [_named(row, mapping) for row in rows]
        _check_splits(self._named, mapping, table)
        self.phantom = False
        self.label_names: dict[int, str] = {}
        stated = mapping.split is not None
        self.mend_split = "the table states no case for it; see the mapping's split" if stated else DRAWN

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people should know; free of identifiers."""
        if self._pictures is None or self._mapping.image is None:
            return ()
        # Over all rows: an image of another site's row is named.
        columns = [column for column in (self._mapping.image, self._mapping.label) if column is not None]
        names = {_file(row, column, self._mapping) for column in columns for row in self._table.rows}
        count = self._pictures.unnamed({name for name in names if name is not None})
        return (f"{count} images are named by no row of the table",) if count else ()

    def judge(self, how: Acceptance, on_progress: Callable[[int, int], None]) -> Iterator[Judgement]:
        """Judge each case: write what passes under ``how.staged``, say why the others fail."""
        counts = Counter(item.case for item in self._named)
        unique = {item.case: item for item in self._named}
        found: list[tuple[Judgement, str]] = []
        for done, (case, item) in enumerate(unique.items(), start=1):
            found.append(self._judge(item, counts[case], how))
            on_progress(done, len(unique))
        # Last, because only the whole cohort tells which depth is the odd one.
        usual = most_common_depth([depth for _, depth in found])
        for judged, depth in found:
            if isinstance(judged.outcome, Case) and depth and depth != usual:
                withdraw(judged.outcome, how.staged)
                what = f"its pixels have {depth}, most others {usual}, so its grey values mean something else"
                yield replace(judged, outcome=DataError("mixed_depth", f"{what}; export it as the others were"))
            else:
                yield judged

    def _judge(self, item: _Named, count: int, how: Acceptance) -> tuple[Judgement, str]:
        depth = ""
        try:
            if count > 1:
                raise DataError("duplicate_row", f"{count} rows are about this case, the last is {item.row.number}")
            if not item.patient:
                raise DataError(
                    "no_patient", f"row {item.row.number} does not say which case of which patient it is about"
                )
            record = read_record(item.row, self._mapping, self._task)
            scan = self._scan(item.row)
            label = self._label(item.row, scan)
            depth = scan.depth if scan else ""
            origin = self._origin(item.row, scan.origin if scan else Origin())
            patient = scan.patient if scan and scan.patient and self._mapping.patient is None else item.patient
            case = accept(item.case, patient, scan.volume if scan else None, label, how, origin, record)
            return Judgement(item.case, patient, case), depth
        except DataError as error:
            return Judgement(item.case, item.patient, error), ""

    def _scan(self, row: Row) -> Scan | None:
        if self._mapping.image is None or self._pictures is None:
            return None
        name = _file(row, self._mapping.image, self._mapping)
        if name is None:
            raise DataError("no_image", f"row {row.number} names no image; leave it out, or add the image")
        scan = self._pictures.read(name)
        if scan.volume.array.dtype in (np.uint8, np.uint16) and scan.depth and self._intensity is not None:
            check_depth(scan.volume, self._intensity)
        return scan

    def _origin(self, row: Row, read: Origin) -> Origin:
        """What headers say, else what the table says of the scanner."""
        mapping, missing = self._mapping, self._mapping.missing

        def said(column: str | None) -> str:
            return (row.text(column, missing) or "") if column else ""

        scanner = Scanner(manufacturer=said(mapping.manufacturer), model=said(mapping.model))
        return replace(
            read,
            modality=read.modality or said(mapping.modality),
            scanner=read.scanner or (scanner if scanner != Scanner() else None),
        )

    def _label(self, row: Row, scan: Scan | None) -> Volume | None:
        """The mask of a row in the task's values, on its image's grid."""
        column = self._mapping.label
        if column is None or scan is None or self._pictures is None or not isinstance(self._task, SegmentationTask):
            return None
        name = _file(row, column, self._mapping)
        if name is None:
            raise DataError("no_label", f"row {row.number} names no label; leave it out, or add the label")
        mask = self._pictures.mask(name)
        return Volume(_in_task_values(mask, column.values, self._task), mask.affine)


def _intensity(task: SegmentationTask | OutcomeTask) -> Intensity | None:
    """How the task scales grey values; None for a task without images."""
    if isinstance(task, SegmentationTask):
        return task.intensity
    return task.image.intensity if task.image else None


def _in_task_values(mask: Volume, values: dict[int, int], task: SegmentationTask) -> NDArray[np.uint8]:
    """Mask values as the task's; without a mapping, a mask of 0 and 255 means the only label."""
    found = np.unique(mask.array)
    meant = values or ({255: task.label_values[0]} if len(task.label_values) == 1 and 255 in found else {})
    if found.min() < 0 or found.max() > 255:
        raise DataError("unknown_label", f"label values must lie in 0..255, got {found.min():g}..{found.max():g}")
    look_up = np.arange(256, dtype=np.uint8)
    for value, target in meant.items():
        look_up[value] = target
    return look_up[mask.array.astype(np.uint8)]


def _file(row: Row, column: FileColumn, mapping: TableMapping) -> str | None:
    text = row.text(column.column, mapping.missing)
    return None if text is None else column.pattern.replace("{}", text)


def _named(row: Row, mapping: TableMapping) -> _Named:
    number = f"row-{row.number}"
    case = row.text(mapping.case, mapping.missing) if mapping.case else number
    patient = case if mapping.patient is None else row.text(mapping.patient, mapping.missing)
    return _Named(row, case or number, patient if case and patient else "")


def _check_splits(named: Sequence[_Named], mapping: TableMapping, table: Table) -> None:
    """Refuse a table that puts a patient into two splits: the test would be of somebody known from training."""
    if mapping.split is None:
        return
    first: dict[str, tuple[SplitName, int]] = {}
    clashes = []
    for item in named:
        try:
            split = read_split(item.row, mapping)
        except DataError:
            continue  # quarantined later
        if split is None or not item.patient:
            continue
        known, number = first.setdefault(item.patient, (split, item.row.number))
        if known != split:
            clashes.append(f"rows {number} and {item.row.number} ({known}, {split})")
    if clashes:
        raise InvalidInputError(
            f"{table.name}: {len(clashes)} row(s) put a patient into another split than a row before: "
            f"{', '.join(clashes[:5])}; a patient belongs to one split: mend the column {mapping.split.column!r}, or "
            "leave it out of the mapping"
        )
