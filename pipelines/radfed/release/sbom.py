"""``sbom.cdx.json``: the machine-learning bill of materials of a release, in CycloneDX 1.6.

https://cyclonedx.org/docs/1.6/json/. The whole follows from the release's other files, so that anyone can make it again
and compare. It names packages by the versions where the release was built; to predict takes few of them.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from radfed.inference.checksums import file_digest
from radfed.inference.opened import MODEL
from radfed.metrics.pooling import Score
from radfed.release.contents import Contents
from radfed.release.layout import FEDERATED, METRICS, TASK, WEIGHTS
from radfed.release.reading import Release
from radfed.task import OutcomeTask, SegmentationTask

MODEL_FILES = {MODEL: "application/octet-stream", WEIGHTS: "application/octet-stream", TASK: "application/yaml"}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:radfed:release:sbom")
_BOUNDS = {"low", "high"}


def bill_of_materials(release: Release, contents: Contents) -> dict[str, Any]:
    """The bill of a release: its model with a card in numbers, its model files, the packages that built it."""
    packages = [_package(name, version) for name, version in contents.environment.items()]
    model = f"model:{contents.name}"
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": f"{contents.code.built}T00:00:00Z",
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "radfed", "version": contents.code.radfed}]},
            "component": _model(model, contents),
        },
        "components": [*(_file(name, kind, release) for name, kind in MODEL_FILES.items()), *packages],
        "dependencies": [{"ref": model, "dependsOn": sorted(package["bom-ref"] for package in packages)}],
    }
    text = json.dumps(bill, sort_keys=True, ensure_ascii=False)
    return {**bill, "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, text)}"}


def package_url(name: str, version: str) -> str:
    """A package of Python's index as a purl (ECMA-427)."""
    # Names are compared without case, and with one kind of separator (PEP 503).
    return f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{quote(version, safe='')}"


def listed_packages(bill: Mapping[str, Any]) -> dict[str, str]:
    """Versions by package, as a bill states them."""
    return {str(one["name"]): str(one["version"]) for one in bill["components"] if one["type"] == "library"}


def listed_files(bill: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 by file, as a bill states them."""
    files = [one for one in bill["components"] if one["type"] == "file"]
    return {str(one["name"]): str(entry["content"]) for one in files for entry in one["hashes"]}


def _model(reference: str, contents: Contents) -> dict[str, Any]:
    task, parity = contents.task, contents.parity
    return {
        "bom-ref": reference,
        "type": "machine-learning-model",
        "name": task.name,
        "version": contents.version,
        "description": task.description,
        "hashes": [{"alg": "SHA-256", "content": parity.model_sha256}],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": task.kind,
                "architectureFamily": "federated averaging of a neural network",
                "modelArchitecture": _architecture(task),
                "datasets": [_dataset(site.site, site.cases, site.rounds) for site in contents.facts.sites],
                "inputs": [{"format": name} for name in _inputs(task)],
                "outputs": [{"format": name} for name in task.finds],
            },
            "quantitativeAnalysis": {"performanceMetrics": list(_performance(contents))},
            "considerations": {
                "useCases": [task.intended_use],
                "technicalLimitations": [task.limitations, *_limits(contents)],
            },
        },
        "properties": [
            {"name": "radfed:contract", "value": task.digest},
            {"name": "radfed:weights", "value": parity.weights_digest},
            {"name": "radfed:code", "value": contents.code.code},
            {"name": "radfed:outcome", "value": contents.facts.outcome},
        ],
    }


def _limits(contents: Contents) -> Iterator[str]:
    if contents.phantom:
        yield "Trained on computer-made phantoms, not on patients."
    if contents.facts.missing:
        missing, share = ", ".join(contents.facts.missing), 100 * contents.facts.cases_lost
        yield f"Sites missed rounds ({missing}): {share:.1f} % of the case-rounds are missing."
    if contents.privacy is None:
        yield "Trained without differential privacy."
    if contents.leakage is None:
        yield "What the model gives away of its training cases was not measured."


def _dataset(site: str, cases: int, rounds: int) -> dict[str, Any]:
    numbers = {"radfed:training_cases": cases or "not said", "radfed:rounds_accepted": rounds}
    return {
        "type": "dataset",
        "name": f"training cases of {site}",
        "contents": {"properties": [{"name": name, "value": str(value)} for name, value in numbers.items()]},
        "classification": "patient data, kept at the site",
        "governance": {"custodians": [{"organization": {"name": site}}]},
    }


def _architecture(task: SegmentationTask | OutcomeTask) -> str:
    if isinstance(task, SegmentationTask):
        return task.network.name
    parts = [task.network.encoder.name] if task.network.encoder is not None else []
    return " and ".join([*parts, *(["layers for the record"] if task.covariates else [])])


def _inputs(task: SegmentationTask | OutcomeTask) -> list[str]:
    channels = task.channels if isinstance(task, SegmentationTask) else (task.image.channels if task.image else ())
    covariates = task.covariates if isinstance(task, OutcomeTask) else ()
    return [f"{one.name} ({one.modality})" for one in channels] + [one.name for one in covariates]


def _performance(contents: Contents) -> Iterator[dict[str, Any]]:
    """What was measured: the sites' pooled test scores, and every value with an interval in a report's figures."""
    if contents.evaluation is not None:
        pooled: list[tuple[str | None, Mapping[str, Score]]] = [(None, contents.evaluation.pooled)]
        for site, values in [*pooled, *contents.evaluation.sites.items()]:
            for name, score in values.items():
                yield _metric(f"{FEDERATED}: {name}", score.mean, score.low, score.high, site)
    for part, site in _parts(contents.metrics or {}):
        for name, value in _with_intervals(part, ()):
            middle = value.get("mean", value.get("value"))
            yield _metric(f"{METRICS}: {name}", middle, value["low"], value["high"], site)


def _parts(metrics: Mapping[str, Any]) -> Iterator[tuple[object, str | None]]:
    yield metrics.get("pooled"), None
    sites = metrics.get("sites")
    if isinstance(sites, Mapping):
        yield from ((content, str(site)) for site, content in sorted(sites.items()))


def _with_intervals(content: object, path: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every entry with bounds and a middle, by its dotted path."""
    if not isinstance(content, Mapping):
        return
    if content.keys() >= _BOUNDS and content.keys() & {"mean", "value"}:
        yield ".".join(path), content
        return
    for key, part in content.items():
        yield from _with_intervals(part, (*path, str(key)))


def _metric(name: str, value: object, low: object, high: object, site: str | None) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": name, "value": str(value)}
    if low is not None and high is not None:
        metric["confidenceInterval"] = {"lowerBound": str(low), "upperBound": str(high)}
    return metric if site is None else {**metric, "slice": f"site {site}"}


def _file(name: str, kind: str, release: Release) -> dict[str, Any]:
    digest = file_digest(release.file(name))
    return {
        "bom-ref": f"file:{name}",
        "type": "file",
        "mime-type": kind,
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _package(name: str, version: str) -> dict[str, Any]:
    purl = package_url(name, version)
    return {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl}
