"""Open a state folder for a release and a dataset: new, or exactly the review that was begun in it."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from radfed.dataset.layout import Dataset
from radfed.errors import GateError, InvalidInputError
from radfed.inference.checksums import file_digest
from radfed.inference.opened import MODEL, open_model
from radfed.task import SegmentationTask
from radfed.validation.results import Split
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.folder import Reviewed, StateFolder
from radfed.validation.workbench.journal import Deed, Journal
from radfed.validation.workbench.material import Bundle, prepare
from radfed.validation.workbench.store import get_meta, set_meta

MOST_READERS = 20


@dataclass(frozen=True)
class Choice:
    """How to review.

    Attributes:
        split: which cases.
        blinded: whether readers see prediction and reference as A and B.
        readers: who must review each case, at the least.
        seed: of the order of a blinded review; None takes the one of before, or draws one.
        dicom: folder of the cases' DICOM files, for SEG and SR of what was signed.
    """

    split: Split = "test"
    blinded: bool = False
    readers: int = 2
    seed: int | None = None
    dicom: Path | None = None


def open_journal(folder: StateFolder) -> Journal:
    """The journal of a state folder, which is made if it is not there; it needs neither release nor dataset.

    Raises:
        InvalidInputError: the key cannot be read.
    """
    store, key = folder.open()
    with store.read() as db:
        review = get_meta(db, "review")
    assert review is not None  # the folder has just given it one
    return Journal(folder, store, review, key)


def open_bench(
    release: Path,
    dataset: Path,
    state: Path,
    choice: Choice,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Bench:
    """Open a review; the first time every case is segmented.

    Raises:
        InvalidInputError: the release or the dataset cannot be reviewed.
        GateError: the folder holds another review, a file is not the dataset's or was changed, or the audit chain does
            not hold.
    """
    if not release.is_dir():
        raise InvalidInputError(f"{release}: must be a release's folder, whose model is signed for")
    if not 1 <= choice.readers <= MOST_READERS:
        raise InvalidInputError(f"readers must be from 1 to {MOST_READERS}, got {choice.readers}")
    model = open_model(release)
    if not isinstance(model.task, SegmentationTask):
        raise InvalidInputError(
            f"the model of {model.task.name} ({model.task.kind}) gives no masks, and the workbench reviews masks; "
            "look at its answers with radfed validate"
        )
    data = Dataset.read(dataset)
    found = Reviewed(
        model_sha256=file_digest(release / MODEL),
        weights_digest=model.weights_digest,
        task=model.task.name,
        task_digest=model.task.digest,
        dataset_digest=data.digest,
        split=choice.split,
        blinded=choice.blinded,
        readers=choice.readers,
        seed=secrets.randbelow(2**31) if choice.seed is None else choice.seed,
    )
    folder = StateFolder(state)
    journal = open_journal(folder)
    journal.recover()
    reviewed = _same_review(journal, found, choice)
    bundle = Bundle(release, dataset, folder, journal.store, reviewed)
    with journal.store.read() as db:
        salt = get_meta(db, "salt")
    assert salt is not None  # the folder has given it one
    prepare(bundle, model, data, salt, on_progress)
    _check_chain(journal)
    bench = Bench(bundle, journal, model.task, salt, data.site, choice.dicom)
    journal.record(Deed("", "", "start", reviewed.model_dump()))
    return bench


def _same_review(journal: Journal, found: Reviewed, choice: Choice) -> Reviewed:
    """What is reviewed in the folder; the first to open it decides.

    Raises:
        GateError: it is something else.
    """
    with journal.store.write() as db:
        kept = get_meta(db, "reviewed")
        if kept is None:
            set_meta(db, "reviewed", found.model_dump_json())
            return found
    reviewed = Reviewed.model_validate_json(kept)
    if choice.seed is None:
        found = found.model_copy(update={"seed": reviewed.seed})
    other = [name for name, value in reviewed.model_dump().items() if getattr(found, name) != value]
    if other:
        raise GateError(
            f"the state folder holds the review of something else: {', '.join(other)} differ(s); "
            "give the release, dataset and options that it was begun with, or another --state"
        )
    return reviewed


def _check_chain(journal: Journal) -> None:
    _, problems = journal.check()
    if problems:
        raise GateError("the audit chain does not hold: " + "; ".join(problems[:5]))
