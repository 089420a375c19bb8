"""The tool that takes a report again knows none of radfed's code, agrees with it, and finds a number that is wrong."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from radfed.dataset.layout import Dataset
from radfed.imaging.nifti import write_mask
from radfed.inference.segment import segment
from radfed.inference.sliding_window import Predictor
from radfed.metrics.intervals import Bootstrap
from radfed.task import SegmentationTask
from radfed.validation.evaluate import evaluate
from radfed.validation.flow import flow_of
from radfed.validation.grouping import traits_by_case
from radfed.validation.report import ReportInput, write_report

TOOL = Path(__file__).parents[3] / "tools" / "recompute_report.py"


HEADERS: tuple[dict[str, object], ...] = (
    {"sex": "F", "age_band": "18 to 39", "projection": "PA", "scanner": {"manufacturer": "GE MEDICAL SYSTEMS"}},
    {"sex": "M", "age_band": "75 and over", "projection": "LATERAL", "scanner": {"manufacturer": "Gendex"}},
    {"sex": "O", "covariates": {"gender": "Female", "age_years": 59.5, "view_position": "lat"}},
    {"covariates": {"patient_sex": "fluid", "patient_age": "old", "view": "AP"}, "scanner": {"manufacturer": "uih"}},
    {},
)
"""What headers and the site's own table say of one case after the other."""


@pytest.fixture(scope="module")
def described(datasets: tuple[Dataset, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, ...]:
    """The datasets with traits of the test cases."""
    root = tmp_path_factory.mktemp("described")
    for dataset in datasets:
        shutil.copytree(dataset.root, root / dataset.site)
        listed = root / dataset.site / "cases.jsonl"
        lines = [json.loads(line) for line in listed.read_text().splitlines()]
        for place, line in enumerate(line for line in lines if line["split"] == "test"):
            line.update(HEADERS[place % len(HEADERS)])
        listed.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return tuple(Dataset.read(root / dataset.site) for dataset in datasets)


@pytest.fixture(scope="module")
def validated(
    task: SegmentationTask,
    described: tuple[Dataset, ...],
    make_predictor: Callable[[float], Predictor],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    root = tmp_path_factory.mktemp("validated")
    models = {"federated": make_predictor(0.6), "pooled": make_predictor(1.4)}
    for name, predict in models.items():
        (root / name).mkdir()
        for dataset in described:
            for case in dataset.split("test"):
                image = dataset.image(case)
                write_mask(root / name / f"{case.id}.nii.gz", segment(image, task, predict), image.affine)
    scores = {name: evaluate(predict, task, described, model=name) for name, predict in models.items()}
    given = ReportInput(
        task=task, evaluation=scores["federated"], baselines={"pooled": scores["pooled"]},
        flow=tuple(flow_of(dataset) for dataset in described), bootstrap=Bootstrap(resamples=200),
        dataset_digests={dataset.site: dataset.digest for dataset in described}, traits=traits_by_case(described, task),
    )  # fmt: skip
    write_report(given, root)
    return root


def recompute(root: Path, datasets: tuple[Dataset, ...], metrics: str = "metrics.json") -> tuple[int, str]:
    found = subprocess.run(
        [
            sys.executable, TOOL, root / metrics, *(dataset.root for dataset in datasets), "--quiet",
            "--predictions", root / "federated", "--other", f"pooled={root / 'pooled'}",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.returncode, found.stdout


def test_every_number_is_found_again(validated: Path, described: tuple[Dataset, ...]) -> None:
    status, said = recompute(validated, described)
    assert status == 0, said
    assert " 0 beyond 1e-06, 0 not recomputed" in said
    tables = json.loads((validated / "metrics.json").read_text())["subgroups"]["traits"]
    assert {table["trait"]: {row["group"] for row in table["groups"]} for table in tables} == {
        "site": {"site-a", "site-b", "site-c"},
        "vendor": {"GE", "other", "United Imaging", "not recorded"},
        "sex": {"female", "male", "other", "not recorded"},
        "age": {"18 to 39", "75 and over", "40 to 59", "other", "not recorded"},
        "projection": {"PA", "LATERAL", "AP", "not recorded"},
    }


@pytest.mark.parametrize(
    "place",
    ["pooled.mean.dice.mean", "sites.site-a.labels.left_ball.hd95.median", "volumes_ml.left_ball.low_interval_ml.0"],
)
def test_a_wrong_number_is_named(validated: Path, described: tuple[Dataset, ...], place: str) -> None:
    content = json.loads((validated / "metrics.json").read_text())
    *above, last = place.split(".")
    inside = content
    for key in above:
        inside = inside[key]
    name = int(last) if isinstance(inside, list) else last
    inside[name] += 1e-4
    (validated / "wrong.json").write_text(json.dumps(content))
    status, said = recompute(validated, described, "wrong.json")
    assert status == 1
    assert "DIFFERS" in said
    assert " 1 beyond" in said


def test_it_imports_nothing_of_ours() -> None:
    tree = ast.parse(TOOL.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    third = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert third == {"numpy", "scipy", "nibabel"}
