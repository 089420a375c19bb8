"""Three small made-up sites with known structures, and predictors that find them more or less well."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from radfed.dataset.layout import Case, Datalist, Dataset, Quarantined, entry, write_lists
from radfed.dataset.splits import SplitName
from radfed.imaging.nifti import write_image, write_mask
from radfed.imaging.volume import Volume
from radfed.inference.sliding_window import Predictor
from radfed.task import Channel, Label, SegmentationTask, UNetArgs, UNetNetwork, Window
from radfed.validation.results import CaseResult, Evaluation, LabelResult

SHAPE = (24, 28, 20)
SPACING = (1.0, 1.0, 1.5)


@pytest.fixture(scope="session")
def task() -> SegmentationTask:
    return SegmentationTask(
        name="two_balls",
        description="Finds two balls in a made-up scan.",
        intended_use="Trying the software.",
        channels=(Channel(name="image", modality="MR"),),
        labels=(Label(value=1, name="left_ball"), Label(value=4, name="right_ball")),
        spacing=SPACING,
        intensity=Window(lower=0.0, upper=2.0),
        roi_size=(24, 28, 20),
        network=UNetNetwork(args=UNetArgs(channels=(4, 8), strides=(2,))),
    )


def predictor(sharpness: float = 0.0) -> Predictor:
    """Each voxel is what its intensity, blurred by ``sharpness`` voxels, is nearest to."""

    def predict(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        seen = ndimage.gaussian_filter(windows[:, 0], (0, sharpness, sharpness, sharpness))
        return np.stack([-(np.abs(seen - level)) for level in (0.0, 0.5, 1.0)], axis=1).astype(np.float32)

    return predict


@pytest.fixture(scope="session")
def make_predictor() -> Callable[[float], Predictor]:
    return predictor


def make_dataset(root: Path, site: str, seed: int, splits: dict[SplitName, int], without_second: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    affine = np.diag([*SPACING, 1.0])
    axes = np.ogrid[tuple(slice(0, side) for side in SHAPE)]
    cases: list[Case] = []
    for split, count in splits.items():
        for index in range(count):
            label = np.zeros(SHAPE, dtype=np.uint8)
            for value, centre in ((1, (7, 14, 10)), (4, (17, 14, 10))):
                if value == 4 and split == "test" and index < without_second:
                    continue
                middle = np.array(centre) + random.uniform(-1, 1, 3)
                label[sum(((a - m) / r) ** 2 for a, m, r in zip(axes, middle, (5, 7, 4), strict=True)) <= 1] = value
            level = np.choose(np.searchsorted([1, 4], label, side="right"), [0.0, 1.0, 2.0])
            image = ndimage.gaussian_filter(level, random.uniform(0.4, 1.0)) + random.normal(0, 0.12, SHAPE)
            name = f"{seed:04x}{len(cases):08x}"
            write_image(root / f"images/case-{name}.nii.gz", Volume(image[None].astype(np.float32), affine))
            write_mask(root / f"labels/case-{name}.nii.gz", label, affine)
            cases.append(
                Case(
                    id=f"case-{name}", patient=f"pat-{name}", split=split, image=f"images/case-{name}.nii.gz",
                    label=f"labels/case-{name}.nii.gz", digest=f"{seed:032x}{len(cases):032x}", size=SHAPE,
                    spacing=SPACING, source_orientation="RAS",
                )
            )  # fmt: skip
    datalist = Datalist(
        name="two_balls", description="made up", site=site, task="two_balls", phantom=True,
        labels={"0": "background", "1": "left_ball", "4": "right_ball"}, channels={"0": "image"},
        **{split: tuple(entry(c) for c in cases if c.split == split) for split in ("training", "validation", "test")},
    )  # fmt: skip
    refused = (Quarantined(id="case-q", reason="bad_affine", detail="singular"),) * (seed % 3)
    write_lists(root, datalist, tuple(cases), refused)
    return Dataset.read(root)


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, ...]:
    root = tmp_path_factory.mktemp("datasets")
    return (
        make_dataset(root / "a", "site-a", 1, {"training": 2, "validation": 1, "test": 5}, without_second=1),
        make_dataset(root / "b", "site-b", 2, {"training": 1, "validation": 1, "test": 4}),
        make_dataset(root / "c", "site-c", 3, {"training": 1, "validation": 1, "test": 1}),
    )


def scored(site: str, index: int, dice: float, patient: str = "", **changes: object) -> CaseResult:
    """A case of one label with a given Dice."""
    values: dict[str, object] = {
        "label": "ball", "outcome": "compared", "dice": dice, "hd95": 3 * (1 - dice), "nsd": dice,
        "reference_ml": 2.0, "prediction_ml": 2.0 + dice,
    }  # fmt: skip
    return CaseResult(
        site=site,
        patient=patient or f"pat-{site}-{index}",
        case=f"case-{site}-{index}",
        digest=f"{site}-{index}",
        labels=(LabelResult.model_validate(values | changes),),
    )


@pytest.fixture(scope="session")
def make_case() -> Callable[..., CaseResult]:
    return scored


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., Evaluation]:
    def make(*cases: CaseResult, model: str = "federated") -> Evaluation:
        return Evaluation(model=model, task="two_balls", task_digest="0", split="test", cases=cases)

    return make
