"""Masks for scans: each on the grid of its own input, one bad input stopping no other."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radfed import __version__
from radfed.dataset.channels import one_image
from radfed.errors import DataError, InvalidInputError, RadfedError
from radfed.imaging.dicom.index import Series
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import ScannedVolume, read_series
from radfed.imaging.nifti import read_image, write_mask
from radfed.imaging.objects.uids import Naming, fresh
from radfed.imaging.picture import PNG_SUFFIX, read_picture
from radfed.imaging.plausibility import check_depth, check_geometry
from radfed.imaging.volume import Volume
from radfed.inference.crew import Crew
from radfed.inference.inputs import Input, find_inputs
from radfed.inference.model import OnnxModel
from radfed.inference.opened import open_model
from radfed.inference.segment import segment
from radfed.task import SegmentationTask


@dataclass(frozen=True)
class Prediction:
    """What came of one input.

    Attributes:
        name: of the input: a NIfTI or PNG file's name, or what the results of a DICOM series are called.
        mask: name of the mask in the output folder; None if there is none.
        volumes_ml: volume of each label by its name (ml); empty if there is no mask.
        seconds: on the clock, reading and writing included.
        reason: code of what went wrong; None if everything was written.
        message: what went wrong, for people.
        seg: name of the DICOM Segmentation; None for NIfTI input.
        sr: name of the DICOM Structured Report with the volumes; None for NIfTI input.
        sent: whether ``seg`` and ``sr`` were sent; None if that was not asked for, or there are none.
        warnings: what people should know though it went well, such as an interpolated slice.
    """

    name: str
    mask: str | None
    volumes_ml: dict[str, float]
    seconds: float
    reason: str | None = None
    message: str | None = None
    seg: str | None = None
    sr: str | None = None
    sent: bool | None = None
    warnings: tuple[str, ...] = ()


def predict(
    release: Path,
    source: Path,
    out: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    threads: int | None = None,
    reading: ReadOptions = ReadOptions(),  # noqa: B008 - frozen
) -> list[Prediction]:
    """Segment a file, or everything in a folder, and write ``<input name>.nii.gz`` for each case into ``out``.

    A case of DICOM series also gets ``<input name>.seg.dcm`` and ``<input name>.sr.dcm``, all three or none.

    Args:
        release: a release's folder, or an ``.onnx`` file with its contract.
        source: NIfTI (several channels are one 4D file) or DICOM, or PNG for a task of 2 dimensions, a file or a
            folder; of a folder the NIfTI and PNG files in it and the DICOM files in its whole tree.
        out: folder of the results, made if missing.
        on_progress: called with (done, total) inputs.
        threads: CPU threads; None takes all cores.
        reading: what reading DICOM may do to voxels.

    Returns:
        One entry an input, in the order of their names; look at ``reason``.

    Raises:
        InvalidInputError: the release or the source cannot be used at all.
        GateError: the release's model is not the one that it lists.
    """
    return predict_masks(open_model(release, threads), source, out, on_progress, reading)


def predict_masks(
    model: OnnxModel,
    source: Path,
    out: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    reading: ReadOptions = ReadOptions(),  # noqa: B008 - frozen
) -> list[Prediction]:
    """Segment with an opened model; see ``predict``.

    Raises:
        InvalidInputError: the model gives no masks, or the source cannot be used at all.
    """
    inputs = find_inputs(source, out, model.segmentation)
    make_folder(out)
    predictions: list[Prediction] = []
    on_progress(0, len(inputs))
    with Crew.of(model, len(inputs)) as crew:
        for made in crew.map(lambda one: _one(one, out, crew, reading), inputs):
            predictions.append(made)
            on_progress(len(predictions), len(inputs))
    return predictions


def make_folder(out: Path) -> None:
    """Make the folder of the results.

    Raises:
        InvalidInputError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"{out}: cannot be made a folder ({type(error).__name__}); give another --out"
        ) from error


def predict_one(one: Input, out: Path, model: OnnxModel, reading: ReadOptions, naming: Naming = fresh) -> Prediction:
    """Segment one input and write what came of it into an existing folder.

    Args:
        one: of ``find_inputs``.
        out: folder of the results.
        model: an opened model of a segmentation task.
        reading: what reading DICOM may do to voxels.
        naming: UIDs of SEG and SR.

    Returns:
        What came of it; look at ``reason``.
    """
    with Crew.of(model, 1) as crew:
        return _one(one, out, crew, reading, naming)


def _one(one: Input, out: Path, crew: Crew, reading: ReadOptions, naming: Naming = fresh) -> Prediction:
    started = time.monotonic()
    failed = Prediction(one.name, None, {}, 0.0, warnings=one.warnings)
    try:
        match one.content:
            case DataError() as error:
                raise error
            case Path() as path:
                made = _from_file(one, path, out, crew)
            case channels:
                made = _from_dicom(one, channels, out, crew, reading, naming)
    except RadfedError as error:
        made = replace(failed, reason=error.reason, message=str(error))
    except OSError as error:
        message = f"the results of {one.stem} cannot be written ({error.strerror}); make room, or give another --out"
        made = replace(failed, reason="unwritable", message=message)
    return replace(made, seconds=time.monotonic() - started)


def _from_file(one: Input, path: Path, out: Path, crew: Crew) -> Prediction:
    task = crew.model.segmentation
    if path.name.lower().endswith(PNG_SUFFIX):
        volume = read_picture(path)
        check_depth(volume, task.intensity)
    else:
        volume = read_image(path)
    mask = _mask(volume, crew)
    name = f"{one.stem}.nii.gz"
    write_mask(out / name, mask, volume.affine)
    return Prediction(one.name, name, label_volumes_ml(mask, volume, task), 0.0)


def _from_dicom(
    one: Input, channels: tuple[Series, ...], out: Path, crew: Crew, reading: ReadOptions, naming: Naming
) -> Prediction:
    task = crew.model.segmentation
    scans = [read_series(series, reading.of(task)) for series in channels]
    volume = one_image([scan.volume for scan in scans], task)
    mask = _mask(volume, crew)
    volumes = label_volumes_ml(mask, volume, task)
    names = tuple(f"{one.stem}{suffix}" for suffix in (".nii.gz", ".seg.dcm", ".sr.dcm"))
    paths = [out / name for name in names]
    try:
        write_mask(paths[0], mask, volume.affine)
        _write_objects(paths[1], paths[2], mask, volumes, scans[0], channels[0], crew.model, naming)
    except (RadfedError, OSError):
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    steps = tuple(step for scan in scans for step in scan.steps)
    return Prediction(one.name, names[0], volumes, 0.0, seg=names[1], sr=names[2], warnings=(*one.warnings, *steps))


def _mask(volume: Volume, crew: Crew) -> NDArray[np.uint8]:
    task = crew.model.segmentation
    check_geometry(volume, task.limits)
    with crew.room_for(volume, task):
        return segment(volume, task, crew.model, crew.batch, crew.windows)


def _write_objects(
    seg: Path,
    sr: Path,
    mask: NDArray[np.uint8],
    volumes: dict[str, float],
    scanned: ScannedVolume,
    series: Series,
    model: OnnxModel,
    naming: Naming,
) -> None:
    # highdicom takes a second to import, and NIfTI does not need it.
    from radfed.imaging.objects.seg import write_seg
    from radfed.imaging.objects.sr import write_sr

    software = f"radfed {__version__} weights {model.weights_digest[:12]}"
    images = [instance.path for instance in series.instances]
    write_seg(seg, mask, scanned, model.segmentation, software, images, naming)
    write_sr(sr, seg, volumes, scanned, model.segmentation, software, images, naming)


def label_volumes_ml(mask: NDArray[np.uint8], volume: Volume, task: SegmentationTask) -> dict[str, float]:
    """Volume of each of the task's labels by name (ml), 0 where it was not found."""
    voxel = volume.voxel_volume / 1000
    counts = np.bincount(mask.ravel(), minlength=256)
    return {label.name: round(int(counts[label.value]) * voxel, 4) for label in task.labels}
