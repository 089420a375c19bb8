import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import radfed.release.parity
from radfed.errors import GateError, InvalidInputError
from radfed.imaging.nifti import read_image
from radfed.inference.predict import predict
from radfed.metrics.pooling import FederatedEvaluation
from radfed.metrics.signed import Statements
from radfed.release import code, package
from radfed.release.attach import add_evaluation
from radfed.release.package import build_release
from radfed.release.seal import seal
from radfed.task import SegmentationTask
from radfed.weights import load_weights, save_weights

MakeTask = Callable[..., SegmentationTask]
MakeRun = Callable[..., Path]

CONTENTS = [
    "README.md",
    "SHA256SUMS",
    "configs/inference.json",
    "configs/metadata.json",
    "conformance/case-1.mask.nii.gz",
    "conformance/case-1.nii.gz",
    "conformance/case-2.mask.nii.gz",
    "conformance/case-2.nii.gz",
    "conformance/logits.safetensors",
    "evaluation/federated.json",
    "evaluation/parity.json",
    "metadata.json",
    "model.onnx",
    "model.safetensors",
    "ro-crate-metadata.json",
    "sbom.cdx.json",
    "task.yaml",
    "training/code.json",
    "training/environment.txt",
    "training/history.json",
    "training/job.json",
    "training/ledger.jsonl",
]


def contents(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_release_holds_everything_and_nothing_beside_it(built: Path) -> None:
    assert built.name == "two_parts-0.1.0"
    assert contents(built) == CONTENTS
    assert [path.name for path in built.parent.iterdir()] == [built.name]


def test_sums_are_what_sha256sum_reads(built: Path) -> None:
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=built, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": OK") == len(CONTENTS) - 1


def test_no_file_of_the_release_names_the_run_or_the_machine(built: Path) -> None:
    for path in built.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(built.parent.parent).encode() not in content, path.name
            assert b"site-packages" not in content, path.name


def test_model_card_says_how_it_was_trained_and_that_it_is_degraded(built: Path) -> None:
    card = (built / "README.md").read_text(encoding="utf-8")
    assert "> **DEGRADED.** Not every site took part in every round: site-c missed at least one." in card
    assert "25.0 % of the case-rounds are missing" in card
    assert "Federated averaging over 3 sites, 2 rounds and 60 training cases" in card
    assert "| site-c | 30 | 1 of 2 |" in card
    assert "Its mean Dice on the sites' validation cases is 0.6000, over 18 cases" in card
    assert "radfed predict two_parts-0.1.0" in card
    assert "| 4 | right_part |" in card
    assert "PHANTOM" not in card
    assert "| right_part | 11 | 0.7273 | " in card
    assert "No test score came from site-c." in card


def test_metadata_has_the_fields_of_a_monai_bundle(built: Path) -> None:
    content = json.loads((built / "metadata.json").read_text())
    for key in ("schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "task"):
        assert content[key], key
    inputs = content["network_data_format"]["inputs"]["image"]
    assert (inputs["num_channels"], inputs["spatial_shape"], inputs["modality"]) == (1, [16, 16, 16], "MR")
    outputs = content["network_data_format"]["outputs"]["pred"]
    assert outputs["channel_def"] == {"0": "background", "1": "left_part", "2": "right_part"}


def test_environment_is_sorted_and_pins_versions(built: Path) -> None:
    lines = (built / "training" / "environment.txt").read_text().splitlines()
    assert lines == sorted(lines)
    assert any(line.startswith("torch==2.") for line in lines)
    assert all(line.count("==") == 1 and "/" not in line for line in lines)


def test_history_follows_the_ledger(built: Path) -> None:
    history = json.loads((built / "training" / "history.json").read_text())
    assert [line["metric"] for line in history["rounds"]] == pytest.approx([0.5, 0.6])
    assert [line["accepted"] for line in history["rounds"]] == [3, 2]
    assert history["outcome"] == "DEGRADED"


def test_the_same_run_gives_the_same_release(built: Path, tmp_path: Path) -> None:
    again = build_release(built.parent.parent / "run", tmp_path)
    assert (again / "SHA256SUMS").read_text() == (built / "SHA256SUMS").read_text()


def test_release_predicts_its_own_conformance_scans(built: Path, tmp_path: Path) -> None:
    for name in ("case-1", "case-2"):
        found = predict(built, built / "conformance" / f"{name}.nii.gz", tmp_path, threads=1)
        assert found[0].reason is None
        expected = read_image(built / "conformance" / f"{name}.mask.nii.gz")
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.nii.gz").array, expected.array)
        assert len(np.unique(expected.array)) > 1


def test_phantoms_are_named_on_the_card(tmp_path: Path, make_run: MakeRun, make_task: MakeTask) -> None:
    run = make_run(tmp_path / "run", make_task())
    release = build_release(run, tmp_path / "out", version="2.0.1", phantom=True)
    assert release.name == "two_parts-2.0.1"
    card = (release / "README.md").read_text()
    assert "> **PHANTOM DATA.**" in card
    assert "DEGRADED" not in card
    assert "Outcome by the ledger: **COMPLETED**" in card
    assert json.loads((release / "metadata.json").read_text())["version"] == "2.0.1"


def test_a_run_that_failed_or_did_not_end_is_refused(tmp_path: Path, make_run: MakeRun, make_task: MakeTask) -> None:
    with pytest.raises(GateError, match="FAILED by its ledger"):
        build_release(make_run(tmp_path / "failed", make_task(), failed=True), tmp_path / "out")
    run = make_run(tmp_path / "cut", make_task())
    lines = (run / "ledger.jsonl").read_text().splitlines(keepends=True)
    (run / "ledger.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(GateError, match="no final line"):
        build_release(run, tmp_path / "out")
    (run / "ledger.jsonl").unlink()
    with pytest.raises(GateError, match="no final line"):
        build_release(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_the_ledger_does_not_know_is_refused(
    tmp_path: Path, make_run: MakeRun, make_task: MakeTask
) -> None:
    run = make_run(tmp_path / "run", make_task())
    weights = load_weights(run / "best.safetensors")
    name = sorted(weights)[0]
    save_weights(run / "best.safetensors", weights | {name: weights[name] + 1})
    with pytest.raises(GateError, match="not the model in the ledger"):
        build_release(run, tmp_path / "out")


def test_no_parity_no_release_and_nothing_left_behind(
    tmp_path: Path, make_run: MakeRun, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No exported network is exact to the last bit, so a gate that forgives nothing must refuse.
    monkeypatch.setattr(radfed.release.parity, "LOGIT_TOLERANCE", 0.0)
    with pytest.raises(GateError, match="logits differ"):
        build_release(make_run(tmp_path / "run", make_task()), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_existing_release_a_bad_version_and_no_run_are_refused(built: Path, tmp_path: Path) -> None:
    run = built.parent.parent / "run"
    with pytest.raises(InvalidInputError, match="is already there"):
        build_release(run, built.parent)
    with pytest.raises(InvalidInputError, match=r"like 1\.0\.0, got '\.\./1'"):
        build_release(run, tmp_path, version="../1")
    with pytest.raises(InvalidInputError, match=r"holds no job\.json"):
        build_release(tmp_path, tmp_path)


def test_evaluation_is_added_and_sealed(release: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"travels": true}')
    add_evaluation(release, {"metrics.json": tmp_path / "metrics.json", "pictures/one.txt": tmp_path / "metrics.json"})
    assert (release / "evaluation" / "pictures" / "one.txt").read_text() == '{"travels": true}'
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=release, capture_output=True, text=True)
    assert done.stdout.count(": OK") == len(CONTENTS) + 1


def test_evaluation_is_not_added_to_a_changed_release_nor_outside_it(release: Path, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("{}")
    for name in ("../README.md", "/x", "a/../../b", "parity.json"):
        with pytest.raises(InvalidInputError, match=r"relative paths|gate's own"):
            add_evaluation(release, {name: tmp_path / "m"})
    with pytest.raises(InvalidInputError, match="is no file"):
        add_evaluation(release, {"metrics.json": tmp_path / "none"})
    (release / "README.md").write_text("changed")
    with pytest.raises(GateError, match=r"not as its SHA256SUMS says \(README\.md\)"):
        add_evaluation(release, {"metrics.json": tmp_path / "m"})


def test_links_are_not_sealed(release: Path, tmp_path: Path) -> None:
    (release / "link").symlink_to(tmp_path)
    with pytest.raises(GateError, match="plain files only, got link"):
        seal(release)


def test_only_signed_statements_of_a_run_enter_its_release(
    make_run: MakeRun, make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", make_task())
    evaluation = FederatedEvaluation.read(run / "evaluation.json")
    (run / "sites" / "more").mkdir(parents=True)
    for name in ("root.pem", "site-a.json", "notes.txt", "more/notes.txt"):
        (run / "sites" / name).write_text("case 17 is Mrs B.")
    monkeypatch.setattr(package, "check_statements", lambda *_: Statements(("site-a",), ()))
    package._copy_statements(run / "sites", tmp_path / "into", evaluation)
    assert sorted(path.name for path in (tmp_path / "into").rglob("*")) == ["root.pem", "site-a.json"]
    (run / "sites" / "root.pem").unlink()
    (run / "sites" / "root.pem").symlink_to(tmp_path / "run" / "job.json")
    with pytest.raises(GateError, match="is a link"):
        package._copy_statements(run / "sites", tmp_path / "again", evaluation)


def test_changes_of_a_checkout_are_not_denied_where_git_could_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, str | None] = {"rev-parse": "a" * 40, "ls-files": "__init__.py", "status": None}
    monkeypatch.setattr(code, "_git", lambda _, command, *__: answers[command])
    assert code.code_facts().changed is None
    answers["status"] = ""
    assert code.code_facts().changed is False
    answers["status"] = " M code.py"
    assert code.code_facts().changed is True
