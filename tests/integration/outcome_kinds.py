"""Small tasks of every kind, runs that a few steps of training left, and sites' data as files."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from radfed.dataset.layout import Case, Datalist, Observed, entry, write_lists
from radfed.imaging.nifti import read_image, write_image, write_mask
from radfed.imaging.plane import NOMINAL_SPACING
from radfed.imaging.volume import Volume
from radfed.job import FederationSettings, Job, JobSpec
from radfed.ledger import Ledger, RoundLine, SiteLine, conclude
from radfed.task import OutcomeTask, SegmentationTask, TaskSpec
from radfed.training.networks import build_network
from radfed.weights import save_weights, weights_digest

_ENCODER = {"name": "DenseNet", "args": {"init_features": 4, "growth_rate": 4, "block_config": [1, 1]}}
_IMAGE = {"encoder": _ENCODER, "features": 8}
_PICTURE = {"channels": [{"name": "xray", "modality": "DX"}], "size": [32, 32]}
_COMPUTED = {"channels": [{"name": "xray", "modality": "CR"}], "size": [32, 32]}
_VOLUME = {
    "channels": [{"name": "t1", "modality": "MR"}], "dimensions": 3, "size": [16, 16, 16], "orientation": "RAS",
    "limits": {"min_size_mm": [8, 8, 8], "max_size_mm": [99, 99, 99]},
}  # fmt: skip
_RECORD = [
    {"type": "numeric", "name": "crp", "unit": "mg/L", "lower": 0, "upper": 500, "mean": 100, "deviation": 60},
    {"type": "categorical", "name": "sex", "values": ["female", "male"]},
]
_TWO = {"type": "multiclass", "classes": ["normal", "ill"]}
KINDS: dict[str, dict[str, object]] = {
    "classes": {
        "kind": "classification", "image": _PICTURE, "network": _IMAGE,
        "outcome": {"type": "multiclass", "classes": ["normal", "pneumonia", "effusion"]},
    },
    "findings": {
        "kind": "classification", "image": _COMPUTED, "network": _IMAGE,
        "outcome": {"type": "multilabel", "findings": ["nodule", "mass"]},
    },
    "volumes": {"kind": "classification", "image": _VOLUME, "network": _IMAGE, "outcome": _TWO},
    "multimodal": {
        "kind": "multimodal", "image": _PICTURE, "covariates": _RECORD, "outcome": _TWO,
        "network": _IMAGE | {"hidden": [4]},
    },
    "tabular": {"kind": "tabular", "covariates": _RECORD, "outcome": _TWO, "network": {"hidden": [4]}},
    "survival": {
        "kind": "survival", "covariates": _RECORD, "network": {}, "outcome": {"type": "survival", "unit": "d"},
    },
    "planes": {
        "kind": "segmentation", "dimensions": 2, "channels": [{"name": "cine", "modality": "MR"}],
        "labels": [{"value": 1, "name": "bright"}], "spacing": [0.2, 0.2, 1.0], "roi_size": [16, 16, 1],
        "network": {"name": "UNet", "args": {"channels": [4, 8], "strides": [2]}},
        "limits": {"min_size_mm": [1, 1, 1], "max_size_mm": [99, 99, 99]},
    },
}  # fmt: skip
_BRIGHT = 700
_CASES = {"validation": 16, "test": 20}


@dataclass(frozen=True)
class Known:
    """A case whose outcome is known."""

    volume: Volume | None
    record: Mapping[str, float | str]
    truth: object


def task_of(name: str) -> SegmentationTask | OutcomeTask:
    about = {"name": f"try_{name}", "description": "Tries the software.", "intended_use": "Trying the software."}
    task = TaskSpec.check({**about, **KINDS[name]}, "test")
    assert isinstance(task, SegmentationTask | OutcomeTask)
    return task


def known_case(task: SegmentationTask | OutcomeTask, number: int) -> Known:
    """A case of which the record and the picture say what is so: the sick have much CRP, and a bright spot."""
    random = np.random.default_rng(number)
    grade = number % 3
    sick = grade > 0
    image = None if isinstance(task, SegmentationTask) else task.image
    volume = None
    if isinstance(task, SegmentationTask) or image is not None:
        sides = (20, 20, 20) if image is not None and image.dimensions == 3 else (40, 36, 1)
        array = random.integers(0, 400, sides)
        array[8 : 12 + 4 * grade, 8:14] += 1000 * grade
        side = 1.0 if sides[2] > 1 else NOMINAL_SPACING
        volume = Volume(array[np.newaxis].astype(np.float32), np.diag([-side, -side, 1.0, 1.0]))
    record: dict[str, float | str] = {"crp": float(random.integers(200, 300) if sick else random.integers(5, 90))}
    if number % 4:
        record["sex"] = "male"
    if isinstance(task, SegmentationTask):
        return Known(volume, {}, None)
    outcomes: dict[str, object] = {
        "multiclass": task.finds[min(grade, len(task.finds) - 1)],
        "multilabel": task.finds[:grade],
        "survival": Observed(time=float(1 + random.integers(9) + (0 if sick else 20)), event=bool(number % 5)),
    }
    return Known(volume, record if task.covariates else {}, outcomes[task.outcome.type])


def write_known(root: Path, task: SegmentationTask | OutcomeTask) -> Path:
    """A prepared dataset of such cases, for validation and for tests."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    cases = []
    for number, split in enumerate(split for split, count in _CASES.items() for _ in range(count)):
        known = known_case(task, number)
        key = hashlib.sha256(f"{root.name}{number}".encode()).hexdigest()
        content: dict[str, object] = {
            "id": f"case-{key[:12]}", "patient": f"pat-{key[:12]}", "split": split, "digest": key,
            "covariates": dict(known.record), "outcome": known.truth, "channels": 0,
        }  # fmt: skip
        if known.volume is not None:
            name = f"images/case-{key[:12]}.nii.gz"
            write_image(root / name, known.volume)
            content |= {"image": name, "size": known.volume.shape, "spacing": known.volume.spacing, "channels": 1}
            if isinstance(task, SegmentationTask):
                label = name.replace("images", "labels")
                mask = (known.volume.array[0] > _BRIGHT).astype(np.uint8)
                write_mask(root / label, mask, read_image(root / name).affine)
                content["label"] = label
        cases.append(Case.model_validate(content))
    labels = {"0": "background", "1": "bright"} if isinstance(task, SegmentationTask) else {}
    with_image = cases[0].image is not None
    lists = {split: tuple(entry(case) for case in cases if case.split == split) for split in ("training", *_CASES)}
    datalist = {
        "name": task.name, "description": "made up", "site": root.name, "task": task.name, "labels": labels,
        "channels": {"0": "image"} if with_image else {}, **lists,
    }  # fmt: skip
    write_lists(root, Datalist.model_validate(datalist), tuple(cases), ())
    return root


def trained_run(folder: Path, task: SegmentationTask | OutcomeTask, steps: int = 50) -> Path:
    """A run folder as ``radfed job simulate`` leaves it, with a model that took a few steps on such cases."""
    folder.mkdir(parents=True)
    network = build_network(task, seed=0)
    loss = _train(network, task, steps)
    weights: dict[str, NDArray[np.generic]] = {name: t.numpy() for name, t in network.state_dict().items()}
    spec = JobSpec(name="try", description="test", federation=FederationSettings(rounds=1))
    Job(job=spec, task=task).write_json(folder / "job.json")
    save_weights(folder / "best.safetensors", weights)
    ledger, digest = Ledger(folder / "ledger.jsonl"), weights_digest(weights)
    for site in ("site-a", "site-b"):
        ledger.append(SiteLine(round=1, site=site, accepted=True, weight=20.0, loss=loss))
    ledger.append(RoundLine(round=1, digest=digest, accepted=2, metric=0.8, metric_cases=10, seconds=1.0))
    ledger.append(conclude(ledger.lines, ("site-a", "site-b"), 1))
    return folder


def _train(network: torch.nn.Module, task: SegmentationTask | OutcomeTask, steps: int) -> float:
    """Adam on nine cases that no dataset holds; the last loss."""
    inputs, target = _batch(task, [known_case(task, 1000 + number) for number in range(9)])
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(steps):
        loss = _loss(network(*inputs), target, task)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    network.eval()
    return float(loss.item())


def _batch(task: SegmentationTask | OutcomeTask, cases: Sequence[Known]) -> tuple[list[torch.Tensor], torch.Tensor]:
    from radfed.inference.outcome import prepare_case
    from radfed.preprocessing.pipeline import prepare

    if isinstance(task, SegmentationTask):
        volumes = [case.volume for case in cases if case.volume is not None]
        planes = [prepare(v.array, v.affine, task)[0][:, :32, :32, 0] for v in volumes]
        marked = [
            prepare((v.array > _BRIGHT).astype(np.float32), v.affine, task)[0][0, :32, :32, 0] > 0 for v in volumes
        ]
        return [torch.from_numpy(np.stack(planes))], torch.from_numpy(np.stack(marked)).long()
    prepared = [prepare_case(case.volume, case.record, task) for case in cases]
    found = [[one.image for one in prepared], [one.record for one in prepared]]
    given = [[value for value in values if value is not None] for values in found]
    inputs = [torch.from_numpy(np.stack(values)) for values in given if values]
    finds = task.finds
    match task.outcome.type:
        case "multiclass":
            return inputs, torch.tensor([finds.index(str(case.truth)) for case in cases])
        case "multilabel":
            there = [case.truth if isinstance(case.truth, tuple) else () for case in cases]
            return inputs, torch.tensor([[float(name in names) for name in finds] for names in there])
        case _:
            times = [case.truth.time for case in cases if isinstance(case.truth, Observed)]
            return inputs, torch.tensor(times)


def _loss(logits: torch.Tensor, target: torch.Tensor, task: SegmentationTask | OutcomeTask) -> torch.Tensor:
    if isinstance(task, SegmentationTask):
        return torch.nn.functional.cross_entropy(logits, target, weight=torch.tensor([0.1, 1.0]))
    if task.outcome.type == "multiclass":
        return torch.nn.functional.cross_entropy(logits, target)
    if task.outcome.type == "multilabel":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    hazard = -torch.log(target)  # a log hazard has no zero
    return torch.nn.functional.mse_loss(logits[:, 0], hazard - hazard.mean())


def write_table(path: Path, records: Mapping[str, Mapping[str, float | str]], columns: Sequence[str]) -> Path:
    """The table that ``radfed predict`` reads."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", *columns])
        writer.writerows([[case, *(record.get(name, "") for name in columns)] for case, record in records.items()])
    return path
