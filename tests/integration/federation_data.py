"""A tiny training for federations of real processes: phantoms, a network of a few thousand weights, few steps."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.layout import Dataset
from radfed.dataset.splits import SplitSettings, split_of
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.job import Job, find_job
from radfed.weights import load_weights

VALIDATION, TEST = 2, 3
TRAINING = 4
"""Of the first site; every further one has one more, so that weights by cases differ from equal ones."""


def tiny_job(name: str = "tiny", seed: int = 0, channels: Sequence[int] = (8, 16), **federation: object) -> Job:
    """The shipped phantom job on a coarse grid with a small UNet.

    Args:
        name: of the job.
        seed: of the training.
        channels: of the UNet, by level.
        federation: instead of the job's federation settings, for example ``rounds=4``.
    """
    content: dict[str, Any] = find_job("phantom_segmentation").model_dump(mode="json")
    content["task"] |= {
        "spacing": [3.6, 3.6, 3.6],
        "roi_size": [16, 16, 16],
        "network": content["task"]["network"]
        | {
            "args": content["task"]["network"]["args"]
            | {"channels": list(channels), "strides": [2] * (len(channels) - 1)}
        },
    }
    content["job"]["name"] = name
    content["job"]["training"]["seed"] = seed
    content["job"]["federation"] |= {"rounds": 2, "local_steps": 4, "min_sites": 2} | federation
    return Job.check(content, name)


def write_datasets(folder: Path, sites: Sequence[str], job: Job) -> dict[str, Path]:
    """Make the prepared dataset of every site, with scanners that differ.

    Returns:
        By site, its dataset.
    """
    scanners = list(SCANNERS.values())
    for number, site in enumerate(sites):
        raw, training = folder / "raw" / site, TRAINING + number
        scanner = scanners[number % len(scanners)]
        patients = write_cohort(raw, site, scanner, training + VALIDATION + TEST, seed=number)
        split = split_exactly(patients, {"training": training, "validation": VALIDATION, "test": TEST})
        how = IngestSettings(site, bytes([number]) * 32, folder / f"{site}.csv", task=job.task, split=split)
        ingest(raw, folder / site, how)
    return {site: folder / site for site in sites}


def split_exactly(patients: Sequence[str], wanted: Mapping[str, int]) -> SplitSettings:
    """Settings by which these patients fall into splits of these very sizes; splits are drawn patient by patient."""
    for seed in count():
        settings = SplitSettings(validation=0.25, test=0.33, seed=seed)
        if Counter(split_of(patient, settings) for patient in patients) == wanted:
            return settings
    raise AssertionError("there is always a next seed")


class Pooled:
    """The validation cases of all sites in one place, which only a test has; scores models that nobody vouches for.

    Args:
        datasets: of the sites.
        job: the training.
    """

    def __init__(self, datasets: Iterable[Path], job: Job) -> None:
        # Who only writes datasets need not wait for torch.
        import torch

        from radfed.training.kinds import load_cases, trainer_for

        self._trainer = trainer_for(job.task, job.job.training, "pooled", 1, torch.device("cpu"))
        self._samples = [
            sample for dataset in datasets for sample in load_cases(Dataset.read(dataset), "validation", job.task)
        ]

    @property
    def tensors(self) -> int:
        """How many arrays a model has."""
        return len(self._trainer.weights())

    def dice(self, model: Path) -> float:
        """Mean validation Dice of a safetensors file."""
        self._trainer.load(load_weights(model))
        found = self._trainer.validate(self._samples)
        assert found is not None  # every site has validation cases
        return found.metric
