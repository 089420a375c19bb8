"""A few steps of training, a release, and the base install's commands on it, for every kind of task.

The commands run in processes in which torch, MONAI and FLARE cannot be imported: a clinic does not have them.
"""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.integration.outcome_kinds import KINDS, known_case, task_of, trained_run, write_known, write_table
from tests.integration.without_training import WITHOUT_TRAINING

from radfed.imaging.nifti import read_label, write_image
from radfed.imaging.phantoms_dicom import Flavour, fake_patient, write_series
from radfed.release.attach import add_evaluation
from radfed.release.cases import parity_cases
from radfed.release.package import build_release
from radfed.task import OutcomeTask, SegmentationTask

REPOSITORY = Path(__file__).parents[2]
BASE = (
    WITHOUT_TRAINING
    + """
import contextlib, io, json
from radfed.cli.main import main
done = []
for arguments in json.loads(sys.stdin.read()):
    sys.argv, said, code = ['radfed', *arguments], io.StringIO(), 0
    with contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    done.append({'code': code, 'said': said.getvalue()})
print(json.dumps(done))
"""
)
HEALTHY, SICK = 3, 2  # numbers of cases: what they show follows from the rest of a division by 3


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit code, and what ``--json`` printed."""

    code: int
    content: dict[str, object]


@dataclass(frozen=True)
class Made:
    """A release and the data of a site."""

    task: SegmentationTask | OutcomeTask
    release: Path
    dataset: Path


def radfed(*commands: Sequence[str | Path]) -> list[Done]:
    """Run commands one after the other, in one process without the libraries of training."""
    asked = json.dumps([[*map(str, command), "--json"] for command in commands])
    done = subprocess.run([sys.executable, "-c", BASE], input=asked, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return [Done(one["code"], json.loads(one["said"])) for one in json.loads(done.stdout)]


def asked(*words: str | Path) -> list[str | Path]:
    """A command."""
    return [*words]


def verdicts_of(done: Done) -> dict[str, str]:
    claims = done.content["claims"]
    assert isinstance(claims, list)
    return {claim["name"]: claim["verdict"] for claim in claims}


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    made: dict[str, Made] = {}

    def of(kind: str) -> Made:
        if kind not in made:
            folder, task = tmp_path_factory.mktemp(kind), task_of(kind)
            run, dataset = trained_run(folder / "run", task), write_known(folder / "site-a", task)
            cases, _ = parity_cases([dataset])
            made[kind] = Made(task, build_release(run, folder / "out", cases, datasets=[dataset]), dataset)
        return made[kind]

    return of


def write_images(folder: Path, task: SegmentationTask | OutcomeTask) -> dict[str, int]:
    """The images of two cases in every form that a clinic may give; which case is in which file."""
    folder.mkdir()
    written = {}
    for number in (HEALTHY, SICK):
        volume = known_case(task, number).volume
        assert volume is not None
        write_image(folder / f"nifti-{number}.nii.gz", volume)
        written[f"nifti-{number}"] = number
        if volume.shape[2] > 1:
            patient = fake_patient(np.random.default_rng(number))
            write_series(folder / f"series-{number}", volume, Flavour.MR, patient, seed=number)
            written[f"series-{number}"] = number
            continue
        pixels = np.ascontiguousarray(volume.array[0, :, :, 0].T).astype(np.uint16)
        Image.fromarray(pixels).save(folder / f"png-{number}.png")
        written[f"png-{number}"] = number
        if isinstance(task, OutcomeTask) and task.image is not None:
            flavour = Flavour.CR if task.image.channels[0].modality == "CR" else Flavour.DX
            patient = fake_patient(np.random.default_rng(number))
            (file,) = write_series(folder / "written", volume, flavour, patient, seed=number)
            file.rename(folder / f"dicom-{number}.dcm")
            (folder / "written").rmdir()
            written[f"dicom-{number}"] = number
    return written


def test_masks_of_planes(make: Callable[[str], Made], tmp_path: Path) -> None:
    made, out, report = make("planes"), tmp_path / "out", tmp_path / "report"
    written = write_images(tmp_path / "images", made.task)
    verify, predict, validate = radfed(
        ["release", "verify", made.release],
        ["predict", made.release, tmp_path / "images", "--out", out],
        ["validate", made.release, made.dataset, "--no-pdf", "--out", report],
    )
    assert verify.code == predict.code == validate.code == 0, (verify, predict, validate)
    verdicts = verdicts_of(verify)
    for name in ("rebuild", "signature", "site_metrics", "leakage", "signoff"):
        assert verdicts.pop(name) == "NOT VERIFIABLE"
    assert set(verdicts.values()) == {"PASS"}
    masks = {name: read_label(out / f"{name}.nii.gz").array for name in written}
    np.testing.assert_array_equal(masks[f"nifti-{SICK}"], masks[f"png-{SICK}"])
    assert masks[f"nifti-{SICK}"].any()
    assert json.loads((report / "metrics.json").read_text())["pooled"]["cases"] == 20
    assert "Dice" in (report / "report.html").read_text()


_QUICK = ("classes", "multimodal", "survival")
"""Together they take every path by the command line; tests/unit/release has all kinds within one process."""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in _QUICK else pytest.mark.slow) for kind in KINDS if kind != "planes"],
)
def test_answers_of_every_kind(make: Callable[[str], Made], tmp_path: Path, kind: str) -> None:
    made = make(kind)
    task, out, report = made.task, tmp_path / "out", tmp_path / "report"
    assert isinstance(task, OutcomeTask)
    written, source = {"healthy": HEALTHY, "sick": SICK}, tmp_path / "records.csv"
    beside: list[str | Path] = []
    if task.image is not None:
        source = tmp_path / "images"
        written = write_images(source, task)
        beside = ["--covariates", tmp_path / "records.csv"] if task.covariates else []
    if task.covariates:
        records = {name: known_case(task, number).record for name, number in written.items()}
        write_table(tmp_path / "records.csv", records, [one.name for one in task.covariates])
    changed = shutil.copytree(made.release, tmp_path / "changed")
    change_a_byte(changed / "model.safetensors")
    verify, refused, predict, validate = radfed(
        ["release", "verify", made.release],
        ["release", "verify", changed],
        asked("predict", made.release, source, *beside, "--out", out),
        ["validate", made.release, made.dataset, "--no-pdf", "--out", report],
    )
    assert verify.code == predict.code == validate.code == 0, (verify, predict, validate)
    verdicts = verdicts_of(verify)
    for name in ("rebuild", "signature", "site_metrics", "leakage", "signoff"):
        assert verdicts.pop(name) == "NOT VERIFIABLE"
    assert set(verdicts.values()) == {"PASS"}
    assert (refused.code, verdicts_of(refused)["weights"]) == (3, "FAIL")
    check_answers(rows_of(out / "predictions.csv"), written, task)
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["pooled"]["cases"] == 20
    name = "concordance" if kind == "survival" else "AUROC"
    area = metrics["pooled"]["survival"]["concordance"] if kind == "survival" else metrics["pooled"]["auroc"]
    assert area["value"] > 0.7, "what decides is in the data"
    assert name in (report / "report.html").read_text()
    stated = (made.release / "evaluation" / "operating_point.json").exists()
    assert stated == (kind in ("findings", "volumes", "multimodal", "tabular"))
    if stated:
        assert metrics["operating_point"]["origin"] == "release"


def check_answers(rows: Mapping[str, Mapping[str, str]], written: Mapping[str, int], task: OutcomeTask) -> None:
    """A row a file; one case says the same in every form, and two cases say something else."""
    assert rows.keys() == written.keys()
    found = {name: np.array([float(rows[name][column]) for column in task.finds]) for name in rows}
    for name, number in written.items():
        assert not rows[name]["reason"]
        first = next(other for other, case in written.items() if case == number)
        np.testing.assert_allclose(found[name], found[first], atol=1e-3)
        assert rows[name]["answer"] == rows[first]["answer"]
    healthy, sick = (next(found[name] for name in written if written[name] == number) for number in (HEALTHY, SICK))
    assert np.abs(healthy - sick).max() > 0.05
    if task.outcome.type == "multiclass":
        np.testing.assert_allclose(healthy.sum(), 1, atol=1e-6)
    if task.covariates and task.outcome.type == "multiclass":
        assert all((rows[name]["answer"] == "ill") == (number == SICK) for name, number in written.items())


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_release_that_was_tampered_with_is_refused(make: Callable[[str], Made], tmp_path: Path) -> None:
    """One byte anywhere, or a file less, whatever it is about; predict takes neither model nor threshold of it."""
    made = make("multimodal")
    whole = shutil.copytree(made.release, tmp_path / "whole")
    (travels,) = radfed(["validate", whole, made.dataset, "--out", tmp_path / "travels", "--no-pictures", "--no-pdf"])
    assert travels.code == 0
    add_evaluation(whole, {name: tmp_path / "travels" / name for name in ("metrics.json", "report.html")})
    names = [
        "model.onnx", "model.safetensors", "task.yaml", "README.md", "training/ledger.jsonl",
        "evaluation/operating_point.json", "evaluation/metrics.json", "evaluation/report.html",
        "evaluation/parity.json", "conformance/predictions.csv",
    ]  # fmt: skip
    copies = []
    for index, name in enumerate([*names, *names]):
        copy = shutil.copytree(whole, tmp_path / f"copy-{index}")
        if index < len(names):
            change_a_byte(copy / name)
        else:
            (copy / name).unlink()
        copies.append(copy)
    judged = ("model.onnx", "evaluation/operating_point.json")
    first, *others = radfed(
        ["release", "verify", whole],
        *(asked("release", "verify", copy) for copy in copies),
        *(asked("predict", copies[names.index(name)], tmp_path, "--out", tmp_path / "out") for name in judged),
    )
    assert first.code == 0, first
    assert [done.code for done in others] == [3] * len(others)
    assert all(verdicts_of(done)["digests"] == "FAIL" for done in others[: len(copies)])
    assert {done.content["reason"] for done in others[len(copies) :]} == {"refused"}


def test_bad_input_is_an_error_or_a_line_of_the_table(make: Callable[[str], Made], tmp_path: Path) -> None:
    """One bad case stops no other and ends in 1; what makes the whole question wrong ends in 2."""
    made = make("multimodal")
    images, out = tmp_path / "images", tmp_path / "out"
    written = write_images(images, made.task)
    record = known_case(made.task, SICK).record
    records = dict.fromkeys(written, record)
    bad: dict[str, dict[str, float | str]] = {
        "unit": {"crp": 29000.0},
        "word": {"sex": "unknown"},
        "text": {"crp": "high"},
        "colour": {},
        "cut": {},
    }
    pixels = (np.arange(40 * 36) % 120).astype(np.uint8).reshape(40, 36)
    for name in (*bad, "unlisted"):
        Image.fromarray(np.stack([pixels, pixels * 2, pixels], axis=2) if name == "colour" else pixels).save(
            images / f"{name}.png"
        )
    (images / "cut.png").write_bytes((images / "unit.png").read_bytes()[:60])
    spoilt = {name: {**record, **change} for name, change in bad.items()}
    table = write_table(tmp_path / "r.csv", {**records, **spoilt}, ("crp", "sex"))
    narrow = write_table(tmp_path / "narrow.csv", records, ("crp",))
    (tmp_path / "empty").mkdir()
    none = tmp_path / "none"
    ask: list[str | Path] = ["predict", made.release, images, "--covariates"]
    lines, *usage = radfed(
        asked(*ask, table, "--out", out),
        asked(*ask, narrow, "--out", none),
        asked(*ask, tmp_path / "missing.csv", "--out", none),
        asked("predict", made.release, images, "--out", none),
        asked("predict", made.release, tmp_path / "empty", "--covariates", table, "--out", none),
        asked("predict", made.release, tmp_path / "missing", "--covariates", table, "--out", none),
        asked(*ask, table, "--out", none, "--send", "dimse://A@host:104"),
    )
    assert (lines.code, lines.content["ok"], lines.content["failed"]) == (1, False, 6)
    rows = rows_of(out / "predictions.csv")
    assert {name: row["reason"] for name, row in rows.items() if row["reason"]} == {
        "unit": "implausible_value", "word": "unknown_value", "text": "not_a_number", "colour": "colour_image",
        "cut": "unreadable", "unlisted": "no_record",
    }  # fmt: skip
    assert all(rows[name]["message"] and not rows[name]["answer"] for name in (*bad, "unlisted"))
    assert all(rows[name]["answer"] for name in written)
    assert [done.code for done in usage] == [2] * 6
    said = [str(done.content["error"]) for done in usage]
    for words, error in zip(
        ("no column 'sex'", "missing.csv", "give --covariates", "holds no image", "neither a file nor", "makes no SEG"),
        said, strict=True,
    ):  # fmt: skip
        assert words in error
    assert not none.exists()
