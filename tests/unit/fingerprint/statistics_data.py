"""Prepared datasets made up for statistics: every value known, sites that differ, some counts too small to be told."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from radfed.dataset.digests import volume_digest
from radfed.dataset.fingerprint import Told
from radfed.dataset.fingerprint_content import SiteFingerprint
from radfed.dataset.fingerprint_rules import Rules
from radfed.dataset.layout import Case, Datalist, Dataset, Scanner, entry, write_lists
from radfed.dataset.splits import SplitName
from radfed.imaging.nifti import write_image, write_mask
from radfed.imaging.volume import Volume
from radfed.task import OutcomeTask, SegmentationTask

AnyTask = SegmentationTask | OutcomeTask

SITES = ("north", "south", "west")
RARE = 17
"""Cases of the class that no site may tell, with ``CAREFUL`` patients wanted; a number found nowhere else."""
CAREFUL = 20
_MADE = {"north": ("Acme", "One"), "south": ("Acme", "Two"), "west": ("Brand", "Three")}


def organ_task() -> SegmentationTask:
    """A CT and an MR channel, so one common range and one that the sites must agree on; two labels."""
    return SegmentationTask.check(
        {
            "name": "made_up_organs",
            "description": "test",
            "intended_use": "test",
            "channels": [{"name": "ct", "modality": "CT"}, {"name": "mr", "modality": "MR"}],
            "labels": [{"value": 1, "name": "large"}, {"value": 2, "name": "small"}],
            "spacing": [1, 1, 1],
            "roi_size": [16, 16, 16],
            "network": {"name": "UNet"},
        },
        "test",
    )


def record_task() -> OutcomeTask:
    """Records alone: a number with limits, one without, one with few values missing, and a category."""
    return OutcomeTask.check(
        {
            "name": "made_up_records",
            "kind": "tabular",
            "description": "test",
            "intended_use": "test",
            "covariates": [
                {"type": "numeric", "name": "age", "lower": 0, "upper": 120},
                {"type": "numeric", "name": "crp"},
                {"type": "numeric", "name": "lactate", "lower": 0, "upper": 20},
                {"type": "categorical", "name": "sex", "values": ["f", "m"]},
            ],
            "outcome": {"type": "multiclass", "classes": ["well", "ill", "rare"]},
            "network": {"name": "OutcomeNetwork", "hidden": [8]},
        },
        "test",
    )


def mixed_task() -> OutcomeTask:
    """The records with a CT and an MR channel: everything that a fingerprint of an outcome task has."""
    content = record_task().model_dump(mode="json")
    content |= {
        "name": "made_up_mixture",
        "kind": "multimodal",
        "image": {
            "channels": [{"name": "ct", "modality": "CT"}, {"name": "mr", "modality": "MR"}],
            "dimensions": 3,
            "size": [32, 32, 32],
        },
    }
    content["network"] |= {"encoder": {"name": "DenseNet"}}
    return OutcomeTask.check(content, "test")


def write_organs(folder: Path, site: str, cases: int = 12) -> Path:
    """Images of two channels whose spacing, brightness and label volumes differ by site and case."""
    number = SITES.index(site)
    random = np.random.default_rng(number)
    root = folder / site
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()

    def case(index: int) -> Case:
        spacing = np.array([0.8 + 0.1 * number, 0.8 + 0.1 * number, 2.0 + number + 0.05 * (index % 3)])
        shape = (20 + index % 4, 22, 10)
        ct = random.normal(40 + 30 * number, 60, shape)
        mr = random.normal(100 * (1 + number), 30, shape).clip(0)
        labels = np.zeros((1, *shape), np.uint8)
        labels[0, 2 : 8 + index % 3, 2:9, 2:7] = 1
        labels[0, 12:15, 12:15, 4 : 6 + index % 2] = 2
        affine = np.diag([*spacing, 1.0])
        name = f"{number:02d}{index:04d}"
        image = Volume(np.stack([ct, mr]).astype(np.float32), affine)
        write_image(root / f"images/{name}.nii.gz", image)
        write_mask(root / f"labels/{name}.nii.gz", labels[0], affine)
        voxel = float(spacing.prod())
        return Case(
            **_who(number, index),
            split=_split(index),
            image=f"images/{name}.nii.gz",
            label=f"labels/{name}.nii.gz",
            digest=volume_digest(image),
            channels=2,
            size=shape,
            spacing=tuple(spacing),
            label_volumes={value: float((labels == value).sum()) * voxel for value in (1, 2)},
            scanner=Scanner(manufacturer=_MADE[site][0], model=_MADE[site][1]),
        )

    return _write(root, site, case, cases + 6)


def write_records(folder: Path, site: str, cases: int = 240, images: bool = False) -> Path:
    """Records whose values are distinct, with ``RARE`` cases of one class and three values of one covariate missing.

    With ``images``, each has two small channels.
    """
    number = SITES.index(site)
    random = np.random.default_rng(100 + number)
    root = folder / site
    (root / "images").mkdir(parents=True)

    def image(index: int) -> dict[str, object]:
        spacing = (0.7 + 0.1 * number, 0.7 + 0.1 * number, 1.0 + 0.5 * (index % 4))
        shape = (9 + index % 3, 10, 6)
        channels = (random.normal(40 + 30 * number, 60, shape), random.normal(300 * (1 + number), 90, shape).clip(0))
        name = f"{number:02d}{index:04d}"
        voxels = np.stack(channels).astype(np.float32)
        write_image(root / f"images/{name}.nii.gz", Volume(voxels, np.diag([*spacing, 1.0])))
        scanner = Scanner(manufacturer=_MADE[site][0], model=_MADE[site][1])
        found = {"image": f"images/{name}.nii.gz", "channels": 2, "size": shape, "spacing": spacing}
        return found | {"scanner": scanner}

    def case(index: int) -> Case:
        covariates: dict[str, float | str] = {
            "age": float(np.clip(random.normal(50 + 5 * number, 12), 1, 119)),
            "crp": float(random.lognormal(2 + 0.3 * number, 0.6)),
            "sex": "f" if random.random() < 0.4 + 0.1 * number else "m",
        }
        lactate = float(np.clip(random.normal(3 + number, 1), 0.1, 19))
        if index not in (7, 70, 140):
            covariates["lactate"] = lactate
        outcome = "rare" if index < RARE else "ill" if random.random() < 0.3 + 0.1 * number else "well"
        return Case(
            **_who(number, index),
            split=_split(index, cases),
            digest=f"{number:032x}{index:032x}",
            covariates=covariates,
            outcome=outcome,
            **(image(index) if images else {"channels": 0}),
        )

    return _write(root, site, case, cases + 60)


def tell_together(datasets: Mapping[str, Dataset], task: AnyTask, rules: Rules) -> dict[str, SiteFingerprint]:
    """What sites tell that have agreed on ranges, as the server has them do."""
    told = {site: Told(dataset, task, rules) for site, dataset in datasets.items()}
    shared = {name for one in told.values() for name in one.features}
    ends = {name: [one.range(name) for one in told.values() if name in one.features] for name in shared}
    found = {}
    for site, one in told.items():
        values = {}
        for name in one.features:
            bins = one.agreed(name, min(low for low, _ in ends[name]), max(high for _, high in ends[name]))
            values[name] = one.measure(name).model_copy(update={"histogram": one.histogram(name, bins)})
        found[site] = SiteFingerprint(values=values, groups=one.groups)
    return found


def _who(number: int, index: int) -> dict[str, str]:
    return {"id": f"case-{number:04x}{index:08x}", "patient": f"pat-{number:04x}{index:08x}"}


def _split(index: int, training: int = 12) -> SplitName:
    return "training" if index < training else "validation" if index % 2 else "test"


def _write(root: Path, site: str, case: Callable[[int], Case], number: int) -> Path:
    cases = tuple(case(index) for index in range(number))
    lists = {name: tuple(entry(c) for c in cases if c.split == name) for name in ("training", "validation", "test")}
    datalist = Datalist(name=site, description="test", site=site, phantom=True, labels={}, channels={}, **lists)
    write_lists(root, datalist, cases, ())
    return root
