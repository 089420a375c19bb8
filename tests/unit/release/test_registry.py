import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from radfed.errors import GateError, InvalidInputError
from radfed.inference.checksums import SUMS, file_digest
from radfed.release.attach import add_evaluation
from radfed.release.registry import open_registry, pull, push, safe_name
from radfed.release.registry_oci import OciRegistry
from radfed.release.seal import release_files, seal


def content(release: Path) -> dict[str, str]:
    return {name: file_digest(path) for name, path in release_files(release).items()}


def test_a_release_is_pushed_listed_and_pulled_as_it_was(built: Path, tmp_path: Path) -> None:
    registry = str(tmp_path / "models")
    entry, new = push(built, registry)
    assert new
    assert (entry.name, entry.version, entry.digest) == ("two_parts", "0.1.0", file_digest(built / SUMS))
    assert open_registry(registry).entries() == (entry,)

    fetched = pull(f"{registry}/two_parts:0.1.0", tmp_path / "here")
    assert fetched == tmp_path / "here" / built.name
    assert content(fetched) == content(built)
    assert [path.name for path in fetched.parent.iterdir()] == [built.name]


def test_the_same_release_is_pushed_once_and_another_never_takes_its_place(release: Path, tmp_path: Path) -> None:
    registry = str(tmp_path / "models")
    push(release, registry)
    assert push(release, registry)[1] is False
    (tmp_path / "note.txt").write_text("added later\n")
    add_evaluation(release, {"note.txt": tmp_path / "note.txt"})
    with pytest.raises(GateError, match="a version never changes"):
        push(release, registry)


def test_a_broken_release_is_not_pushed(release: Path, tmp_path: Path) -> None:
    registry = tmp_path / "models"
    (release / "task.yaml").write_text("name: another\n")
    with pytest.raises(GateError, match=SUMS):
        push(release, str(registry))
    seal(release)
    with pytest.raises(GateError, match="contract"):
        push(release, str(registry))
    assert not registry.exists()


def test_a_release_changed_in_the_registry_is_not_kept(built: Path, tmp_path: Path) -> None:
    registry = tmp_path / "models"
    push(built, str(registry))
    ledger = registry / "two_parts" / "0.1.0" / "training" / "ledger.jsonl"
    changed = ledger.read_text().replace('"weight":10.0', '"weight":90.0')
    assert changed != ledger.read_text()
    ledger.write_text(changed)
    with pytest.raises(GateError, match=SUMS):
        pull(f"{registry}/two_parts:0.1.0", tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_release_under_another_version_is_not_kept(built: Path, tmp_path: Path) -> None:
    there = tmp_path / "models" / "two_parts" / "9.0.0"
    shutil.copytree(built, there)
    with pytest.raises(GateError, match=r"says of itself two_parts 0\.1\.0"):
        pull(f"{tmp_path}/models/two_parts:9.0.0", tmp_path / "here")


def test_a_link_in_the_registry_is_not_followed(built: Path, tmp_path: Path) -> None:
    registry = tmp_path / "models"
    push(built, str(registry))
    card = registry / "two_parts" / "0.1.0" / "README.md"
    card.unlink()
    card.symlink_to("/etc/passwd")
    with pytest.raises(GateError, match="no plain file"):
        pull(f"{registry}/two_parts:0.1.0", tmp_path / "here")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_list_that_is_no_plain_file_is_no_release(built: Path, tmp_path: Path, kind: str) -> None:
    registry = tmp_path / "models"
    push(built, str(registry))
    sums = registry / "two_parts" / "0.1.0" / SUMS
    sums.unlink()
    match kind:
        case "link":
            sums.symlink_to(built / SUMS)
        case "pipe":
            os.mkfifo(sums)
        case _:
            sums.mkdir()
    opened = open_registry(str(registry))
    assert opened.entries() == ()
    assert opened.find("two_parts", "0.1.0") is None
    (tmp_path / "fetched").mkdir()
    with pytest.raises(GateError, match="no plain file"):
        opened.get("two_parts", "0.1.0", tmp_path / "fetched")
    assert list((tmp_path / "fetched").iterdir()) == []


def test_what_is_not_there_is_named_with_what_is(built: Path, tmp_path: Path) -> None:
    registry = str(tmp_path / "models")
    push(built, registry)
    with pytest.raises(InvalidInputError, match=r"holds no two_parts 0\.2\.0; of this name there is 0\.1\.0"):
        pull(f"{registry}/two_parts:0.2.0", tmp_path / "here")
    with pytest.raises(InvalidInputError, match="of this name there is nothing"):
        pull(f"{registry}/lungs:0.2.0", tmp_path / "here")


def test_a_release_is_never_written_over_another(built: Path, tmp_path: Path) -> None:
    registry = str(tmp_path / "models")
    push(built, registry)
    pull(f"{registry}/two_parts:0.1.0", tmp_path / "here")
    with pytest.raises(InvalidInputError, match="is already there"):
        pull(f"{registry}/two_parts:0.1.0", tmp_path / "here")


def test_a_half_copied_release_is_not_listed(built: Path, tmp_path: Path) -> None:
    registry = tmp_path / "models"
    push(built, str(registry))
    shutil.copytree(built, registry / "two_parts" / ".0.2.0.abcd")
    assert [entry.version for entry in open_registry(str(registry)).entries()] == ["0.1.0"]


@pytest.mark.parametrize("annotations", [None, {}, {"org.radfed.release.sums": None}])
def test_a_manifest_without_the_digest_of_its_list_names_none(
    monkeypatch: pytest.MonkeyPatch, annotations: dict[str, None] | None
) -> None:
    monkeypatch.setattr(OciRegistry, "_talk", lambda _: nullcontext())
    monkeypatch.setattr(OciRegistry, "_manifest", staticmethod(lambda *_: {"annotations": annotations}))
    entry = OciRegistry("localhost:5000", "models", plain=True).find("two_parts", "0.1.0")
    assert entry is not None
    assert entry.digest is None


@pytest.mark.parametrize(
    "reference",
    ["two_parts:0.1.0", "models/two_parts", "models/two_parts:1.0", "models/../x:0.1.0/", "models/Up:1.0.0"],
)
def test_a_reference_that_is_none_is_refused(reference: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="REGISTRY/NAME:VERSION"):
        pull(reference, tmp_path)


@pytest.mark.parametrize(
    "address",
    ["https://registry.example.org/models", "oci://", "oci://user:secret@registry.example.org/m", "oci://h/UPPER"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidInputError, match="oci://"):
        open_registry(address)


def test_without_tls_a_registry_is_on_this_machine() -> None:
    assert OciRegistry.at("oci+http://localhost:5000/models") == OciRegistry("localhost:5000", "models", plain=True)
    with pytest.raises(InvalidInputError, match="on this machine"):
        open_registry("oci+http://registry.example.org/models")


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/passwd", "a//b", "a/./b", "", ".hidden", "a/..", "a\\b", "a\nb"]
)
def test_a_name_that_leads_out_of_a_release_is_refused(name: str) -> None:
    with pytest.raises(GateError, match="no plain path"):
        safe_name(name)


def test_every_file_of_a_release_has_a_name_that_a_registry_takes(built: Path) -> None:
    assert [safe_name(name) for name in release_files(built)] == list(release_files(built))


def test_a_name_that_no_registry_takes_is_refused(release: Path, tmp_path: Path) -> None:
    metadata = json.loads((release / "metadata.json").read_text())
    (release / "metadata.json").write_text(json.dumps(metadata | {"name": "../two"}))
    with pytest.raises(InvalidInputError, match="lower case"):
        push(release, str(tmp_path / "models"))
