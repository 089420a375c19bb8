"""What readers look at: the image, the mask that the model gives, the reference, and where the two differ."""

import hashlib
import hmac
import random
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from radfed.dataset.digests import volume_digest
from radfed.dataset.layout import Case, Dataset
from radfed.errors import GateError, InvalidInputError
from radfed.imaging.nifti import write_mask
from radfed.imaging.volume import Volume
from radfed.inference.checksums import file_digest
from radfed.inference.model import OnnxModel
from radfed.inference.opened import MODEL
from radfed.inference.segment import segment
from radfed.settings import Settings
from radfed.validation.chosen import Progress, choose
from radfed.validation.evaluate import compare_masks, read_pair
from radfed.validation.results import LabelResult
from radfed.validation.workbench.folder import Reviewed, StateFolder
from radfed.validation.workbench.store import Store

LAYERS = ("image", "prediction", "reference", "disagreement")
ONLY_PREDICTED, ONLY_REFERENCE, OTHER_LABEL = 1, 2, 3
"""Values of the disagreement: marked by the model alone, by the reference alone, by both with different labels."""


class Material(Settings):
    """The files of a case with their SHA-256, and what the mask scores."""

    sources: dict[str, str] = Field(description="Of the dataset: digest by path in it")
    layers: dict[str, str] = Field(description="Made here: digest by layer")
    labels: tuple[LabelResult, ...]

    @property
    def dice(self) -> float:
        """Mean over labels."""
        return sum(label.dice for label in self.labels) / len(self.labels)


@dataclass(frozen=True)
class Bundle:
    """A release and a dataset, opened for a review."""

    release: Path
    dataset: Path
    folder: StateFolder
    store: Store
    reviewed: Reviewed


def layer_file(folder: StateFolder, code: str, layer: str) -> Path:
    """Where a layer that was made here lies; ``code`` is the case's, which is a digest of all it was made from."""
    return folder.predictions / f"{code[:32]}.{layer}.nii.gz"


def prepare(bundle: Bundle, model: OnnxModel, dataset: Dataset, salt: str, on_progress: Progress) -> None:
    """Segment each case that has no mask yet, and check those that have.

    Args:
        bundle: the review.
        model: the release's, as it was opened and checked.
        dataset: the bundle's, as it was read.
        salt: the review's secret.
        on_progress: told how many cases are done, and of how many.

    Raises:
        GateError: a file is not the one that the dataset lists, or that was there before.
        InvalidInputError: there is nothing to review.
        DataError: a case cannot be segmented, or has no reference on its grid.
    """
    chosen = choose([dataset], model.task, bundle.reviewed.split)
    with bundle.store.read() as db:
        there = {row["name"] for row in db.execute("SELECT name FROM cases")}
    on_progress(0, len(chosen))
    for done, (_, case) in enumerate(chosen, start=1):
        if case.id not in there:
            _make(bundle, dataset, case, model, salt)
        on_progress(done, len(chosen))
    _number(bundle)
    problems = list(changed_files(bundle))
    if problems:
        raise GateError("; ".join(problems[:5]))


def changed_files(bundle: Bundle) -> Iterator[str]:
    """What is not as it was when the review began: model, dataset, layers; a sentence each."""
    reviewed = bundle.reviewed
    model = bundle.release / MODEL
    if not model.is_file() or file_digest(model) != reviewed.model_sha256:
        yield "the release's model is not the one that is reviewed; put the release back as it was"
    try:
        same = Dataset.read(bundle.dataset).digest == reviewed.dataset_digest
    except InvalidInputError:
        same = False
    if not same:
        yield "the dataset is not the one that is reviewed; put its lists back as they were"
    with bundle.store.read() as db:
        rows = db.execute("SELECT number, code, material FROM cases ORDER BY number").fetchall()
    for row in rows:
        material = Material.model_validate_json(row["material"])
        files = [(bundle.dataset / name, digest) for name, digest in material.sources.items()]
        files += [(layer_file(bundle.folder, row["code"], name), digest) for name, digest in material.layers.items()]
        for path, digest in files:
            if not path.is_file() or file_digest(path) != digest:
                what = "prediction or reference" if path.parent == bundle.folder.predictions else "image or label"
                yield f"a file of case {row['number']} ({what}) is not the one that is reviewed"


def _make(bundle: Bundle, dataset: Dataset, case: Case, model: OnnxModel, salt: str) -> None:
    """Segment and score a case, and keep it."""
    task = model.segmentation
    image, reference = read_pair(dataset, case)
    _check_listed(dataset, case, image)
    mask = segment(image, task, model)
    known = np.where(np.isin(reference, task.label_values), reference, 0).astype(np.uint8)
    made_from = f"{case.id} {case.digest} {case.label_digest or '-'} {bundle.reviewed.model_sha256}"
    code = hmac.new(salt.encode(), made_from.encode(), hashlib.sha256).hexdigest()
    # The reference is written as the mask is, or a blinded reader could tell them by their headers.
    voxels = {"prediction": mask, "reference": known, "disagreement": _disagreement(mask, known)}
    digests = {}
    for layer, array in voxels.items():
        path = layer_file(bundle.folder, code, layer)
        write_mask(path, array, image.affine)
        digests[layer] = file_digest(path)
    material = Material(
        sources={name: file_digest(dataset.root / name) for name in case.files},
        layers=digests,
        labels=compare_masks(mask, reference, image, task),
    )
    with bundle.store.write() as db:
        db.execute(
            "INSERT INTO cases (id, name, patient, digest, code, material) VALUES (?, ?, ?, ?, ?, ?)",
            (secrets.token_urlsafe(12), case.id, case.patient, case.digest, code, material.model_dump_json()),
        )


def _check_listed(dataset: Dataset, case: Case, image: Volume) -> None:
    """Check that image and label are those of ``cases.jsonl``; later changes are found by the files' own digests."""
    for name, volume, digest in (
        (case.image, image, case.pixels),
        (case.label, dataset.label(case), case.label_digest),
    ):
        if volume_digest(volume) != digest:
            raise GateError(f"{name} is not the file that cases.jsonl lists; ingest the dataset again")


def _disagreement(mask: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found = np.zeros_like(mask)
    found[(mask > 0) & (reference == 0)] = ONLY_PREDICTED
    found[(mask == 0) & (reference > 0)] = ONLY_REFERENCE
    found[(mask > 0) & (reference > 0) & (mask != reference)] = OTHER_LABEL
    return found


def _number(bundle: Bundle) -> None:
    """Number the cases once all are there: the worst first, or where the review is blinded by the seed's draw."""
    with bundle.store.write() as db:
        rows = db.execute("SELECT id, digest, material, number FROM cases").fetchall()
        if all(row["number"] is not None for row in rows):
            return
        ordered = sorted(rows, key=lambda row: (_dice(row), row["digest"]))
        if bundle.reviewed.blinded:
            ordered = sorted(rows, key=lambda row: str(row["digest"]))
            random.Random(bundle.reviewed.seed).shuffle(ordered)
        db.executemany("UPDATE cases SET number = ? WHERE id = ?", [(n, r["id"]) for n, r in enumerate(ordered, 1)])


def _dice(row: sqlite3.Row) -> float:
    return Material.model_validate_json(row["material"]).dice
