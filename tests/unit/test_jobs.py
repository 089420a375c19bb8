import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from radfed.errors import InvalidInputError
from radfed.job import Job, find_job, shipped_jobs
from radfed.task import AnyTask

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(shipped_jobs()))
def test_every_shipped_job_is_valid_and_documented(name: str) -> None:
    job = find_job(name)
    assert job.job.name == job.task.name == name
    assert (shipped_jobs()[name] / "README.md").is_file()


def test_the_hippocampus_job_ships() -> None:
    assert "hippocampus_segmentation" in shipped_jobs()


def test_json_goes_there_and_back(tmp_path: Path) -> None:
    job = find_job("hippocampus_segmentation")
    job.write_json(tmp_path / "job.json")
    assert Job.read_json(tmp_path / "job.json") == job


def test_numbers_from_the_command_line_are_checked_like_the_rest() -> None:
    job = find_job("hippocampus_segmentation")
    assert job.with_changes(rounds=3, seed=7).job.federation.rounds == 3
    with pytest.raises(InvalidInputError, match=r"job\.federation\.rounds"):
        job.with_changes(rounds=0)


def test_an_unknown_job_is_refused_with_the_choices() -> None:
    with pytest.raises(InvalidInputError, match="hippocampus_segmentation"):
        find_job("no_such_job")


@pytest.mark.parametrize(("contract", "file"), [(AnyTask, "task.schema.json"), (Job, "job.schema.json")])
def test_the_published_schema_is_the_one_of_the_code(contract: Any, file: str) -> None:  # noqa: ANN401 - a union
    published = json.loads((REPOSITORY / "docs" / "reference" / file).read_text())
    assert published == TypeAdapter(contract).json_schema(), "run tools/export_schemas.py"
