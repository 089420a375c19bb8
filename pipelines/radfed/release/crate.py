"""``ro-crate-metadata.json``: the release as a research object, an RO-Crate 1.1 with the training as a process run.

https://w3id.org/ro/crate/1.1 and https://w3id.org/ro/wfrun/process/0.5. It is written here rather than with a library,
because a clinic makes it again to compare: it follows from the release's other files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from radfed.inference.checksums import file_digest
from radfed.inference.opened import MODEL
from radfed.release.contents import Contents
from radfed.release.layout import (
    CARD,
    CONFORMANCE,
    CRATE,
    EVALUATION,
    INFERENCE,
    JOB,
    LEDGER,
    METADATA,
    SBOM,
    SIGNATURE,
    SITES,
    TASK,
    TRAINING,
    WEIGHTS,
)
from radfed.release.reading import Release
from radfed.release.sbom import package_url

_CRATE = "https://w3id.org/ro/crate/1.1"
_PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
_SHA256 = "https://schema.org/sha256"
_NAMED = ("torch", "monai", "nvflare", "numpy", "onnx", "onnxruntime")
_RADFED, _LICENCE, _BUILDER = "urn:radfed", "#licence", "#builder"
_TYPES = {
    ".json": "application/json", ".jsonl": "application/jsonl", ".md": "text/markdown", ".yaml": "application/yaml",
    ".txt": "text/plain", ".csv": "text/csv", ".html": "text/html", ".pdf": "application/pdf", ".png": "image/png",
    ".pem": "application/x-pem-file", ".gz": "application/gzip", ".dcm": "application/dicom",
}  # fmt: skip
_ABOUT = {
    CARD: "The model card, for people.",
    MODEL: "The model, with its contract in the metadata.",
    WEIGHTS: "The weights, to rebuild the network or train on.",
    TASK: "The contract: what goes in, what comes out, and what it is for.",
    METADATA: "Fields of a MONAI Bundle.",
    INFERENCE: "What MONAI's bundle tools need to build and run the network.",
    SBOM: "Bill of materials, CycloneDX 1.6.",
    JOB: "What was run, with all settings.",
    LEDGER: "What happened in every round at every site.",
}


def crate_metadata(release: Release, contents: Contents) -> dict[str, Any]:
    """The crate: every file with its digest, but this one, ``SHA256SUMS`` and the signature, which come after it."""
    names = [name for name in release.names() if name not in (CRATE, SIGNATURE)]
    parts = [{"@id": name} for name in names]
    folders = [(TRAINING, "How the model was trained."), (EVALUATION, "What was measured."),
               (CONFORMANCE, "Made-up inputs, and what to expect of them.")]  # fmt: skip
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": contents.name,
        "description": contents.task.description,
        "datePublished": contents.code.built,
        "license": {"@id": _LICENCE},
        "author": {"@id": _BUILDER},
        "publisher": {"@id": _BUILDER},
        "version": contents.version,
        "conformsTo": {"@id": _PROCESS},
        "mainEntity": {"@id": MODEL},
        "mentions": [{"@id": "#training"}, {"@id": "#export"}],
        "hasPart": [*parts, *({"@id": f"{name}/"} for name, _ in folders)],
    }
    graph: list[Mapping[str, Any]] = [
        {"@id": CRATE, "@type": "CreativeWork", "conformsTo": {"@id": _CRATE}, "about": {"@id": "./"}},
        root,
        *({"@id": f"{name}/", "@type": "Dataset", "name": name, "description": about} for name, about in folders),
        *(_file(name, release) for name in names),
        *_processes(contents),
        *_context(contents),
    ]
    return {"@context": [f"{_CRATE}/context", {"sha256": _SHA256}], "@graph": graph}


def listed_files(crate: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 by file, as a crate states them."""
    files = [one for one in crate["@graph"] if one["@type"] == "File"]
    return {str(one["@id"]): str(one["sha256"]) for one in files}


def _file(name: str, release: Release) -> dict[str, Any]:
    path = release.file(name)
    suffix = next((ending for ending in _TYPES if name.endswith(ending)), "")
    about = "What a site measured, signed with its key." if name.startswith(f"{SITES}/") else _ABOUT.get(name)
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "contentSize": str(path.stat().st_size),
        "encodingFormat": _TYPES.get(suffix, "application/octet-stream"),
        "sha256": file_digest(path),
        **({"description": about} if about else {}),
    }


def _processes(contents: Contents) -> Iterator[dict[str, Any]]:
    """The training, as the ledger has it, and the export. When the training ran, no file of the release says."""
    facts = contents.facts
    sites = [site for site in facts.sites if site.rounds]
    yield {
        "@id": "#training",
        "@type": "CreateAction",
        "name": "Federated training",
        "description": f"Federated averaging over {len(sites)} sites, {len(facts.rounds)} rounds and {facts.cases} "
        f"training cases, which stayed at their sites. Outcome by the ledger: {facts.outcome}.",
        "instrument": {"@id": _RADFED},
        "agent": [{"@id": f"#site-{site.site}"} for site in sites] or [{"@id": _BUILDER}],
        "object": [{"@id": JOB}, {"@id": TASK}],
        "result": [{"@id": WEIGHTS}, {"@id": LEDGER}],
    }
    yield {
        "@id": "#export",
        "@type": "CreateAction",
        "name": "Export and packaging",
        "description": "The network as ONNX, passed by the parity gate, and described.",
        "instrument": {"@id": _RADFED},
        "agent": {"@id": _BUILDER},
        "endTime": contents.code.built,
        "object": [{"@id": WEIGHTS}, {"@id": TASK}],
        "result": {"@id": MODEL},
    }


def _context(contents: Contents) -> Iterator[dict[str, Any]]:
    """Software, people and terms that the others refer to."""
    code = contents.code
    named = {name: contents.environment[name] for name in _NAMED if name in contents.environment}
    commit = f", commit {code.commit}{' with changes' if code.changed else ''}" if code.commit else ""
    yield {
        "@id": _RADFED,
        "@type": "SoftwareApplication",
        "name": "radfed",
        "softwareVersion": code.radfed,
        "description": f"Source files with the SHA-256 {code.code}{commit}.",
        "softwareRequirements": [{"@id": package_url(name, version)} for name, version in named.items()],
    }
    for name, version in named.items():
        about = {"@id": package_url(name, version), "@type": "SoftwareApplication", "name": name}
        yield {**about, "softwareVersion": version}
    for site in contents.facts.sites:
        if site.rounds:
            yield {"@id": f"#site-{site.site}", "@type": "Organization", "name": site.site}
    yield {"@id": _BUILDER, "@type": "Organization", "name": "Not stated", "description": "Who built the release."}
    yield {
        "@id": _LICENCE,
        "@type": "CreativeWork",
        "name": "Not stated",
        "description": "The release states no licence; ask who gave it to you before you use it.",
    }
    yield {"@id": _PROCESS, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
