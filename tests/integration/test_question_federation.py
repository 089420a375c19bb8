"""A validation by two sites in FLARE's simulator: no case leaves, and the numbers are those of the pooled cases."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.federation_data import tiny_job, write_datasets
from tests.integration.question_release import write_release

from radfed.dataset.layout import Dataset
from radfed.federation.question import ANSWERS, Told, question_job
from radfed.federation.single_simulate import simulate_once
from radfed.metrics.site_validation import FederatedValidation
from radfed.task import SegmentationTask
from radfed.validation.federated import write_federated
from radfed.validation.run import validate

SITES = ("north", "valley")


def numbers(content: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value in JSON with its path."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from numbers(value, f"{path}.{key}")
    elif isinstance(content, list):
        for value in content:
            yield from numbers(value, path)
    else:
        yield path, content


def test_federated_equals_pooled_and_tells_no_case(tmp_path: Path) -> None:
    task = tiny_job().task
    assert isinstance(task, SegmentationTask)
    datasets = write_datasets(tmp_path / "sites", SITES, tiny_job())
    release = write_release(tmp_path / "releases" / "made_up-0.1.0", task)
    run = tmp_path / "run with space"
    job = question_job("validation", release, "all")
    simulate_once(job, datasets, run, ("validation.json", ANSWERS), releases=release.parent)
    found = FederatedValidation.model_validate_json((run / "validation.json").read_bytes())
    write_federated(found, {}, release, run)
    federated = json.loads((run / "metrics.json").read_text())
    validate(release, list(datasets.values()), tmp_path / "pooled", "all", pictures=False)
    pooled = json.loads((tmp_path / "pooled" / "metrics.json").read_text())

    for key in ("task_digest", "model_digest", "phantom", "split", "dataset_digests", "nsd_tolerance_mm"):
        assert federated[key] == pooled[key], key
    compared = 0
    for place in ("pooled", *SITES):
        ours, theirs = (m["pooled"] if place == "pooled" else m["sites"][place] for m in (federated, pooled))
        assert (ours["cases"], ours["patients"]) == (theirs["cases"], theirs["patients"])
        for label in ("mean", *theirs["labels"]):
            mine, other = (x["mean"] if label == "mean" else x["labels"][label] for x in (ours, theirs))
            for metric in ("dice", "hd95", "nsd"):
                if mine[metric] is not None:
                    assert mine[metric]["mean"] == pytest.approx(other[metric]["mean"], abs=1e-6), (place, label)
                    assert mine[metric]["cases"] == other[metric]["cases"]
                    compared += 1
    assert compared >= 9
    for label, volume in federated["volumes_ml"].items():
        assert volume["bias_ml"] == pytest.approx(pooled["volumes_ml"][label]["bias_ml"], abs=1e-6)

    sent = Told.model_validate_json((run / ANSWERS).read_bytes())
    assert sorted(sent.answers) == sorted(SITES)
    text = json.dumps(sent.answers)
    for site, folder in datasets.items():
        for case in Dataset.read(folder).cases:
            assert case.id not in text
            assert case.patient not in text
            assert case.digest not in text
        assert str(folder) not in text
        for path, value in numbers(sent.answers[site]):
            if path.endswith((".cases", ".patients")):
                assert isinstance(value, int)
                assert value >= 3, path
