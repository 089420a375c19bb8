"""Made-up sites whose cases have an outcome, and a model that sees some of it."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from radfed.dataset.layout import Case, Datalist, Dataset, Observed, Outcome, entry, write_lists
from radfed.dataset.splits import SplitName
from radfed.imaging.nifti import write_image
from radfed.imaging.volume import Volume
from radfed.inference.outcome import Answerer
from radfed.task import (
    Channel,
    DenseNetEncoder,
    ImageInput,
    MultiClass,
    MultiLabel,
    NumericCovariate,
    OutcomeNetwork,
    OutcomeTask,
    Survival,
    Window,
)
from radfed.validation.outcome.results import Kind, OperatingPoints, OutcomeCase, OutcomeEvaluation

SIDE = 16


@pytest.fixture(scope="session")
def picture_task() -> OutcomeTask:
    return OutcomeTask(
        name="bright_planes",
        kind="classification",
        description="Tells bright planes from dark ones.",
        intended_use="Trying the software.",
        image=ImageInput(channels=(Channel(name="image"),), size=(SIDE, SIDE), intensity=Window(lower=0, upper=1)),
        outcome=MultiClass(classes=("dark", "bright")),
        network=OutcomeNetwork(encoder=DenseNetEncoder()),
    )


def record_task(outcome: MultiClass | MultiLabel | Survival, width: int = 3) -> OutcomeTask:
    return OutcomeTask(
        name="records",
        kind="survival" if isinstance(outcome, Survival) else "tabular",
        description="Reads numbers.",
        intended_use="Trying the software.",
        covariates=tuple(NumericCovariate(name=f"x{index}") for index in range(width)),
        outcome=outcome,
        network=OutcomeNetwork(),
    )


@pytest.fixture(scope="session")
def make_record_task() -> Callable[..., OutcomeTask]:
    return record_task


def pseudonym(kind: str, *parts: object) -> str:
    return f"{kind}-{hashlib.sha256('/'.join(map(str, parts)).encode()).hexdigest()[:12]}"


def write_dataset(root: Path, site: str, task: OutcomeTask, cases: Sequence[Case]) -> Dataset:
    root.mkdir(parents=True, exist_ok=True)
    datalist = Datalist(
        name=task.name, description="made up", site=site, task=task.name, phantom=True, labels={},
        channels={"0": "image"} if task.image else {},
        **{split: tuple(entry(c) for c in cases if c.split == split) for split in ("training", "validation", "test")},
    )  # fmt: skip
    write_lists(root, datalist, tuple(cases), ())
    return Dataset.read(root)


def bright_site(
    root: Path, site: str, task: OutcomeTask, seed: int, splits: dict[SplitName, int], share: float = 0.5
) -> Dataset:
    """Planes whose brightness tells their class with some noise; two cases of a patient where ``seed`` is 3."""
    random = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    cases = []
    for split, count in splits.items():
        for index in range(count):
            bright = index < share * count
            name = pseudonym("case", site, split, index)
            level = float(np.clip(random.normal(0.6 if bright else 0.4, 0.15), 0, 1))
            plane = np.full((1, SIDE, SIDE, 1), level) + random.uniform(-0.05, 0.05, (1, SIDE, SIDE, 1))
            write_image(root / f"images/{name}.nii.gz", Volume(plane.astype(np.float32), np.diag([-1.0, -1, 1, 1])))
            cases.append(
                Case(
                    id=name, patient=pseudonym("pat", site, split, index // 2 if seed == 3 else index), split=split,
                    image=f"images/{name}.nii.gz", digest=hashlib.sha256(name.encode()).hexdigest(),
                    size=(SIDE, SIDE, 1), spacing=(1, 1, 1), outcome="bright" if bright else "dark",
                )
            )  # fmt: skip
    return write_dataset(root, site, task, cases)


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory, picture_task: OutcomeTask) -> tuple[Dataset, ...]:
    root = tmp_path_factory.mktemp("bright")
    return (
        bright_site(root / "a", "site-a", picture_task, 1, {"training": 2, "validation": 10, "test": 24}),
        bright_site(root / "b", "site-b", picture_task, 2, {"training": 2, "validation": 8, "test": 16}, 0.25),
        bright_site(root / "c", "site-c", picture_task, 4, {"training": 2, "test": 6}, 0.0),
        bright_site(root / "d", "site-d", picture_task, 5, {"training": 2, "test": 2}),
    )


@pytest.fixture(scope="session")
def by_brightness() -> Answerer:
    """Logits of two classes from the mean of the image."""

    def answer(image: NDArray[np.float32] | None, _records: NDArray[np.float32] | None) -> NDArray[np.float32]:
        assert image is not None
        line = 8 * (image.mean(axis=(1, 2, 3)) - 0.5)
        return np.stack([-line, line], axis=1).astype(np.float32)

    return answer


def records_site(
    root: Path, site: str, task: OutcomeTask, rows: Sequence[tuple[Sequence[float], Outcome, SplitName]]
) -> Dataset:
    cases = [
        Case(
            id=pseudonym("case", site, index), patient=pseudonym("pat", site, index), split=split, channels=0,
            digest=hashlib.sha256(f"{site}{index}".encode()).hexdigest(),
            covariates={f"x{place}": float(value) for place, value in enumerate(values)}, outcome=outcome,
        )
        for index, (values, outcome, split) in enumerate(rows)
    ]  # fmt: skip
    return write_dataset(root, site, task, cases)


@pytest.fixture(scope="session")
def make_records_site() -> Callable[..., Dataset]:
    return records_site


def first_numbers(outputs: int) -> Answerer:
    """The scaled covariates themselves as logits."""

    def answer(_image: NDArray[np.float32] | None, records: NDArray[np.float32] | None) -> NDArray[np.float32]:
        assert records is not None
        return records[:, 0 : 2 * outputs : 2]  # each number is followed by its indicator of being missing

    return answer


@pytest.fixture(scope="session")
def make_record_answer() -> Callable[[int], Answerer]:
    return first_numbers


def evaluation_of(
    kind: Kind,
    finds: tuple[str, ...],
    rows: Sequence[tuple[str, str, Sequence[float], Outcome]],
    thresholds: dict[str, float] | None = None,
    model: str = "federated",
) -> OutcomeEvaluation:
    """An evaluation from rows of site, patient, scores and truth."""
    cases = tuple(
        OutcomeCase(site=site, patient=patient, case=f"case-{index}", scores=tuple(scores), truth=truth)
        for index, (site, patient, scores, truth) in enumerate(rows)
    )
    points = OperatingPoints(origin="validation", thresholds=thresholds or {}, cases=dict.fromkeys(thresholds or {}, 9))
    return OutcomeEvaluation(
        model=model,
        task="records",
        task_digest="0",
        split="test",
        kind=kind,
        finds=finds,
        operating=points,
        cases=cases,
    )


@pytest.fixture(scope="session")
def make_outcome_evaluation() -> Callable[..., OutcomeEvaluation]:
    return evaluation_of


def two_classes(seed: int, count: int = 60, patients: int | None = None, spread: float = 1.0) -> OutcomeEvaluation:
    """Cases at two sites, half of them positive."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    score = 1 / (1 + np.exp(-(random.normal(0, spread, count) + 2 * truth - 1)))
    return evaluation_of(
        "multiclass",
        ("no", "yes"),
        [
            ("ab"[i % 3 == 0], f"p{i % (patients or count)}", (1 - score[i], score[i]), ("no", "yes")[truth[i]])
            for i in range(count)
        ],
        {"yes": 0.45},
    )


@pytest.fixture(scope="session")
def make_two_classes() -> Callable[..., OutcomeEvaluation]:
    return two_classes


def watched(seed: int, count: int = 50) -> OutcomeEvaluation:
    """Times to an event at two sites, some censored."""
    random = np.random.default_rng(seed)
    hazard = random.normal(0, 1, count)
    time = random.exponential(np.exp(-hazard))
    rows = [
        ("ab"[i % 2], f"p{i}", (float(hazard[i] + random.normal()),), Observed(time=float(time[i]), event=bool(i % 3)))
        for i in range(count)
    ]
    return evaluation_of("survival", ("hazard",), rows)


@pytest.fixture(scope="session")
def survival_evaluation() -> OutcomeEvaluation:
    return watched(1)
