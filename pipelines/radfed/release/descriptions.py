"""The claims about the papers of a release: code, packages, history, bundle, bill of materials, crate, card."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

import radfed
from radfed.errors import GateError
from radfed.inference.checksums import file_digest
from radfed.ledger import final_of, read_ledger
from radfed.release.bundle import inference_config
from radfed.release.code import CodeFacts, installed_code
from radfed.release.contents import contract_of, read_contents, read_environment, read_json
from radfed.release.crate import listed_files as files_of_crate
from radfed.release.derived import MAKERS, as_json
from radfed.release.facts import TrainingFacts, training_facts
from radfed.release.layout import (
    BUNDLE_METADATA,
    CARD,
    CODE,
    CONFIGS,
    CRATE,
    ENVIRONMENT,
    HISTORY,
    INFERENCE,
    LEDGER,
    METADATA,
    SBOM,
    SIGNATURE,
)
from radfed.release.reading import NotVerifiableError, Release
from radfed.release.sbom import MODEL_FILES, listed_packages
from radfed.release.sbom import listed_files as files_of_bill

_MODULES = (".py", ".pyc", ".pyo", ".pyd", ".pyw", ".so", ".pth", ".egg", ".zip")


def check_history(release: Release) -> str:
    """``training/history.json`` is what the ledger gives."""
    lines = read_ledger(release.file(LEDGER))
    stated = TrainingFacts.check(read_json(release, HISTORY), HISTORY)
    final = final_of(lines)
    if final is None:
        raise GateError(f"{LEDGER} has no final line")
    if training_facts(lines, final) != stated:
        raise GateError(f"{HISTORY} does not follow from the ledger")
    return f"{len(stated.rounds)} rounds, {len(stated.sites)} sites"


def check_code(release: Release) -> str:
    """What is said of the code and the packages that built the release is the same wherever it is said."""
    code, packages = CodeFacts.check(read_json(release, CODE), CODE), read_environment(release)
    metadata = read_json(release, METADATA)
    said = {"radfed": code.radfed, "torch": metadata["pytorch_version"], "monai": metadata["monai_version"],
            "numpy": metadata["numpy_version"], **metadata["required_packages_version"]}  # fmt: skip
    wrong = [f"{name} {version}" for name, version in said.items() if packages.get(name) != version]
    if wrong or release.model.version != code.radfed:
        found = ", ".join(wrong)[:200]
        raise GateError(f"{CODE}, {METADATA}, {ENVIRONMENT} and the model name other versions: {found}")
    here = "the same as here" if code.code == installed_code() else f"another than here (radfed {radfed.__version__})"
    return f"radfed {code.radfed}, code {code.code[:12]}, {here}; {len(packages)} packages"


def check_bundle(release: Release) -> str:
    """MONAI's files say what the contract says, and what it would run is what this code writes, whoever built it."""
    foreign = sorted(name for name in release.names() if _is_code(name))
    if foreign:
        raise GateError(f"MONAI, run in the release's folder, could take for code: {', '.join(foreign)[:200]}")
    if release.file(BUNDLE_METADATA).read_bytes() != release.file(METADATA).read_bytes():
        raise GateError(f"{BUNDLE_METADATA} is not {METADATA}")
    stated, expected = read_json(release, INFERENCE), json.loads(as_json(inference_config(contract_of(release))))
    for name, added in (
        (INFERENCE, set(_run_by_monai(stated)) - set(_run_by_monai(expected))),
        (BUNDLE_METADATA, set(_run_by_monai(read_json(release, BUNDLE_METADATA)))),
    ):
        if added:
            raise GateError(f"{name} holds what MONAI would run and this radfed does not write: {min(added)!r:.120}")
    if stated != expected:
        _differs(release, INFERENCE)
    return "configs/inference.json follows from the contract"


def _is_code(name: str) -> bool:
    """Whether a path is a module that Python may import, or a configuration that MONAI finds by itself."""
    path = PurePosixPath(name)
    more = path.parts[0] == CONFIGS and name not in (BUNDLE_METADATA, INFERENCE)
    return more or path.suffix.lower() in _MODULES


def _run_by_monai(content: object) -> Iterator[str]:
    """Expressions, macros and targets anywhere in a configuration; keys too, which MONAI reads as references."""
    match content:
        case str() if content.startswith(("$", "%")):
            yield content
        case list():
            for one in content:
                yield from _run_by_monai(one)
        case dict():
            for key, value in content.items():
                yield from _run_by_monai(key)
                yield from [f"_target_ {value}"] if key == "_target_" else _run_by_monai(value)


def check_bill(release: Release) -> str:
    """The bill lists the packages and the model files that are there, and is what can be made again from them."""
    bill = read_json(release, SBOM)
    if listed_packages(bill) != read_environment(release):
        raise GateError(f"it lists other packages than {ENVIRONMENT}")
    if files_of_bill(bill) != {name: file_digest(release.file(name)) for name in MODEL_FILES}:
        raise GateError("it lists the model's files with other digests than they have")
    _check_derived(release, SBOM)
    return f"{len(listed_packages(bill))} packages, serial number {bill['serialNumber'].removeprefix('urn:uuid:')}"


def check_crate(release: Release) -> str:
    """The crate lists the files that are there, and is what can be made again from them."""
    listed = files_of_crate(read_json(release, CRATE))
    there = {name: file_digest(release.file(name)) for name in release.names() if name not in (CRATE, SIGNATURE)}
    if listed != there:
        wrong = sorted({name for name, _ in listed.items() ^ there.items()})
        raise GateError(f"it lists other files or digests than there are: {', '.join(wrong[:5])}")
    _check_derived(release, CRATE)
    return f"{len(listed)} files"


def check_card(release: Release) -> str:
    """The card is what can be made again from the other files."""
    _check_derived(release, CARD)
    return "nothing in it is said only there"


def _check_derived(release: Release, name: str) -> None:
    if release.file(name).read_text(encoding="utf-8") != MAKERS[name](release, read_contents(release)):
        _differs(release, name)


def _differs(release: Release, name: str) -> None:
    """A file that is not as it would be written here: false where the same code wrote it, else not to be told.

    Raises:
        GateError: this very code built the release, so somebody changed the file, or what it follows from.
        NotVerifiableError: other code built it, which may word things otherwise.
    """
    code = read_contents(release).code
    if code.code == installed_code():
        raise GateError(f"{name} is not what follows from the release's other files")
    raise NotVerifiableError(
        f"other code built the release ({code.radfed}, {code.code[:12]}) and may write {name} otherwise; "
        f"check it with that one"
    )
