"""The gate of tasks with one answer a case, and the cases that it makes up."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OUTCOME_KINDS  # type: ignore[import-not-found]

import radfed.inference.case_inputs
from radfed.dataset.records import check_covariates
from radfed.errors import GateError, InvalidInputError
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.picture import read_picture
from radfed.imaging.plausibility import check_geometry
from radfed.imaging.volume import Volume
from radfed.inference.picture_inputs import PictureInput, read_input
from radfed.inference.record_inputs import read_records
from radfed.release.cases import GivenCase
from radfed.release.export import export_onnx
from radfed.release.made_up import made_up_record
from radfed.release.outcome_files import RECORDS, made_up_cases, write_forms
from radfed.release.outcome_parity import BATCHES, OutcomeParityReport, check_outcome_parity
from radfed.release.parity import LOGIT_TOLERANCE
from radfed.task import OutcomeTask
from radfed.training.networks import build_network

MakeOutcomeTask = Callable[..., OutcomeTask]
Exported = tuple[torch.nn.Module, Path, OutcomeTask]

ENCODERS: dict[str, dict[str, Any]] = {
    "ResNet": {"layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 8, 8]},
    "ViT": {"patch_size": 8, "hidden_size": 12, "mlp_dim": 16, "num_layers": 2, "num_heads": 3},
}


def export(folder: Path, task: OutcomeTask) -> Exported:
    network = build_network(task, 1)
    export_onnx(network, task, folder / "model.onnx", "a" * 64)
    return network, folder / "model.onnx", task


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory, make_outcome_task: MakeOutcomeTask) -> Exported:
    return export(tmp_path_factory.mktemp("picture"), make_outcome_task("classification"))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, make_outcome_task: MakeOutcomeTask) -> Exported:
    return export(tmp_path_factory.mktemp("record"), make_outcome_task("survival"))


def test_the_report_covers_every_batch_and_form(picture: Exported) -> None:
    network, path, task = picture
    report = check_outcome_parity(network, path, task)
    assert [batch.shapes["image"][0] for batch in report.batches] == [size for size in BATCHES for _ in range(2)]
    assert all(batch.largest_difference <= LOGIT_TOLERANCE < batch.largest_logit for batch in report.batches)
    assert len(report.cases) == 12
    assert all(case.made_up and case.same_answer for case in report.cases)
    assert max(case.input_difference or 0.0 for case in report.cases) < 1e-4
    assert OutcomeParityReport.parse(report.model_dump_json(), "test") == report


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_agree_at_every_batch(tmp_path: Path, make_outcome_task: MakeOutcomeTask, name: str) -> None:
    content = make_outcome_task("classification").model_dump(mode="json")
    content["network"]["encoder"] = {"name": name, "args": ENCODERS[name]}
    report = check_outcome_parity(*export(tmp_path, OutcomeTask.check(content, "test")))
    assert max(batch.largest_difference for batch in report.batches) <= LOGIT_TOLERANCE


@pytest.mark.slow
def test_efficientnet_agrees_at_every_batch(tmp_path: Path, make_outcome_task: MakeOutcomeTask) -> None:
    content = make_outcome_task("classification").model_dump(mode="json")
    content["image"]["size"] = [64, 48]
    content["network"]["encoder"] = {"name": "EfficientNet", "args": {"variant": "b0"}}
    report = check_outcome_parity(*export(tmp_path, OutcomeTask.check(content, "test")))
    assert max(batch.largest_difference for batch in report.batches) <= LOGIT_TOLERANCE


def test_other_weights_are_caught(picture: Exported, record: Exported) -> None:
    for network, path, task in (picture, record):
        other = copy.deepcopy(network)
        with torch.no_grad():
            next(other.parameters()).view(-1)[0] += 0.5
        with pytest.raises(GateError, match=r"\((noise|likely)\): logits differ by up to .*, allowed is 0\.0001"):
            check_outcome_parity(other, path, task)


def test_near_ties_that_turn_the_answer_are_caught(tmp_path: Path, make_outcome_task: MakeOutcomeTask) -> None:
    class Tied(torch.nn.Module):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, covariates: torch.Tensor) -> torch.Tensor:
            logit = self.sign * torch.sign(covariates[:, :1]) * 2e-5
            return torch.cat([logit, -logit, -logit - 1], dim=1)

    task = make_outcome_task("tabular")
    export_onnx(Tied(1.0), task, tmp_path / "tied.onnx", "a" * 64)
    with pytest.raises(GateError, match="answers differ"):
        check_outcome_parity(Tied(-1.0), tmp_path / "tied.onnx", task)


def test_weights_that_are_no_numbers_and_errors_of_torch_are_refused(record: Exported) -> None:
    network, path, task = record
    other = copy.deepcopy(network)
    with torch.no_grad():
        next(other.parameters()).fill_(float("nan"))
    with pytest.raises(GateError, match="NaN or infinite"):
        check_outcome_parity(other, path, task)

    class Broken(torch.nn.Module):
        def forward(self, covariates: torch.Tensor) -> torch.Tensor:
            return covariates.view(11, -1)

    with pytest.raises(GateError, match="torch failed on a batch: RuntimeError"):
        check_outcome_parity(Broken(), path, task)


def test_another_contract_and_a_broken_file_are_refused(record: Exported, tmp_path: Path) -> None:
    network, path, task = record
    with pytest.raises(GateError, match="another contract"):
        check_outcome_parity(network, path, task.model_copy(update={"limitations": "none"}))
    (tmp_path / "m.onnx").write_bytes(path.read_bytes()[:-50])
    with pytest.raises(GateError, match="cannot be used"):
        check_outcome_parity(network, tmp_path / "m.onnx", task)


@pytest.mark.parametrize("fault", ["mirrored", "negative"])
def test_a_reader_that_turns_or_inverts_pictures_is_caught(
    picture: Exported, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Both sides of the gate read with it, so that their agreement alone says nothing."""

    def wrong(one: PictureInput, task: OutcomeTask, reading: ReadOptions) -> Volume:
        volume = read_input(one, task, reading)
        array = volume.array[:, ::-1] if fault == "mirrored" else volume.array.max() - volume.array.astype(np.float32)
        return Volume(np.ascontiguousarray(array), volume.affine)

    monkeypatch.setattr(radfed.inference.case_inputs, "read_input", wrong)
    with pytest.raises(GateError, match=r"case 1 \(NIfTI\): what the network sees of the file differs by up to"):
        check_outcome_parity(*picture)


def test_given_cases_are_compared_and_say_nothing_of_themselves(record: Exported, picture: Exported) -> None:
    network, path, task = record
    report = check_outcome_parity(network, path, task, [GivenCase(None, {"age": 61.0, "sex": "male"})])
    given = [case for case in report.cases if not case.made_up]
    assert [(case.form, case.input_difference) for case in given] == [("prepared dataset", None)]
    assert "61" not in given[0].model_dump_json()
    network, path, task = picture
    with pytest.raises(GateError, match="a case cannot be prepared: the image has 2 channel"):
        check_outcome_parity(network, path, task, [GivenCase(Volume(np.zeros((2, 9, 9, 1), np.float32), np.eye(4)))])


def test_folders_of_dicom_files_are_answered_with_both(
    picture: Exported, record: Exported, tmp_path: Path, make_outcome_task: MakeOutcomeTask
) -> None:
    network, path, task = picture
    (tmp_path / "made").mkdir()
    write_forms(tmp_path / "made", task)
    folder = tmp_path / "dicom"
    folder.mkdir()
    for file in (tmp_path / "made" / "images").glob("*.dcm"):
        file.rename(folder / file.name)
    report = check_outcome_parity(network, path, task, dicom=[folder])
    assert [case.form for case in report.cases if not case.made_up] == ["DICOM"] * 6
    (tmp_path / "none").mkdir()
    with pytest.raises(InvalidInputError, match="holds no image"):
        check_outcome_parity(network, path, task, dicom=[tmp_path / "none"])
    with pytest.raises(InvalidInputError, match="is no folder"):
        check_outcome_parity(network, path, task, dicom=[folder / "x"])
    with pytest.raises(InvalidInputError, match="give a prepared dataset"):
        check_outcome_parity(record[0], record[1], record[2], dicom=[folder])


@pytest.mark.parametrize("kind", OUTCOME_KINDS)
def test_made_up_cases_fit_the_task_and_repeat(make_outcome_task: MakeOutcomeTask, kind: str) -> None:
    task = make_outcome_task(kind)
    cases, again = made_up_cases(task), made_up_cases(task)
    for one, other in zip(cases, again, strict=True):
        assert one.covariates == other.covariates
        check_covariates(one.covariates, task)
        assert (one.volume is not None) == (task.image is not None)
        if task.image is not None and one.volume is not None and other.volume is not None:
            np.testing.assert_array_equal(one.volume.array, other.volume.array)
            check_geometry(one.volume, task.image.limits)
    if task.image is not None:
        assert len({case.volume.shape for case in cases if case.volume is not None}) == 3


def test_made_up_records_are_within_their_ranges_and_lack_values_now_and_then(
    make_outcome_task: MakeOutcomeTask,
) -> None:
    task = make_outcome_task("tabular")
    random = np.random.default_rng(0)
    records = [made_up_record(task, random) for _ in range(100)]
    for one in records:
        check_covariates(one, task)
    assert all("age" in one for one in records)
    assert 5 < sum("crp" not in one for one in records) < 40


def test_files_hold_what_was_made_up(tmp_path: Path, make_outcome_task: MakeOutcomeTask) -> None:
    task = make_outcome_task("multimodal")
    written = write_forms(tmp_path, task)
    assert len(written) == 12
    assert read_records(tmp_path / RECORDS, task) == {case.name: dict(case.covariates) for case in written}
    for case in written:
        assert case.path is not None
        assert case.volume is not None
        np.testing.assert_array_equal(read_picture(case.path).array, case.volume.array)


def test_values_that_a_form_cannot_hold_are_not_written_in_it(
    tmp_path: Path, make_outcome_task: MakeOutcomeTask
) -> None:
    task = make_outcome_task("classification")
    assert task.image is not None
    narrow = task.image.model_validate(
        task.image.model_dump(mode="json") | {"intensity": {"rule": "window", "lower": -1.0, "upper": 1.0}}
    )
    forms = {case.form for case in write_forms(tmp_path, task.model_copy(update={"image": narrow}))}
    assert forms == {"NIfTI"}
    (tmp_path / "wide").mkdir()
    limits = replace_limits(task)
    forms = {case.form for case in write_forms(tmp_path / "wide", limits)}
    assert "PNG" not in forms
    assert "DICOM radiograph (MONOCHROME1)" in forms


def replace_limits(task: OutcomeTask) -> OutcomeTask:
    """The task for images so large that a picture without a spacing is none of them."""
    content = task.model_dump(mode="json")
    content["image"]["limits"] = {"min_size_mm": [100, 100, 1], "max_size_mm": [500, 500, 1]}
    return OutcomeTask.check(content, "test")
