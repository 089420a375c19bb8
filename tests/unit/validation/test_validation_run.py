import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from radfed.cli.console import GuardedGroup
from radfed.cli.validate import validate as command
from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.inference.sliding_window import Predictor
from radfed.ledger import Ledger, RoundLine, SiteLine
from radfed.task import SegmentationTask
from radfed.validation.comparison import compare, dump_comparison
from radfed.validation.evaluate import evaluate
from radfed.validation.results import Evaluation, dump_evaluations
from radfed.validation.run import read_comparison, validate


def write_model(path: Path, task: SegmentationTask) -> None:
    """A network without weights: each voxel is the class whose intensity it is nearest to."""
    levels = numpy_helper.from_array(np.array([0, 0.5, 1], dtype=np.float32).reshape(1, 3, 1, 1, 1), "levels")
    nodes = [
        helper.make_node("Sub", ["image", "levels"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, "h", "w", "d"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3, "h", "w", "d"])
    graph = helper.make_graph(nodes, "nearest", [image], [logits], [levels])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    metadata = {
        "radfed.task": json.dumps(task.model_dump(mode="json")),
        "radfed.task_digest": task.digest,
        "radfed.version": "0.0.0",
        "radfed.fixed_roi": "false",
        "radfed.weights_digest": "0" * 64,
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, path)


@pytest.fixture
def release(tmp_path: Path, task: SegmentationTask) -> Path:
    root = tmp_path / "release"
    (root / "training").mkdir(parents=True)
    (root / "evaluation").mkdir()
    write_model(root / "model.onnx", task)
    ledger = Ledger(root / "training/ledger.jsonl")
    ledger.append(SiteLine(round=1, site="site-a", answered=True, accepted=True, weight=2.0, loss=0.4))
    ledger.append(RoundLine(round=1, digest="0" * 64, accepted=1, metric=0.7, metric_cases=1, seconds=3.0))
    (root / "evaluation/parity.json").write_text('{"passed": true}')
    return root


def test_a_release_is_scored_as_its_model_scores(
    release: Path,
    task: SegmentationTask,
    datasets: tuple[Dataset, ...],
    make_predictor: Callable[[float], Predictor],
    tmp_path: Path,
) -> None:
    expected = evaluate(make_predictor(0.0), task, datasets)
    baseline = evaluate(make_predictor(2.0), task, datasets, model="local-site-a")
    dump_evaluations({"local-site-a": baseline}, release / "evaluation/comparison.json")
    found = validate(release, [dataset.root for dataset in datasets], tmp_path / "out")
    assert isinstance(found.evaluation, Evaluation)
    assert [c.labels for c in found.evaluation.cases] == [c.labels for c in expected.cases]
    assert found.phantom
    text = found.report.read_text()
    assert "local-site-a" in text
    assert "1 site trained together over 1 round" in text
    assert "Is the exported model the trained one?" in text
    metrics = json.loads(found.metrics.read_text())
    assert metrics["model_digest"] == hashlib.sha256((release / "model.onnx").read_bytes()).hexdigest()
    assert metrics["pooled"] == found.summary.model_dump(mode="json")["pooled"]


def test_a_comparison_of_means_is_shown_as_one_made_elsewhere(
    release: Path,
    task: SegmentationTask,
    datasets: tuple[Dataset, ...],
    make_predictor: Callable[[float], Predictor],
    tmp_path: Path,
) -> None:
    mine, other = (evaluate(make_predictor(w), task, datasets[:1], model=m) for w, m in ((0.0, "federated"), (2, "x")))
    rows = compare(mine, {"pooled": other})
    dump_comparison(rows, release / "evaluation/comparison.json")
    assert read_comparison(release / "evaluation/comparison.json") == ({}, rows)
    found = validate(release, [datasets[1].root], tmp_path / "out")
    text = found.report.read_text()
    assert "These scores were taken when the model was released" in text
    assert "Compared with the model pooled" not in text


def test_the_models_of_other_cases_are_not_compared(
    release: Path,
    task: SegmentationTask,
    datasets: tuple[Dataset, ...],
    make_predictor: Callable[[float], Predictor],
    tmp_path: Path,
) -> None:
    other = evaluate(make_predictor(2.0), task, datasets[:1], model="pooled")
    dump_evaluations({"pooled": other}, release / "evaluation/comparison.json")
    found = validate(release, [datasets[1].root], tmp_path / "out")
    assert "Federated beside local and pooled" not in found.report.read_text()
    assert json.loads(found.metrics.read_text())["comparison"] == []


@pytest.mark.parametrize("content", ["[]", "{", '{"rows": 3}', '{"evaluations": 3}'])
def test_a_broken_comparison_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "comparison.json"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match=r"comparison\.json"):
        read_comparison(path)


@pytest.fixture
def app() -> typer.Typer:
    found = typer.Typer(cls=GuardedGroup)
    found.command()(command)
    found.callback()(lambda: None)
    return found


def test_the_command_prints_one_object(
    app: typer.Typer, release: Path, datasets: tuple[Dataset, ...], tmp_path: Path
) -> None:
    roots = [str(dataset.root) for dataset in datasets]
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["validate", str(release), *roots, "--out", str(out), "--no-pdf", "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["pooled"]["cases"] == 10
    assert content["phantom"] is True
    assert Path(content["report"]) == out / "report.html"
    assert "cases" not in json.loads((out / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{empty}", "{dataset}"], "is not a release (model.onnx is missing)"),
        (["{release}", "{empty}"], "is not a prepared dataset"),
        (["{release}", "{dataset}", "--split", "tset"], "split must be one of training, validation, test, all"),
        (["{release}", "{dataset}", "{dataset}"], "got twice: site-a"),
    ],
)
def test_what_cannot_be_validated_exits_2_and_leaves_nothing(
    app: typer.Typer,
    release: Path,
    datasets: tuple[Dataset, ...],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "release": release, "dataset": datasets[0].root}
    given = [argument.format(**places) for argument in arguments]
    result = CliRunner().invoke(app, ["validate", *given, "--no-pdf", "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 2
    assert message in json.loads(result.stdout)["error"]
    assert not (tmp_path / "out").exists()
