"""Make a prepared dataset from a table of records and the images that its rows name."""

from pathlib import Path

from radfed.dataset.ingest import IngestReport, IngestSettings, Progress, ingest_cases
from radfed.dataset.npz import IMAGE, SPLIT, NpzPictures
from radfed.dataset.pictures import DicomPictures, FolderPictures, Pictures, Reading
from radfed.dataset.record_source import RecordSource
from radfed.dataset.records_mapping import TableMapping
from radfed.dataset.staging import check_places
from radfed.dataset.tables import SUFFIXES, Table, read_table
from radfed.errors import InvalidInputError
from radfed.imaging.dicom.index import dicom_files
from radfed.task import OutcomeTask, SegmentationTask

NPZ = ".npz"


def is_records(source: Path) -> bool:
    """Whether a source holds records by itself: a table, or an npz file."""
    return source.is_file() and source.suffix.lower() in (*SUFFIXES, NPZ)


def ingest_records(
    source: Path,
    out: Path,
    settings: IngestSettings,
    mapping: TableMapping,
    table: Path | None = None,
    on_progress: Progress | None = None,
) -> IngestReport:
    """Ingest a table's rows into the dataset ``out``, replacing an older dataset only on success.

    Args:
        source: folder of the images, an npz file, or the table itself where there are none.
        out: the dataset's folder.
        settings: the site's; with a task.
        mapping: what the table's columns mean.
        table: the table; None where the source is one.
        on_progress: called with (done, total) cases.

    Raises:
        InvalidInputError: no task, a column is missing, the mapping does not fit, or a patient is in two splits.
        DatasetRefusedError: more than ``max_refused`` of the cases failed.
    """
    if settings.task is None:
        raise InvalidInputError("a table needs a task, which says what its columns are for; give --task")
    if settings.patients is not None:
        raise InvalidInputError("--patients is for NIfTI files without a table; the mapping names the patient's column")
    check_places(source.absolute(), out.absolute(), settings.pseudonyms.absolute())
    found = open_records(source.absolute(), settings, mapping, table)
    return ingest_cases(found, out.absolute(), settings, on_progress)


def open_records(
    source: Path, settings: IngestSettings, mapping: TableMapping, table: Path | None = None
) -> RecordSource:
    """Read the table and find the images; see ``ingest_records``."""
    task = settings.task
    assert task is not None
    pictures: Pictures | None = None
    rows: Table | None = None
    if source.suffix.lower() == NPZ and source.is_file():
        arrays = NpzPictures(source)
        pictures, rows = arrays, arrays.table()
        mapping = _of_npz(mapping, own_table=table is None)
    elif source.is_dir() and mapping.image is not None:
        pictures = _in_folder(source, settings, mapping, task)
    elif mapping.image is not None:
        raise InvalidInputError(f"{source}: the mapping names images; give their folder, and the table with --table")
    if table is not None or rows is None:
        rows = read_table(_table(source, table), mapping.delimiter, mapping.encoding)
    return RecordSource(rows, mapping, task, pictures)


def _of_npz(mapping: TableMapping, own_table: bool) -> TableMapping:
    """The mapping with what an npz file says by itself: which image, and in its own table case and split."""
    own: dict[str, object] = {"image": IMAGE}
    if own_table:
        own |= {"case": "id", "split": SPLIT}
    # What the mapping states itself holds, null included.
    return mapping.model_copy(update={key: value for key, value in own.items() if key not in mapping.model_fields_set})


def _in_folder(
    source: Path, settings: IngestSettings, mapping: TableMapping, task: SegmentationTask | OutcomeTask
) -> Pictures:
    planes = isinstance(task, OutcomeTask) and task.image is not None and task.image.dimensions == 2
    reading = Reading(planes, settings.reading, settings.deidentification)
    if mapping.image is not None and mapping.image.attribute is not None:
        return DicomPictures(list(dicom_files(source)), mapping.image.attribute, reading)
    return FolderPictures(source, reading)


def _table(source: Path, table: Path | None) -> Path:
    if table is not None:
        return table
    if source.is_dir():
        raise InvalidInputError(f"{source}: is a folder; give the table with --table")
    return source
