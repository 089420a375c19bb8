"""``radfed validate`` on a release of an outcome task, as the base install runs it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from radfed.cli.console import GuardedGroup
from radfed.cli.validate import validate as command
from radfed.dataset.layout import Dataset
from radfed.errors import GateError, InvalidInputError
from radfed.inference.operating import OPERATING, OperatingThresholds
from radfed.inference.outcome import Answerer
from radfed.task import OperatingPoint, OutcomeTask
from radfed.validation.kinds import headline_of
from radfed.validation.outcome.comparison import compare_outcomes, dump_outcome_comparison
from radfed.validation.outcome.evaluate import evaluate_outcomes
from radfed.validation.outcome.results import OutcomeEvaluation, dump_outcome_evaluations
from radfed.validation.outcome.summary import OutcomeSummary
from radfed.validation.run import validate

WEIGHTS = "0" * 64
Batch = NDArray[np.float32] | None


def write_model(path: Path, task: OutcomeTask) -> None:
    """Logits of two classes from the mean of the image."""
    assert task.image is not None
    constants = [
        numpy_helper.from_array(np.array([1, 2, 3], dtype=np.int64), "axes"),
        numpy_helper.from_array(np.array(0.5, dtype=np.float32), "middle"),
        numpy_helper.from_array(np.array([[-8, 8]], dtype=np.float32), "slope"),
        numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "middle"], ["line"]),
        helper.make_node("Reshape", ["line", "shape"], ["column"]),
        helper.make_node("MatMul", ["column", "slope"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, *task.image.size])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "bright", [image], [logits], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = {
        "radfed.task": json.dumps(task.model_dump(mode="json")),
        "radfed.task_digest": task.digest,
        "radfed.version": "0.0.0",
        "radfed.fixed_roi": "true",
        "radfed.weights_digest": WEIGHTS,
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, path)


@pytest.fixture
def release(tmp_path: Path, picture_task: OutcomeTask) -> Path:
    root = tmp_path / "release"
    (root / "evaluation").mkdir(parents=True)
    write_model(root / "model.onnx", picture_task)
    list_files(root)
    return root


def list_files(root: Path) -> None:
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(root).as_posix()}\n" for p in files]
    (root / "SHA256SUMS").write_text("".join(lines))


def test_a_release_answers_as_its_model_does(
    release: Path, picture_task: OutcomeTask, sites: tuple[Dataset, ...], by_brightness: Answerer, tmp_path: Path
) -> None:
    expected = evaluate_outcomes(by_brightness, picture_task, sites)
    found = validate(release, [dataset.root for dataset in sites], tmp_path / "out")
    assert isinstance(found.evaluation, OutcomeEvaluation)
    got = np.array([case.scores for case in found.evaluation.cases])
    np.testing.assert_allclose(got, [case.scores for case in expected.cases], atol=1e-5)
    assert isinstance(found.summary, OutcomeSummary)
    metrics = json.loads(found.metrics.read_text())
    assert metrics["pooled"] == found.summary.model_dump(mode="json")["pooled"]
    assert metrics["operating_point"]["cases"] == {"bright": 18}
    assert found.report.is_file()
    head = headline_of(found.summary)
    assert head.name == "AUROC"
    assert head.value is not None
    assert head.low is not None
    assert head.low < head.value


def test_the_operating_point_that_a_release_states_is_used(
    release: Path, sites: tuple[Dataset, ...], tmp_path: Path
) -> None:
    stated = OperatingThresholds(model=WEIGHTS, rule=OperatingPoint(), thresholds={"bright": 0.9}, cases={"bright": 40})
    (release / OPERATING).write_text(stated.model_dump_json())
    list_files(release)
    found = validate(release, [sites[0].root], tmp_path / "out")
    point = json.loads(found.metrics.read_text())["operating_point"]
    assert (point["origin"], point["thresholds"]) == ("release", {"bright": 0.9})
    assert "the one that the release states" in found.report.read_text()
    (release / OPERATING).write_text(stated.model_copy(update={"thresholds": {"bright": 0.1}}).model_dump_json())
    with pytest.raises(GateError):
        validate(release, [sites[0].root], tmp_path / "again")


def test_other_models_are_compared_case_by_case_or_as_they_were(
    release: Path, picture_task: OutcomeTask, sites: tuple[Dataset, ...], by_brightness: Answerer, tmp_path: Path
) -> None:
    def blind(image: Batch, records: Batch) -> NDArray[np.float32]:
        logits = by_brightness(image, records)
        noise = np.random.default_rng(0).normal(0, 1, logits.shape)
        return (0.1 * logits + noise).astype(np.float32)

    mine = evaluate_outcomes(by_brightness, picture_task, sites[:2])
    other = evaluate_outcomes(blind, picture_task, sites[:2], model="local-site-a")
    beside = tmp_path / "comparison.json"
    dump_outcome_evaluations({"local-site-a": other}, beside)
    roots = [dataset.root for dataset in sites[:2]]
    text = validate(release, roots, tmp_path / "out", compare=beside).report.read_text()
    assert "Compared with the model local-site-a: AUROC +" in text
    rows = compare_outcomes(mine, {"local-site-a": other})
    dump_outcome_comparison(rows, release / "evaluation/comparison.json")
    text = validate(release, roots, tmp_path / "again").report.read_text()
    assert "These scores were taken when the model was released" in text
    assert "Compared with the model local-site-a" not in text
    (release / "evaluation/comparison.json").write_text('{"rows": 3}')
    with pytest.raises(InvalidInputError, match=r"comparison\.json"):
        validate(release, roots, tmp_path / "third")


def test_the_command_prints_the_numbers(release: Path, sites: tuple[Dataset, ...], tmp_path: Path) -> None:
    app = typer.Typer(cls=GuardedGroup)
    app.command()(command)
    app.callback()(lambda: None)
    roots, out = [str(dataset.root) for dataset in sites], tmp_path / "out"
    result = CliRunner().invoke(app, ["validate", str(release), *roots, "--out", str(out), "--no-pictures", "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["pooled"]["cases"] == 48
    assert content["pooled"]["questions"]["bright"]["auroc"]["value"] > 0.7
    assert content["operating"]["origin"] == "validation"
    assert "AUROC 0." in result.stderr
