"""One study of the queue to its results, the same ones however often it is begun."""

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from radfed import __version__
from radfed.errors import DataError, RadfedError
from radfed.files import move, sync
from radfed.imaging.dicom.index import Index, Series, index_folder
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.objects.uids import derived
from radfed.inference.dicom_inputs import DicomCase, choose
from radfed.inference.inputs import Input
from radfed.inference.listener.study import Record
from radfed.inference.model import OnnxModel
from radfed.inference.predict import predict_one

_NAME_DIGITS = 16


class Worker:
    """Segments studies into a folder of results.

    Args:
        model: of a segmentation task.
        results: gets a folder a case, there as a whole or not at all.
        reading: what reading DICOM may do to voxels.
    """

    def __init__(self, model: OnnxModel, results: Path, reading: ReadOptions) -> None:
        self._model, self._results, self._reading = model, results, reading
        results.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in results.glob(".*.partial"):  # of a process that was killed
            shutil.rmtree(left)

    def segment(self, study: str, folder: Path) -> Record:
        """Segment what lies in a study's folder.

        Args:
            study: its digest, after which results are named.
            folder: its images.

        Returns:
            What came of it, with a reason if there is no result. What was there before from the same images and the
            same model is taken as it is.
        """
        started = time.monotonic()
        record = Record(instances=sum(1 for _ in folder.glob("*.dcm")))
        found: dict[str, object]
        try:
            cases = _cases(index_folder(folder), self._model)
            found = {"results": tuple(self._case(study, series) for series in cases)}
        except RadfedError as error:
            found = {"reason": error.reason, "message": str(error)}
        except OSError as error:
            found = {"reason": "unwritable", "message": f"the results cannot be written ({error.strerror})"}
        except Exception as error:  # a study that nobody foresaw must not keep the others from their results
            found = {"reason": RadfedError.reason, "message": f"{type(error).__name__} while it was segmented"}
        return record.model_copy(update={**found, "seconds": round(time.monotonic() - started, 3)})

    def files(self, record: Record) -> list[Path]:
        """SEG and SR of a study."""
        return [path for name in record.results for path in sorted((self._results / name).glob("*.dcm"))]

    def _case(self, study: str, series: tuple[Series, ...]) -> str:
        about = _about(series, self._model, self._reading)
        digest = hashlib.sha256("\n".join(about).encode()).hexdigest()
        name = f"{study[:_NAME_DIGITS]}-{digest[:_NAME_DIGITS]}"
        place, beside = self._results / name, self._results / f".{name}.partial"
        if place.is_dir():
            return name
        beside.mkdir(mode=0o700)
        try:
            one = Input(name, study[:_NAME_DIGITS], series)
            made = predict_one(one, beside, self._model, self._reading, derived(about))
            if made.reason is not None:
                raise DataError(made.reason, made.message or "")
            for path in beside.iterdir():
                sync(path)
            sync(beside)
            move(beside, place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return name


def _cases(index: Index, model: OnnxModel) -> list[tuple[Series, ...]]:
    """The series of each case in a study.

    Raises:
        DataError: an image cannot be read, the study is of several patients, or there is no case in it.
    """
    if index.broken:
        raise DataError(index.broken[0].reason, f"{len(index.broken)} image(s) of the study cannot be read")
    if len({one.patient for one in index.series}) > 1:
        raise DataError("several_patients", "images of one study name different patients; mend it at the source")
    chosen: Sequence[DicomCase] = choose(index.series, model.segmentation)
    if not chosen:
        raise DataError("no_matching_series", "the study has no image series")
    cases = []
    for case in chosen:
        if isinstance(case.content, DataError):
            raise case.content
        cases.append(case.content)
    return cases


def _about(series: tuple[Series, ...], model: OnnxModel, reading: ReadOptions) -> tuple[str, ...]:
    """What the results follow from: images, whose files are named by instance and content, model, program, options."""
    images = sorted(f"{one.id} {instance.path.name}" for one in series for instance in one.instances)
    return (model.weights_digest, model.segmentation.digest, __version__, reading.model_dump_json(), *images)
