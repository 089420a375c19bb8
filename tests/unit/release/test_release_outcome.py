"""Releases of tasks with one answer a case: built, forged, verified, run."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import OUTCOME_KINDS  # type: ignore[import-not-found]
from onnx import numpy_helper

from radfed.dataset.layout import Case, Datalist, write_lists
from radfed.inference.answers import predict_outcomes
from radfed.inference.model import OnnxModel
from radfed.inference.opened import open_model
from radfed.inference.operating import OPERATING
from radfed.inference.outcome import logits_of, prepare_case, probabilities
from radfed.preprocessing.records import encode
from radfed.release.cases import parity_cases
from radfed.release.metadata import encoded_names
from radfed.release.operating import find_thresholds
from radfed.release.package import build_release
from radfed.release.seal import seal
from radfed.release.verify import VerifyReport, verify
from radfed.task import OutcomeTask
from radfed.weights import load_weights, save_weights

MakeOutcomeTask = Callable[..., OutcomeTask]
MakeRun = Callable[..., Path]

CONTENTS = [
    "README.md",
    "SHA256SUMS",
    "configs/inference.json",
    "configs/metadata.json",
    "conformance/inputs/case-1.png",
    "conformance/inputs/case-2.png",
    "conformance/inputs/case-3.png",
    "conformance/logits.safetensors",
    "conformance/predictions.csv",
    "conformance/records.csv",
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


def failed(report: VerifyReport) -> set[str]:
    return {claim.name for claim in report.claims if claim.verdict == "FAIL"}


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory, make_run: MakeRun, make_outcome_task: MakeOutcomeTask) -> Path:
    """A release of a task with images and records, which nobody may change."""
    here = tmp_path_factory.mktemp("answering")
    return build_release(make_run(here / "run", make_outcome_task("multimodal")), here / "out")


@pytest.fixture
def copied(answering: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(answering, tmp_path / answering.name))


def write_dataset(root: Path, task: OutcomeTask, split: str, cases: int = 40) -> Path:
    """Records of which the older half is of the second class, or of the third of three."""
    random, found = np.random.default_rng(4), []
    for number in range(cases):
        name = hashlib.sha256(f"{root.name}{number}".encode()).hexdigest()
        age = float(random.integers(18, 100))
        content = {
            "id": f"case-{name[:12]}", "patient": f"pat-{name[:12]}", "split": split, "digest": name, "channels": 0,
            "covariates": {"age": age, "crp": float(random.integers(0, 200))},
            "outcome": task.finds[-1] if age > 60 else task.finds[0],
        }  # fmt: skip
        found.append(Case.model_validate(content))
    root.mkdir()
    lists = {
        kind: tuple({"case": case.id} for case in found if case.split == kind)
        for kind in ("training", "validation", "test")
    }
    datalist = Datalist.model_validate(
        {"name": "d", "description": "d", "site": "a", "labels": {}, "channels": {}, **lists}
    )
    write_lists(root, datalist, tuple(found), ())
    return root


def test_release_holds_everything_and_passes_every_claim(answering: Path) -> None:
    files = sorted(path.relative_to(answering).as_posix() for path in answering.rglob("*") if path.is_file())
    assert files == CONTENTS
    report = verify(answering)
    open_claims = {claim.name for claim in report.claims if claim.verdict != "PASS"}
    assert open_claims == {"signature", "site_metrics", "leakage", "signoff"}, report
    assert report.ok
    assert len(report.claims) == 24
    assert "3 cases, largest difference" in next(c.reason for c in report.claims if c.name == "conformance_answers")


@pytest.mark.parametrize("kind", [kind for kind in OUTCOME_KINDS if kind != "multimodal"])
def test_every_kind_is_released_verified_and_run(
    tmp_path: Path, make_run: MakeRun, make_outcome_task: MakeOutcomeTask, kind: str
) -> None:
    task = make_outcome_task(kind)
    release = build_release(make_run(tmp_path / "run", task), tmp_path / "out")
    report = verify(release)
    open_claims = {claim.name for claim in report.claims if claim.verdict != "PASS"}
    assert open_claims == {"signature", "site_metrics", "leakage", "signoff"}, report
    assert report.ok
    inputs = release / "conformance" / ("inputs" if task.image else "records.csv")
    found = predict_outcomes(release, inputs, tmp_path / "answers", threads=1)
    assert [one.reason for one in found] == [None] * 3
    assert (tmp_path / "answers" / "predictions.csv").read_text() == (
        release / "conformance" / "predictions.csv"
    ).read_text()
    assert len({tuple(one.probabilities.values()) for one in found}) == 3
    forms = {case["form"] for case in json.loads((release / "evaluation" / "parity.json").read_text())["cases"]}
    expected = {
        "classification": {"NIfTI", "PNG", "DICOM radiograph (MONOCHROME1)", "DICOM radiograph (MONOCHROME2)"},
        "volumes": {"NIfTI", "DICOM series"},
        "tabular": {"table"},
    }
    assert forms == expected.get(kind, forms)


def test_no_file_names_the_run_or_the_machine(answering: Path) -> None:
    for path in answering.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for trace in (str(answering.parent.parent).encode(), b"site-packages", b'File "', b"/tmp/"):
                assert trace not in content, path.name


def test_the_file_declares_a_free_batch_and_one_size(answering: Path) -> None:
    graph = onnx.load(answering / "model.onnx").graph
    declared = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert declared == {"image": ["batch", 1, 32, 24], "covariates": ["batch", 7], "logits": ["batch", 2]}
    assert OnnxModel.load(answering / "model.onnx").fixed_roi


def test_the_card_says_what_goes_in_and_what_comes_out(answering: Path) -> None:
    card = (answering / "README.md").read_text(encoding="utf-8")
    assert "it takes an image and a record and gives a probability for each of the classes normal and pneumonia" in card
    assert "| crp |  | mg/L | 0 to 500 | no |" in card
    assert "| sex |  | female, male | - | no |" in card
    assert "no image and no record left its site" in card
    assert "Its 1 - mean Brier score on the sites' validation cases is 0.6000, over 18 cases" in card
    assert "| 1 - Brier score | 11 | 0.7273 | " in card
    assert "The class with the highest probability." in card
    assert "radfed predict try_multimodal-0.1.0 images --covariates records.csv --out answers" in card
    assert "DICOM radiograph (MONOCHROME1)" in card
    assert "Dice" not in card
    assert "mask" not in card


def test_the_card_of_survival_promises_no_probability(
    tmp_path: Path, make_run: MakeRun, make_outcome_task: MakeOutcomeTask
) -> None:
    release = build_release(make_run(tmp_path / "run", make_outcome_task("survival")), tmp_path / "out")
    card = (release / "README.md").read_text(encoding="utf-8")
    assert "it is neither a probability nor a time" in card
    assert "Its concordance on the sites' validation cases is 0.6000, over 18 pairs of cases" in card
    assert "| concordance, mean over cases | 11 |" in card
    assert "no record left its site" in card
    assert "probabilities" not in card
    assert "no image" not in card


def test_metadata_has_the_fields_of_a_monai_bundle(answering: Path, make_outcome_task: MakeOutcomeTask) -> None:
    content = json.loads((answering / "metadata.json").read_text())
    inputs = content["network_data_format"]["inputs"]
    assert list(inputs) == ["image", "covariates"]
    image, record = inputs["image"], inputs["covariates"]
    assert (image["spatial_shape"], image["modality"], image["is_patch_data"]) == ([32, 24], "DX", False)
    assert record["num_channels"] == len(record["channel_def"]) == make_outcome_task("multimodal").width
    pred = content["network_data_format"]["outputs"]["pred"]
    assert (pred["type"], pred["channel_def"]) == ("probabilities", {"0": "normal", "1": "pneumonia"})
    assert content["data_type"] == "png, nifti, dicom, csv, parquet"
    assert content["pred_classes"] == content["label_classes"] == "0: normal, 1: pneumonia"


def test_encoded_numbers_are_named_as_they_are_encoded(make_outcome_task: MakeOutcomeTask) -> None:
    task = make_outcome_task("tabular")
    names = encoded_names(task)
    missing = dict(zip(names, encode({}, task), strict=True))
    assert {name for name, value in missing.items() if value} == {"crp missing", "age missing", "sex missing"}
    there = dict(zip(names, encode({"crp": 110.0, "age": 60.0, "sex": "male"}, task), strict=True))
    assert {name: value for name, value in there.items() if value} == {"crp": 1.0, "sex = male": 1.0}


def test_release_answers_its_own_conformance_cases(answering: Path, tmp_path: Path) -> None:
    vectors = answering / "conformance"
    found = predict_outcomes(answering, vectors / "inputs", tmp_path, vectors / "records.csv", threads=1)
    assert [one.reason for one in found] == [None] * 3
    assert (tmp_path / "predictions.csv").read_text() == (vectors / "predictions.csv").read_text()


def test_the_same_run_gives_the_same_release(answering: Path, tmp_path: Path) -> None:
    again = build_release(answering.parent.parent / "run", tmp_path)
    assert (again / "SHA256SUMS").read_text() == (answering / "SHA256SUMS").read_text()


# What a forger does, who seals the release again.


def _other_answer(release: Path) -> None:
    path = release / "conformance" / "predictions.csv"
    lines = path.read_text().splitlines()
    first = lines[1].split(",")
    first[3] = "normal" if first[3] == "pneumonia" else "pneumonia"
    path.write_text("\n".join([lines[0], ",".join(first), *lines[2:]]) + "\n")


def _other_probability(release: Path) -> None:
    path = release / "conformance" / "predictions.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["pneumonia"] = str(float(rows[0]["pneumonia"]) + 0.01)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _other_record(release: Path) -> None:
    path = release / "conformance" / "records.csv"
    header, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, "case-1,499,119,female", *rest]) + "\n")
    assert first != "case-1,499,119,female"


def _one_case_less(release: Path) -> None:
    (release / "conformance" / "inputs" / "case-2.png").unlink()


def _other_logits(release: Path) -> None:
    path = release / "conformance" / "logits.safetensors"
    vectors = load_weights(path)
    save_weights(path, vectors | {"logits": vectors["logits"] + np.float32(0.1)})


def _other_network(release: Path) -> None:
    model = onnx.load(release / "model.onnx")
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 4)
    weights = numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(numpy_helper.from_array(weights + np.float32(0.5), tensor.name))
    (release / "model.onnx").write_bytes(model.SerializeToString())


def _other_range(release: Path) -> None:
    text = (release / "task.yaml").read_text()
    assert "upper: 500.0" in text
    (release / "task.yaml").write_text(text.replace("upper: 500.0", "upper: 5000.0"))


def _change_parity(release: Path, key: str, field: str, value: object) -> None:
    path = release / "evaluation" / "parity.json"
    content = json.loads(path.read_text())
    content[key][0][field] = value
    path.write_text(json.dumps(content | {"logit_tolerance": 1.0, "input_tolerance": 1.0}))


def _logits_apart(release: Path) -> None:
    _change_parity(release, "batches", "largest_difference", 0.5)


def _other_answers(release: Path) -> None:
    _change_parity(release, "cases", "same_answer", False)


def _seen_otherwise(release: Path) -> None:
    _change_parity(release, "cases", "input_difference", 0.5)


def _foreign_scores(release: Path) -> None:
    path = release / "evaluation" / "federated.json"
    path.write_text(path.read_text().replace('"accuracy"', '"excellence"'))


def _no_covariates_named(release: Path) -> None:
    path = release / "metadata.json"
    content = json.loads(path.read_text())
    del content["network_data_format"]["inputs"]["covariates"]
    path.write_text(json.dumps(content))


def _foreign_threshold(release: Path) -> None:
    stated = {"model": "0" * 64, "rule": {}, "thresholds": {"pneumonia": 0.1}, "cases": {"pneumonia": 9}}
    (release / OPERATING).write_text(json.dumps(stated))


def _state(release: Path, **changes: object) -> None:
    model = OnnxModel.load(release / "model.onnx").weights_digest
    stated = {"model": model, "rule": {}, "thresholds": {"pneumonia": 0.5}, "cases": {"pneumonia": 9}}
    (release / OPERATING).write_text(json.dumps(stated | changes))


def _other_rule(release: Path) -> None:
    _state(release, rule={"rule": "sensitivity", "value": 0.9})


def _threshold_of_nothing(release: Path) -> None:
    _state(release, thresholds={"normal": 0.5})


def _threshold_that_turns_answers(release: Path) -> None:
    with (release / "conformance" / "predictions.csv").open(newline="") as file:
        scores = [(float(row["pneumonia"]), row["answer"]) for row in csv.DictReader(file)]
    called = [score for score, answer in scores if answer == "pneumonia"]
    _state(release, thresholds={"pneumonia": 1.0 if called else min(score for score, _ in scores)})


def _metrics_of_another_model(release: Path) -> None:
    (release / "evaluation" / "metrics.json").write_text(json.dumps({"travels": True, "model_digest": "0" * 64}))


@pytest.mark.parametrize(
    ("tamper", "claims"),
    [
        (_other_answer, {"conformance_answers"}),
        (_other_probability, {"conformance_answers"}),
        (_other_record, {"conformance_answers"}),
        (_one_case_less, {"conformance_answers"}),
        (_other_logits, {"conformance_logits"}),
        (_other_network, {"conformance_logits", "conformance_answers", "parity", "rebuild"}),
        (_other_range, {"contract"}),
        (_logits_apart, {"parity"}),
        (_other_answers, {"parity"}),
        (_seen_otherwise, {"parity"}),
        (_foreign_scores, {"evaluation"}),
        (_no_covariates_named, {"metadata", "bundle"}),
        (_foreign_threshold, {"conformance_answers"}),
        (_other_rule, {"conformance_answers"}),
        (_threshold_of_nothing, {"conformance_answers"}),
        (_threshold_that_turns_answers, {"conformance_answers"}),
        (_metrics_of_another_model, {"evaluation"}),
    ],
)
def test_a_forgery_that_was_sealed_again_fails_its_claim(
    copied: Path, tamper: Callable[[Path], None], claims: set[str]
) -> None:
    tamper(copied)
    seal(copied)
    # What follows from the changed file is another too: test_release_tampering.py has forgers who rewrite it.
    assert failed(verify(copied)) - {"card", "sbom", "ro_crate"} == claims


@pytest.mark.parametrize("name", ["conformance/predictions.csv", "conformance/records.csv", "task.yaml"])
@pytest.mark.parametrize("content", [b"\x00\xff" * 40, b"[" * 5000], ids=["binary", "nested"])
def test_rubbish_fails_and_never_raises(copied: Path, name: str, content: bytes) -> None:
    (copied / name).write_bytes(content)
    seal(copied)
    assert failed(verify(copied)) & {"conformance_answers", "contract"}


def test_without_torch_all_but_the_rebuild_is_checked(answering: Path) -> None:
    # A finder, and not None among the modules: SciPy takes what stands there for a module.
    script = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'monai', 'nvflare'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from pathlib import Path\n"
        "from radfed.release.verify import verify\n"
        "for claim in verify(Path(sys.argv[1])).claims: print(claim.name, claim.verdict)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(answering)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    verdicts = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for name in ("rebuild", "signature", "site_metrics", "leakage", "signoff"):
        assert verdicts.pop(name) == "NOT VERIFIABLE"
    assert set(verdicts.values()) == {"PASS"}


def test_the_operating_point_is_fixed_on_validation_cases(
    tmp_path: Path, make_run: MakeRun, make_outcome_task: MakeOutcomeTask
) -> None:
    content = make_outcome_task("tabular").model_dump(mode="json")
    content["outcome"]["classes"] = ["young", "old"]
    task = OutcomeTask.check(content, "test")
    data = [write_dataset(tmp_path / "a", task, "validation"), write_dataset(tmp_path / "b", task, "test")]
    cases, _ = parity_cases(data)
    assert [case.volume for case in cases] == [None] * 4
    release = build_release(make_run(tmp_path / "run", task), tmp_path / "out", cases, datasets=data)
    assert verify(release).ok
    stated = json.loads((release / OPERATING).read_text())
    assert stated["cases"] == {"old": 40}
    threshold = stated["thresholds"]["old"]
    card = (release / "README.md").read_text()
    assert f"| old | {threshold:.4f} | 40 validation cases, by the largest sensitivity + specificity (Youden) |" in card
    # No other threshold has a larger sum of sensitivity and specificity on these cases.
    model = open_model(release)
    lines = [json.loads(line) for line in (data[0] / "cases.jsonl").read_text().splitlines()]
    prepared = [prepare_case(None, line["covariates"], task) for line in lines]
    scores = probabilities(logits_of(prepared, model.answer), task)[:, 1]
    old = np.array([line["outcome"] == "old" for line in lines])

    def index(at: float) -> float:
        return float((scores[old] >= at).mean() + (scores[~old] < at).mean())

    assert index(threshold) == pytest.approx(max(index(at) for at in (0, *scores, 2)))
    found = predict_outcomes(release, release / "conformance" / "records.csv", tmp_path / "answers")
    assert all((one.answer == "old") == (one.probabilities["old"] >= threshold) for one in found)


def test_there_is_no_operating_point_without_what_it_takes(
    tmp_path: Path, answering: Path, make_outcome_task: MakeOutcomeTask, make_run: MakeRun
) -> None:
    model = OnnxModel.load(answering / "model.onnx", threads=1)
    assert find_thresholds(model, ()) is None
    three = make_outcome_task("tabular")
    release = build_release(make_run(tmp_path / "run", three), tmp_path / "out")
    assert find_thresholds(open_model(release), [write_dataset(tmp_path / "a", three, "validation")]) is None
    assert not (release / OPERATING).exists()
