"""SEG and SR of reviewed cases: verified where the lead's sign-off covers an accepted mask, by whom and when."""

import json
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radfed import __version__
from radfed.dataset.channels import one_image
from radfed.dataset.digests import volume_digest
from radfed.dataset.layout import Dataset
from radfed.errors import DataError, RadfedError
from radfed.imaging.dicom.index import Series, index_folder
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import read_series
from radfed.imaging.dicom.scanned import ScannedVolume
from radfed.imaging.nifti import read_label, to_ras
from radfed.imaging.objects.grid import reorient_label
from radfed.imaging.objects.seg import write_seg
from radfed.imaging.objects.sr import Verification, write_sr
from radfed.inference.dicom_inputs import choose
from radfed.inference.predict import label_volumes_ml
from radfed.metrics.signoff import SignOff
from radfed.task import SegmentationTask
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.material import layer_file
from radfed.validation.workbench.reviews import case_reviews

NO_DICOM = "no DICOM files were given; start the workbench with --dicom FOLDER"
NOT_FOUND = "none of the DICOM files that were given are of this case's image"


def write_results(bench: Bench, signoff: SignOff, path: Path) -> None:
    """Write the archive: ``case-<number>.seg.dcm`` and ``.sr.dcm``, and ``cases.json`` with all cases.

    A mask whose final verdict is ``accept`` gets a verified SR; ``minor`` one that is not; others get nothing.

    Args:
        bench: the review.
        signoff: who signed, and when.
        path: the archive to write.
    """
    with bench.bundle.store.read() as db:
        rows = db.execute("SELECT id, number, name, code FROM cases ORDER BY number").fetchall()
        final = {key: reviews.final or {} for key, reviews in case_reviews(db, bench.bundle.reviewed.readers).items()}
    pixels = {case.id: case.pixels for case in Dataset.read(bench.bundle.dataset).cases}
    sources = _sources(bench.dicom, bench.task) if bench.dicom is not None else {}
    listed = []
    with zipfile.ZipFile(path, "w") as archive, tempfile.TemporaryDirectory(prefix="radfed-results-") as work:
        for row in rows:
            verdict = final[row["id"]].get("prediction", "")
            entry: dict[str, object] = {"number": row["number"], "case": row["name"], "verdict": verdict}
            channels = sources.get(pixels.get(row["name"]) or "")
            why_not = _why_not(verdict, channels, bench.dicom)
            if why_not is None and channels is not None:
                by = _verification(bench, signoff) if verdict == "accept" else None
                try:
                    mask = layer_file(bench.bundle.folder, row["code"], "prediction")
                    names = _write_case(bench, channels, mask, f"case-{row['number']:04d}", Path(work), by)
                    for name in names:
                        archive.write(Path(work, name), name)
                    entry |= {"files": names, "verified": by is not None}
                except RadfedError as error:
                    why_not = f"{error.reason}: {error}"
            listed.append(entry if why_not is None else {**entry, "files": [], "why_not": why_not})
        archive.writestr("cases.json", json.dumps(listed, indent=1) + "\n")


def _why_not(verdict: str, channels: tuple[Series, ...] | None, dicom: Path | None) -> str | None:
    if verdict not in ("accept", "minor"):
        return f"the verdict is {verdict}: the mask is not passed on"
    if channels is None:
        return NO_DICOM if dicom is None else NOT_FOUND
    return None


def _verification(bench: Bench, signoff: SignOff) -> Verification:
    return Verification(
        name=f"{signoff.signed_by}^", organisation=bench.site, time=datetime.fromisoformat(signoff.time)
    )


def _sources(folder: Path, task: SegmentationTask) -> Mapping[str, tuple[Series, ...]]:
    """The series of each case, by the digest of their image, as ingesting computes it."""
    found = {}
    for case in choose(index_folder(folder).series, task):
        if isinstance(case.content, DataError):
            continue
        try:
            volume = one_image([scan.volume for scan in _read(case.content, task)], task)
        except DataError:
            continue
        found[volume_digest(to_ras(volume))] = case.content
    return found


def _read(channels: tuple[Series, ...], task: SegmentationTask) -> list[ScannedVolume]:
    return [read_series(series, ReadOptions().of(task)) for series in channels]


def _write_case(
    bench: Bench, channels: tuple[Series, ...], layer: Path, stem: str, work: Path, by: Verification | None
) -> list[str]:
    scanned = _read(channels, bench.task)[0]
    # The mask lies on the dataset's RAS grid; the objects need it on the scanner's.
    turned = reorient_label(read_label(layer), scanned.volume)
    mask: NDArray[np.uint8] = turned.array[0].astype(np.uint8)
    names = [f"{stem}.seg.dcm", f"{stem}.sr.dcm"]
    software = f"radfed {__version__} weights {bench.bundle.reviewed.weights_digest[:12]}"
    images = [instance.path for instance in channels[0].instances]
    volumes = label_volumes_ml(mask, scanned.volume, bench.task)
    write_seg(work / names[0], mask, scanned, bench.task, software, images, verified=by is not None)
    write_sr(work / names[1], work / names[0], volumes, scanned, bench.task, software, images, verified=by)
    return names
