"""Masks for files: each on the grid of its own input, one bad file stopping no other."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError, GateError, InvalidInputError, RadfedError
from radfed.imaging.nifti import read_image, write_mask
from radfed.imaging.plausibility import check_geometry
from radfed.imaging.volume import Volume
from radfed.inference.checksums import file_digest, read_sums
from radfed.inference.model import OnnxModel
from radfed.inference.segment import segment
from radfed.task import TaskSpec

MODEL = "model.onnx"
_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Prediction:
    """What came of one input file.

    Attributes:
        name: of the input file.
        mask: name of the mask in the output folder; None if there is none.
        volumes_ml: volume of each label by its name (ml); empty if there is no mask.
        seconds: on the clock, reading and writing included.
        reason: code of what went wrong; None if the mask was written.
        message: what went wrong, for people.
    """

    name: str
    mask: str | None
    volumes_ml: dict[str, float]
    seconds: float
    reason: str | None = None
    message: str | None = None


def predict(
    release: Path,
    source: Path,
    out: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    threads: int | None = None,
) -> list[Prediction]:
    """Segment a file, or every NIfTI file of a folder, and write ``<input name>.nii.gz`` for each into ``out``.

    Args:
        release: a release's folder, or an ``.onnx`` file with its contract.
        source: ``.nii`` or ``.nii.gz``, or a folder of such files; several channels are one 4D file.
        out: folder of the masks, made if missing.
        on_progress: called with (done, total) files.
        threads: CPU threads; None takes all cores.

    Returns:
        One entry a file, in the order of their names; look at ``reason``.

    Raises:
        InvalidInputError: the release or the source cannot be used at all.
        GateError: the release's model is not the one that it lists.
    """
    files = _inputs(source, out)
    model = OnnxModel.load(_model_file(release), threads)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"{out}: cannot be made a folder ({type(error).__name__}); give another --out"
        ) from error
    names = Counter(_mask_name(path) for path in files)
    predictions = []
    on_progress(0, len(files))
    for done, path in enumerate(files, start=1):
        predictions.append(_one(path, out, model, alone=names[_mask_name(path)] == 1))
        on_progress(done, len(files))
    return predictions


def _model_file(release: Path) -> Path:
    """The model of a release, checked against the release's own list of digests."""
    if not release.is_dir():
        return release
    listed = read_sums(release).get(MODEL)
    path = release / MODEL
    if listed is None or not path.is_file() or path.is_symlink():
        raise InvalidInputError(f"{release}: holds no {MODEL} that its SHA256SUMS lists; is this a release's folder?")
    got = file_digest(path)
    if got != listed:
        raise GateError(
            f"{MODEL} is not the one that the release lists: its SHA-256 is {got[:12]}, listed is {listed[:12]}; "
            "get the release again, and check it with 'radfed release verify'"
        )
    return path


def _inputs(source: Path, out: Path) -> list[Path]:
    if source.is_dir():
        # Names with a leading dot are a system's own: macOS keeps its '._' files beside every image.
        there = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
        files = sorted(path for path in there if path.name.lower().endswith(_SUFFIXES))
        if not files:
            raise InvalidInputError(f"{source}: holds no .nii or .nii.gz file; give a file or a folder of NIfTI files")
    elif source.is_file():
        if not source.name.lower().endswith(_SUFFIXES):
            raise InvalidInputError(f"{source}: must end in .nii or .nii.gz")
        files = [source]
    else:
        raise InvalidInputError(f"{source}: is neither a file nor a folder")
    if out.resolve() == files[0].parent.resolve():
        raise InvalidInputError(f"{out}: is where the input lies, masks would replace images; give another --out")
    return files


def _mask_name(path: Path) -> str:
    suffix = next(suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix))
    return path.name[: -len(suffix)] + ".nii.gz"


def _one(path: Path, out: Path, model: OnnxModel, alone: bool) -> Prediction:
    started = time.monotonic()
    try:
        if not alone:
            raise DataError(
                "same_name", f"another input would be written to {_mask_name(path)} too; rename one of them"
            )
        volume = read_image(path)
        check_geometry(volume, model.task.limits)
        mask = segment(volume, model.task, model)
        write_mask(out / _mask_name(path), mask, volume.affine)
    except RadfedError as error:
        return Prediction(path.name, None, {}, time.monotonic() - started, error.reason, str(error))
    except OSError as error:
        message = f"{_mask_name(path)} cannot be written ({error.strerror}); make room, or give another --out"
        return Prediction(path.name, None, {}, time.monotonic() - started, "unwritable", message)
    volumes = label_volumes_ml(mask, volume, model.task)
    return Prediction(path.name, _mask_name(path), volumes, time.monotonic() - started)


def label_volumes_ml(mask: NDArray[np.uint8], volume: Volume, task: TaskSpec) -> dict[str, float]:
    """Volume of each of the task's labels by name (ml), 0 where it was not found."""
    voxel = volume.voxel_volume / 1000
    counts = np.bincount(mask.ravel(), minlength=256)
    return {label.name: round(int(counts[label.value]) * voxel, 4) for label in task.labels}
