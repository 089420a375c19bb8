"""Made-up outcome tasks, prepared samples, and datasets on disk whose outcomes follow from what goes in."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radfed.dataset.layout import Case, Datalist, Observed, Outcome, write_lists
from radfed.dataset.splits import SplitName
from radfed.imaging.nifti import write_image
from radfed.imaging.volume import Volume
from radfed.task import OutcomeTask
from radfed.training.outcome_samples import OutcomeSample

OUTCOMES: dict[str, dict[str, Any]] = {
    "multiclass": {"type": "multiclass", "classes": ["well", "ill"]},
    "multilabel": {"type": "multilabel", "findings": ["fluid", "nodule"]},
    "survival": {"type": "survival"},
}
SMALL_ENCODERS: dict[str, dict[str, Any]] = {
    "DenseNet": {"block_config": [2, 2], "init_features": 8, "growth_rate": 4},
    "ResNet": {"layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 8, 16]},
    "EfficientNet": {},
    "ViT": {"patch_size": 8, "hidden_size": 24, "mlp_dim": 32, "num_layers": 2},
}
SIDE = 16


def outcome_task(
    encoder: str | None = None,
    covariates: int = 0,
    outcome: str = "multiclass",
    size: Sequence[int] = (SIDE, SIDE),
    encoder_args: dict[str, Any] | None = None,
    weights: Sequence[float] | None = None,
    **network: Any,  # noqa: ANN401 - settings of several types
) -> OutcomeTask:
    """A task of the kind that follows from what goes in and what comes out."""
    kind = "survival" if outcome == "survival" else "tabular"
    if encoder is not None and outcome != "survival":
        kind = "multimodal" if covariates else "classification"
    content: dict[str, Any] = {
        "name": "made_up",
        "kind": kind,
        "description": "d",
        "intended_use": "i",
        "covariates": [{"type": "numeric", "name": f"lab_{number}"} for number in range(covariates)],
        "outcome": OUTCOMES[outcome],
        "class_weights": weights,
        "network": {"features": 8, **network},
    }
    if encoder is not None:
        chosen = SMALL_ENCODERS[encoder] if encoder_args is None else encoder_args
        content["network"]["encoder"] = {"name": encoder, "args": chosen}
        content["image"] = {"channels": [{"name": "xray"}], "dimensions": len(size), "size": list(size)}
    return OutcomeTask.check(content, "test")


def outcome_samples(task: OutcomeTask, count: int, seed: int = 0) -> list[OutcomeSample]:
    """Cases whose outcome shows: as a bright half of the image, and in the first number of the record."""
    random = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        risk = random.normal()
        image = record = None
        if task.image is not None:
            image = random.normal(0, 0.5, (1, *task.image.size)).astype(np.float32)
            image[:, : task.image.size[0] // 2] += risk
        if task.covariates:
            record = random.normal(0, 0.5, task.width).astype(np.float32)
            record[0] = risk
        samples.append(OutcomeSample(f"case-{number}", image, record, _target(task, risk, random)))
    return samples


def _target(task: OutcomeTask, risk: float, random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    match task.outcome.type:
        case "multiclass":
            values = [float(risk > 0)]
        case "multilabel":
            values = [float(risk > 0), float(risk < -0.5)]
        case "survival":
            time, censored = random.exponential(np.exp(-2 * risk)), random.exponential(2.0)
            values = [min(time, censored), float(time <= censored)]
    return np.array(values, dtype=np.float32)


def write_outcome_dataset(root: Path, site: str, task: OutcomeTask, counts: dict[SplitName, int], seed: int) -> Path:
    """A prepared dataset as ``radfed ingest`` leaves it; returns its folder."""
    random = np.random.default_rng(seed)
    cases = []
    (root / "images").mkdir(parents=True)
    for split, count in counts.items():
        for number in range(count):
            name = hashlib.sha256(f"{site}/{split}/{number}".encode()).hexdigest()
            cases.append(_case(root, name, split, task, random))
    lists: dict[str, tuple[dict[str, str], ...]] = {"training": (), "validation": (), "test": ()}
    listed = Datalist(
        name=site, description="d", site=site, task=task.name, phantom=True, labels={}, channels={}, **lists
    )
    write_lists(root, listed, tuple(cases), ())
    return root


def _case(root: Path, name: str, split: SplitName, task: OutcomeTask, random: np.random.Generator) -> Case:
    sample = outcome_samples(task, 1, seed=int(random.integers(2**31)))[0]
    content: dict[str, Any] = {}
    if sample.image is not None:
        # A plane of the contract's orientation, drawn like an axial slice.
        write_image(
            root / f"images/{name[:12]}.nii.gz", Volume(sample.image[..., None], np.diag([-1.0, -1.0, 1.0, 1.0]))
        )
        width, height = sample.image.shape[1:]
        content = {"image": f"images/{name[:12]}.nii.gz", "size": (width, height, 1), "spacing": (1.0, 1.0, 1.0)}
    covariates: dict[str, float | str] = {}
    if sample.record is not None:
        # Two numbers enter for each covariate: the value, and whether it is missing.
        covariates = {covariate.name: float(sample.record[2 * i]) for i, covariate in enumerate(task.covariates)}
    return Case(
        id=f"case-{name[:12]}",
        patient=f"pat-{name[:12]}",
        split=split,
        digest=name,
        channels=0 if sample.image is None else 1,
        covariates=covariates,
        outcome=_outcome(task, sample),
        **content,
    )


def _outcome(task: OutcomeTask, sample: OutcomeSample) -> Outcome:
    match task.outcome.type:
        case "multiclass":
            return task.finds[int(sample.target[0])]
        case "multilabel":
            return tuple(name for name, there in zip(task.finds, sample.target, strict=True) if there)
        case "survival":
            return Observed(time=float(sample.target[0]), event=bool(sample.target[1]))
