import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import pytest
import typer
from onnx import numpy_helper
from typer.testing import CliRunner

from radfed.cli import release as release_command
from radfed.cli.console import GuardedGroup
from radfed.errors import InvalidInputError
from radfed.inference.model import WEIGHTS_KEY
from radfed.release.seal import seal
from radfed.release.verify import VerifyReport, verify
from radfed.weights import load_weights, save_weights, weights_digest


def failed(report: VerifyReport) -> set[str]:
    return {claim.name for claim in report.claims if claim.verdict == "FAIL"}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def edit_model(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())


def test_an_untouched_release_passes_every_claim(built: Path) -> None:
    report = verify(built)
    open_claims = {claim.name for claim in report.claims if claim.verdict == "NOT VERIFIABLE"}
    assert open_claims == {"signature", "site_metrics", "leakage", "signoff"}, report
    assert report.ok
    assert len(report.claims) == 24


def test_a_release_may_be_copied_and_renamed(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "elsewhere")
    assert verify(tmp_path / "elsewhere").ok


# What a thief or an accident does to files, with the list of digests left as it was.


def _flip_a_bit(release: Path) -> None:
    content = bytearray((release / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (release / "model.safetensors").write_bytes(content)


def _edit_card(release: Path) -> None:
    edit(release / "README.md", "DEGRADED", "COMPLETED")


def _add_file(release: Path) -> None:
    (release / "training" / "extra.py").write_text("import os")


def _delete_file(release: Path) -> None:
    (release / "training" / "history.json").unlink()


def _delete_sums(release: Path) -> None:
    (release / "SHA256SUMS").unlink()


def _escape(release: Path) -> None:
    with (release / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  ../../etc/hostname\n")


def _list_twice(release: Path) -> None:
    line = (release / "SHA256SUMS").read_text().splitlines()[0]
    with (release / "SHA256SUMS").open("a") as file:
        file.write(line + "\n")


@pytest.mark.parametrize(
    "tamper", [_flip_a_bit, _edit_card, _add_file, _delete_file, _delete_sums, _escape, _list_twice]
)
def test_changes_after_sealing_fail_the_digests(release: Path, tamper: Callable[[Path], None]) -> None:
    tamper(release)
    report = verify(release)
    assert "digests" in failed(report)
    assert not report.ok


def test_links_fail_whatever_they_point_to(release: Path, tmp_path: Path) -> None:
    outside = tmp_path / "model.onnx"
    (release / "model.onnx").rename(outside)
    (release / "model.onnx").symlink_to(outside)
    report = verify(release)
    assert {"plain", "digests", "self_contained", "weights", "conformance_logits"} <= failed(report)
    (release / "model.onnx").unlink()
    outside.rename(release / "model.onnx")
    (release / "conformance").rename(tmp_path / "conformance")
    (release / "conformance").symlink_to(tmp_path / "conformance")
    assert {"plain", "digests", "conformance_masks"} <= failed(verify(release))


# What a forger does, who seals the release again.


def _other_contract(release: Path) -> None:
    edit(release / "task.yaml", "Trying the software.", "Diagnosis of everything.")


def _other_spacing(release: Path) -> None:
    edit(release / "task.yaml", "- 1.25", "- 1.5")


def _other_weights(release: Path) -> None:
    weights = load_weights(release / "model.safetensors")
    name = sorted(weights)[0]
    save_weights(release / "model.safetensors", weights | {name: weights[name] + np.float32(0.01)})


def _other_weights_named_everywhere(release: Path) -> None:
    before = weights_digest(load_weights(release / "model.safetensors"))
    _other_weights(release)
    after = weights_digest(load_weights(release / "model.safetensors"))
    edit(release / "training" / "ledger.jsonl", before, after)

    def rename(model: onnx.ModelProto) -> None:
        next(entry for entry in model.metadata_props if entry.key == WEIGHTS_KEY).value = after

    edit_model(release / "model.onnx", rename)


def _other_network(release: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 5)
        weights = numpy_helper.to_array(tensor).copy()
        weights.flat[0] += 0.5
        tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))

    edit_model(release / "model.onnx", change)


def _external_data(release: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../../etc/hostname")

    edit_model(release / "model.onnx", change)


def _foreign_operator(release: Path) -> None:
    edit_model(release / "model.onnx", lambda model: setattr(model.graph.node[0], "domain", "com.example"))


def _source_path(release: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].metadata_props.add(key="trace", value='File "/home/someone/net.py", line 3')

    edit_model(release / "model.onnx", change)


def _path_in_name(release: Path) -> None:
    edit_model(release / "model.onnx", lambda model: setattr(model, "producer_name", "/home/someone/torch"))


def _no_contract(release: Path) -> None:
    edit_model(release / "model.onnx", lambda model: model.ClearField("metadata_props"))


def _better_outcome(release: Path) -> None:
    edit(release / "training" / "ledger.jsonl", '"outcome":"DEGRADED"', '"outcome":"COMPLETED"')


def _better_metric(release: Path) -> None:
    edit(release / "training" / "ledger.jsonl", '"best_metric":0.6', '"best_metric":0.96')


def _no_absence(release: Path) -> None:
    edit(release / "training" / "ledger.jsonl", '"cases_lost":0.25', '"cases_lost":0.0')


def _hidden_line(release: Path) -> None:
    path = release / "training" / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"no_answer"' not in line))


def _line_after_the_end(release: Path) -> None:
    with (release / "training" / "ledger.jsonl").open("a") as file:
        file.write("{\n")


def _unknown_event(release: Path) -> None:
    path = release / "training" / "ledger.jsonl"
    path.write_text('{"event":"party"}\n' + path.read_text())


def _other_mask(release: Path) -> None:
    path = release / "conformance" / "case-1.mask.nii.gz"
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[:2] = 4 - voxels[:2]
    nib.save(nib.Nifti1Image(voxels, image.affine), path)


def _moved_mask(release: Path) -> None:
    path = release / "conformance" / "case-2.mask.nii.gz"
    image = nib.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 5
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)


def _other_logits(release: Path) -> None:
    path = release / "conformance" / "logits.safetensors"
    vectors = load_weights(path)
    save_weights(path, vectors | {"logits": vectors["logits"] + np.float32(0.1)})


def _logits_no_number(release: Path) -> None:
    path = release / "conformance" / "logits.safetensors"
    vectors = load_weights(path)
    save_weights(path, vectors | {"logits": np.full_like(vectors["logits"], np.nan)})


def _parity_of_another(release: Path) -> None:
    path = release / "evaluation" / "parity.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"model_sha256": "0" * 64}))


def _parity_not_reached(release: Path) -> None:
    path = release / "evaluation" / "parity.json"
    content = json.loads(path.read_text())
    content["windows"][0]["largest_difference"] = 0.5
    path.write_text(json.dumps(content | {"logit_tolerance": 1.0}))


def _other_channels(release: Path) -> None:
    edit(release / "metadata.json", '"num_channels": 3', '"num_channels": 2')


def _better_scores(release: Path) -> None:
    path = release / "evaluation" / "federated.json"
    content = json.loads(path.read_text())
    for score in content["pooled"].values():
        score["mean"] = 0.97
    path.write_text(json.dumps(content))


def _scores_of_another_model(release: Path) -> None:
    path = release / "evaluation" / "federated.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"model": "0" * 64}))


@pytest.mark.parametrize(
    ("tamper", "claims"),
    [
        (_other_contract, {"contract"}),
        (_better_scores, {"evaluation"}),
        (_scores_of_another_model, {"evaluation"}),
        (_other_spacing, {"contract"}),
        (_other_weights, {"weights", "rebuild"}),
        (_other_weights_named_everywhere, {"rebuild", "parity"}),
        (_other_network, {"conformance_logits", "rebuild", "parity"}),
        (_external_data, {"self_contained", "conformance_logits", "conformance_masks", "weights", "parity"}),
        (_foreign_operator, {"self_contained"}),
        (_source_path, {"self_contained"}),
        (_path_in_name, {"self_contained"}),
        (_no_contract, {"contract", "weights"}),
        (_better_outcome, {"ledger"}),
        (_better_metric, {"ledger"}),
        (_no_absence, {"ledger"}),
        (_hidden_line, {"ledger"}),
        (_line_after_the_end, {"ledger"}),
        (_unknown_event, {"ledger"}),
        (_other_mask, {"conformance_masks"}),
        (_moved_mask, {"conformance_masks"}),
        (_other_logits, {"conformance_logits"}),
        (_logits_no_number, {"conformance_logits"}),
        (_parity_of_another, {"parity"}),
        (_parity_not_reached, {"parity"}),
        (_other_channels, {"metadata"}),
    ],
)
def test_a_forgery_that_was_sealed_again_fails_its_claim(
    release: Path, tamper: Callable[[Path], None], claims: set[str]
) -> None:
    tamper(release)
    seal(release)
    report = verify(release)
    assert claims <= failed(report)
    assert not {"digests", "complete", "plain"} & failed(report)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff" * 40, b"[" * 5000, b"{}", b"[1]\n", gzip.compress(b"x", mtime=0)],
    ids=["empty", "binary", "nested", "object", "list", "gzip"],
)
@pytest.mark.parametrize(
    "name",
    [
        "model.onnx",
        "model.safetensors",
        "task.yaml",
        "metadata.json",
        "evaluation/parity.json",
        "training/job.json",
        "training/ledger.jsonl",
        "conformance/logits.safetensors",
        "conformance/case-1.nii.gz",
        "conformance/case-2.mask.nii.gz",
        "SHA256SUMS",
    ],
)
def test_rubbish_fails_and_never_raises(release: Path, name: str, content: bytes) -> None:
    (release / name).write_bytes(content)
    if name != "SHA256SUMS":
        seal(release)
    assert failed(verify(release))


def test_an_empty_folder_fails_and_no_folder_is_an_error(tmp_path: Path) -> None:
    assert not verify(tmp_path).ok
    with pytest.raises(InvalidInputError, match="is no folder"):
        verify(tmp_path / "none")


def test_without_torch_the_rebuild_is_not_verifiable_and_all_else_is(built: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'monai', 'nvflare'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from radfed.release.verify import verify\n"
        "print(verify(Path(sys.argv[1])).model_dump_json())\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(built)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    verdicts = {claim["name"]: claim["verdict"] for claim in json.loads(done.stdout)["claims"]}
    for name in ("rebuild", "signature", "site_metrics", "leakage", "signoff"):
        assert verdicts.pop(name) == "NOT VERIFIABLE"
    assert set(verdicts.values()) == {"PASS"}


def test_commands_build_and_verify(built: Path, release: Path, tmp_path: Path) -> None:
    app = typer.Typer(cls=GuardedGroup)
    app.add_typer(release_command.app, name="release")
    app.command("other")(lambda: None)
    runner = CliRunner()
    done = runner.invoke(app, ["release", "verify", str(release), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (0, True)
    _edit_card(release)
    done = runner.invoke(app, ["release", "verify", str(release), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (3, False)
    done = runner.invoke(app, ["release", "verify", str(tmp_path / "none")])
    assert done.exit_code == 2
    run = str(built.parent.parent / "run")
    done = runner.invoke(app, ["release", "build", run, "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert verify(Path(json.loads(done.stdout)["release"])).ok
    done = runner.invoke(app, ["release", "build", run, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
