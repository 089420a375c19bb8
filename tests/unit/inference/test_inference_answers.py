"""From files and tables to predictions.csv."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from linear_model import FINDINGS, linear_weights, outcome_task, write_linear_model  # type: ignore[import-not-found]
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet
from threshold_model import threshold_task, write_threshold_model  # type: ignore[import-not-found]
from typer.testing import CliRunner

from radfed.cli.console import GuardedGroup
from radfed.cli.predict import predict as predict_command
from radfed.errors import GateError, InvalidInputError, RadfedError
from radfed.imaging.nifti import write_image
from radfed.imaging.volume import Volume
from radfed.inference.answers import answers_of, as_table, batch_size, column_of, predict_outcomes
from radfed.inference.case_inputs import find_cases
from radfed.inference.checksums import file_digest
from radfed.inference.model import OnnxModel
from radfed.inference.operating import OPERATING, OperatingThresholds
from radfed.inference.outcome import prepare_case, probabilities
from radfed.task import OperatingPoint

# Columns of the encoded record: crp, crp missing, female, male, sex missing.
GOOD = {"a": {"crp": "75", "sex": "male"}, "b": {"crp": "", "sex": "female"}, "c": {"crp": "25.5", "sex": "male"}}
ENCODED = {"a": [1, 0, 0, 1, 0], "b": [0, 1, 1, 0, 0], "c": [-0.98, 0, 0, 1, 0]}


def pixels(seed: int, shape: tuple[int, int] = (6, 8)) -> NDArray[np.uint8]:
    """Rows and columns of a picture in the task's window."""
    return np.random.default_rng(seed).integers(0, 100, size=shape).astype(np.uint8)


def write_table(path: Path, rows: dict[str, dict[str, str]], columns: tuple[str, ...] = ("crp", "sex")) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", *columns])
        writer.writerows([[case, *(row.get(name, "") for name in columns)] for case, row in rows.items()])
    return path


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.fixture
def tabular(tmp_path: Path) -> Path:
    path: Path = write_linear_model(tmp_path / "tabular.onnx", outcome_task(False, True))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index, name in enumerate(GOOD):
        Image.fromarray(pixels(index)).save(folder / f"{name}.png")
    return folder


def test_a_table_of_records_is_answered_row_by_row(tmp_path: Path, tabular: Path) -> None:
    table = write_table(tmp_path / "records.csv", GOOD)
    seen: list[tuple[int, int]] = []
    found = predict_outcomes(tabular, table, tmp_path / "out", on_progress=lambda done, all_: seen.append((done, all_)))
    assert seen == [(0, 3), (3, 3)]
    task = outcome_task(False, True)
    expected = probabilities(np.array(list(ENCODED.values())) @ linear_weights(task)["covariates"], task)
    written = rows_of(tmp_path / "out" / "predictions.csv")
    assert list(written) == list(GOOD)
    for one, values in zip(found, expected, strict=True):
        assert one.reason is None, one.message
        assert list(one.probabilities.values()) == pytest.approx(list(values), abs=1e-6)
        row = written[one.case]
        assert list(row) == ["case", "normal", "ill", "answer", "reason", "message"]
        assert float(row["ill"]) == pytest.approx(values[1], abs=1e-6)
        assert row["answer"] == one.answer == ("ill" if values[1] > 0.5 else "normal")
    assert {one.answer for one in found} == {"normal", "ill"}


def test_parquet_says_the_same_as_csv(tmp_path: Path, tabular: Path) -> None:
    predict_outcomes(tabular, write_table(tmp_path / "r.csv", GOOD), tmp_path / "csv")
    crp, sex = pa.array([75.0, None, 25.5]), pa.array(["male", "female", "male"])
    parquet.write_table(pa.table({"case": list(GOOD), "crp": crp, "sex": sex}), tmp_path / "r.parquet")
    predict_outcomes(tabular, tmp_path / "r.parquet", tmp_path / "parquet")
    assert rows_of(tmp_path / "parquet" / "predictions.csv") == rows_of(tmp_path / "csv" / "predictions.csv")


def test_one_bad_row_stops_no_other_and_says_why(tmp_path: Path, tabular: Path) -> None:
    bad = {
        "unit": {"crp": "5000", "sex": "male"},
        "text": {"crp": "high", "sex": "male"},
        "infinite": {"crp": "inf", "sex": "male"},
        "word": {"crp": "3", "sex": "m"},
        "required": {"crp": "3", "sex": ""},
    }
    found = predict_outcomes(tabular, write_table(tmp_path / "r.csv", {**bad, **GOOD}), tmp_path / "out")
    assert {one.case: one.reason for one in found} == {
        "unit": "implausible_value",
        "text": "not_a_number",
        "infinite": "not_a_number",
        "word": "unknown_value",
        "required": "missing_value",
        **dict.fromkeys(GOOD),
    }
    written = rows_of(tmp_path / "out" / "predictions.csv")
    assert written["unit"]["reason"] == "implausible_value"
    assert written["unit"]["ill"] == written["unit"]["answer"] == ""
    assert "0 to 500 mg/L" in written["unit"]["message"]
    alone = predict_outcomes(tabular, write_table(tmp_path / "good.csv", GOOD), tmp_path / "alone")
    assert [one.probabilities for one in found[len(bad) :]] == [one.probabilities for one in alone]


def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, tabular: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InvalidInputError, match=r"has no column 'crp' \(covariates.crp\)"):
        predict_outcomes(tabular, write_table(tmp_path / "r.csv", GOOD, ("sex",)), out)
    with pytest.raises(InvalidInputError, match="row 2 has no text in the column 'case'"):
        predict_outcomes(tabular, write_table(tmp_path / "r.csv", {"": GOOD["a"]}), out)
    with pytest.raises(InvalidInputError, match="give the table as INPUT"):
        predict_outcomes(tabular, write_table(tmp_path / "r.csv", GOOD), out, covariates=tmp_path / "r.csv")
    with pytest.raises(InvalidInputError, match="is the input itself"):
        predict_outcomes(tabular, write_table(tmp_path / "predictions.csv", GOOD), tmp_path)
    assert not out.exists()


def test_two_rows_of_one_case_are_both_refused(tmp_path: Path, tabular: Path) -> None:
    (tmp_path / "r.csv").write_text("case,crp,sex\na,1,male\na,2,male\nb,1,male\n")
    found = predict_outcomes(tabular, tmp_path / "r.csv", tmp_path / "out")
    assert [(one.case, one.reason) for one in found] == [("a", "same_name"), ("b", None)]


def test_a_picture_says_the_same_in_every_form(tmp_path: Path, pictures: Path) -> None:
    task = outcome_task(True)
    model = write_linear_model(tmp_path / "m.onnx", task)
    grey = pixels(0)
    volume = Volume(grey.T[np.newaxis, :, :, np.newaxis].astype(np.float32), np.diag([-0.2, -0.2, 1.0, 1.0]))
    write_image(pictures / "nifti.nii.gz", volume)
    # The same picture, stored the other way round.
    affine = np.diag([0.2, -0.2, 1.0, 1.0])
    affine[0, 3] = -0.2 * 7
    write_image(pictures / "turned.nii.gz", Volume(np.ascontiguousarray(volume.array[:, ::-1]), affine))
    found = {one.case: one for one in predict_outcomes(model, pictures, tmp_path / "out")}
    assert {name: one.reason for name, one in found.items()} == dict.fromkeys(("a", "b", "c", "nifti", "turned"))
    seen = grey.T.astype(np.float32).ravel() / 100
    expected = probabilities(seen[np.newaxis] @ linear_weights(task)["image"], task)[0, 1]
    for name in ("a", "nifti", "turned"):
        assert found[name].probabilities["ill"] == pytest.approx(expected, abs=1e-5)
    assert found["b"].probabilities["ill"] != pytest.approx(expected, abs=1e-3)


def test_images_and_records_are_joined_by_name(tmp_path: Path, pictures: Path) -> None:
    task = outcome_task(True, True)
    model = write_linear_model(tmp_path / "m.onnx", task)
    table = write_table(tmp_path / "r.csv", {"c": GOOD["c"], "nobody": GOOD["a"], "b": GOOD["b"]})
    (pictures / "broken.png").write_bytes(b"no picture")
    found = {one.case: one for one in predict_outcomes(model, pictures, tmp_path / "out", table)}
    assert {name: one.reason for name, one in found.items()} == {
        "a": "no_record", "b": None, "broken": "no_record", "c": None,
    }  # fmt: skip
    weights = linear_weights(task)
    for index, name in ((1, "b"), (2, "c")):
        image = pixels(index).T.astype(np.float32).ravel() / 100
        logits = image @ weights["image"] + np.array(ENCODED[name]) @ weights["covariates"]
        expected = probabilities(logits[np.newaxis], task)[0]
        assert list(found[name].probabilities.values()) == pytest.approx(list(expected), abs=1e-5)
    with pytest.raises(InvalidInputError, match="give --covariates, a table with the columns case, crp, sex"):
        predict_outcomes(model, pictures, tmp_path / "out")
    images = write_linear_model(tmp_path / "i.onnx", outcome_task(True))
    with pytest.raises(InvalidInputError, match="leave --covariates out"):
        predict_outcomes(images, pictures, tmp_path / "out", table)


def test_a_broken_picture_stops_no_other(tmp_path: Path, pictures: Path) -> None:
    model = write_linear_model(tmp_path / "m.onnx", outcome_task(True, outcome=FINDINGS))
    (pictures / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:40])
    Image.new("RGB", (8, 6), (200, 10, 10)).save(pictures / "colour.png")
    found = predict_outcomes(model, pictures, tmp_path / "out")
    reasons = {one.case: one.reason for one in found}
    assert reasons == {**dict.fromkeys(GOOD), "broken": "unreadable", "colour": "colour_image"}


def test_batches_give_what_cases_alone_give(tmp_path: Path) -> None:
    """More cases than fit into one batch, with bad ones between them."""
    task = outcome_task(False, True)
    model = OnnxModel.load(write_linear_model(tmp_path / "m.onnx", task), threads=1)
    random = np.random.default_rng(1)
    table = {
        f"{number:03}": {"crp": f"{random.uniform(0, 500):.3f}" if number % 7 else "-5", "sex": "male"}
        for number in range(2 * batch_size(task) + 5)
    }
    cases = find_cases(write_table(tmp_path / "r.csv", table), None, task)
    together = answers_of(cases, model)
    assert [one.case for one in together] == list(table)
    assert [one.reason is None for one in together] == [bool(number % 7) for number in range(len(table))]
    for one, case in zip(together, cases, strict=True):
        (alone,) = answers_of([case], model)
        assert alone.answer == one.answer
        assert alone.probabilities == pytest.approx(one.probabilities, abs=1e-5)


def test_a_batch_that_fails_is_tried_case_by_case(
    tmp_path: Path, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxModel.answer

    def short_of_memory(
        self: OnnxModel, image: NDArray[np.float32] | None = None, covariates: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        assert covariates is not None
        if len(covariates) > 1 or covariates[0, 1]:
            raise RadfedError("no memory")
        return right(self, image, covariates)

    monkeypatch.setattr(OnnxModel, "answer", short_of_memory)
    found = predict_outcomes(tabular, write_table(tmp_path / "r.csv", GOOD), tmp_path / "out")
    assert [one.reason for one in found] == [None, "failed", None]


def test_numbers_that_are_none_are_no_answer(tmp_path: Path, tabular: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxModel, "answer", lambda *given_: np.full((3, 2), np.nan, np.float32))
    found = predict_outcomes(tabular, write_table(tmp_path / "r.csv", GOOD), tmp_path / "out")
    assert [(one.reason, one.answer, one.probabilities) for one in found] == [("failed", None, {})] * 3


def test_columns_of_the_table_do_not_collide_with_classes(tmp_path: Path) -> None:
    task = outcome_task(False, True, {"type": "multiclass", "classes": ["case", "control"]})
    path = write_linear_model(tmp_path / "m.onnx", task)
    found = predict_outcomes(path, write_table(tmp_path / "r.csv", GOOD), tmp_path / "out")
    assert column_of("control") == "control"
    assert as_table(found, task).splitlines()[0] == "case,case (probability),control,answer,reason,message"


def test_survival_gives_a_log_hazard_and_no_answer(tmp_path: Path) -> None:
    task = outcome_task(False, True, {"type": "survival"})
    path = write_linear_model(tmp_path / "m.onnx", task)
    found = predict_outcomes(path, write_table(tmp_path / "r.csv", GOOD), tmp_path / "out")
    hazard = float(np.array(ENCODED["a"]) @ linear_weights(task)["covariates"][:, 0])
    assert found[0].probabilities == {"hazard": pytest.approx(hazard, abs=1e-5)}
    assert found[0].answer == ""
    assert rows_of(tmp_path / "out" / "predictions.csv")["a"]["answer"] == ""


def test_a_release_states_its_operating_point(tmp_path: Path, tabular: Path) -> None:
    release = tmp_path / "release"
    (release / "evaluation").mkdir(parents=True)
    tabular.rename(release / "model.onnx")

    def state(threshold: float, model: str = "0" * 64) -> None:
        stated = OperatingThresholds(
            model=model, rule=OperatingPoint(), thresholds={"ill": threshold}, cases={"ill": 20}
        )
        (release / OPERATING).write_text(stated.model_dump_json())
        sums = "".join(f"{file_digest(release / name)}  {name}\n" for name in ("model.onnx", OPERATING))
        (release / "SHA256SUMS").write_text(sums)

    table = write_table(tmp_path / "r.csv", GOOD)
    for threshold, expected in ((0.0, {"ill"}), (1.0, {"normal"})):
        state(threshold)
        assert {one.answer for one in predict_outcomes(release, table, tmp_path / "out")} == expected
    state(0.5, model="1" * 64)
    with pytest.raises(GateError, match="of another model"):
        predict_outcomes(release, table, tmp_path / "out")
    state(0.5)
    (release / OPERATING).write_text("{}")
    with pytest.raises(GateError, match="not the one that the release lists"):
        predict_outcomes(release, table, tmp_path / "out")


def test_the_command_writes_the_table_and_exits_1_if_a_case_failed(tmp_path: Path, tabular: Path) -> None:
    app = typer.Typer(cls=GuardedGroup)
    app.command("predict")(predict_command)
    app.command("other")(lambda: None)

    def run(model: Path, *arguments: str) -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(app, ["predict", str(model), *arguments, "--out", str(tmp_path / "out"), "--json"])
        return done.exit_code, json.loads(done.stdout)

    code, content = run(tabular, str(write_table(tmp_path / "r.csv", GOOD)))
    assert (code, content["ok"], content["failed"]) == (0, True, 0)
    assert rows_of(tmp_path / "out" / "predictions.csv").keys() == GOOD.keys()
    code, content = run(tabular, str(write_table(tmp_path / "r.csv", {**GOOD, "d": {"crp": "-1"}})))
    assert (code, content["ok"], content["failed"]) == (1, False, 1)
    code, content = run(tabular, str(tmp_path / "r.csv"), "--send", "dimse://A@host:104")
    assert (code, "makes no SEG" in str(content["error"])) == (2, True)
    masks = write_threshold_model(tmp_path / "s.onnx", threshold_task())
    code, content = run(masks, str(tmp_path), "--covariates", str(tmp_path / "r.csv"))
    assert (code, "reads scans alone" in str(content["error"])) == (2, True)


def test_prepared_cases_hold_what_the_task_takes(tmp_path: Path) -> None:
    volume = Volume(np.zeros((1, 8, 6, 1), np.float32), np.diag([-0.2, -0.2, 1.0, 1.0]))
    record: dict[str, float | str] = {"crp": 75.0, "sex": "male"}
    both = prepare_case(volume, record, outcome_task(True, True))
    assert both.image is not None
    assert both.record is not None
    assert (both.image.shape, both.record.tolist()) == ((1, 8, 6), ENCODED["a"])
    assert prepare_case(volume, {}, outcome_task(True)).record is None
    assert prepare_case(None, record, outcome_task(False, True)).image is None


def test_answers_where_torch_monai_and_nvflare_are_not_installed(tmp_path: Path, pictures: Path) -> None:
    write_linear_model(tmp_path / "m.onnx", outcome_task(True, True))
    write_table(tmp_path / "r.csv", GOOD)
    script = (
        "import sys\n"
        "for name in ('torch', 'monai', 'nvflare'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from radfed.inference.answers import predict_outcomes\n"
        "here = Path(sys.argv[1])\n"
        "found = predict_outcomes(here / 'm.onnx', here / 'images', here / 'out', here / 'r.csv', threads=1)\n"
        "assert [one.reason for one in found] == [None] * 3, found\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "predictions.csv").is_file()
