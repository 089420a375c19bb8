"""A leakage audit asked of sites: who is asked for, who may answer, and what comes of those who do not."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.integration.question_release import write_release
from tests.unit.privacy.leakage_world import table_job, trained_run, write_site, write_sites
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.errors import InvalidInputError
from radfed.federation.question import ANSWERS, KINDS, Told, question_job
from radfed.job import Job, ReleaseQuestion, find_job
from radfed.privacy.leakage import Leakage
from radfed.privacy.leakage_run import NotTrainedError
from radfed.release.cases import parity_cases
from radfed.release.package import build_release
from radfed.site.config import SiteSettings
from radfed.task import SegmentationTask
from radfed.workflow.site_answer import ReleaseChangedError, answer


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_sites(tmp_path_factory.mktemp("sites"))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, sites: dict[str, Path]) -> Path:
    """Of a model that has learnt its patients by heart."""
    root = tmp_path_factory.mktemp("asked")
    cases, phantom = parity_cases([])
    return build_release(trained_run(root / "run", table_job((64,), 100), sites), root / "out", cases, phantom=phantom)


@pytest.fixture(scope="module")
def job(release: Path) -> Job:
    return question_job("leakage", release, "test")


def asked_of(job: Job) -> ReleaseQuestion:
    assert job.release is not None
    return job.release


def test_who_was_trained_at_stands_in_the_job_and_who_is_silent_in_the_result(
    job: Job, release: Path, sites: dict[str, Path]
) -> None:
    assert asked_of(job).trained == ("north", "valley")
    told = answer(job, SiteSettings(name="north", dataset=sites["north"], releases=release))
    found = KINDS["leakage"].pool({"north": told}, asked_of(job))
    assert isinstance(found, Leakage)
    assert (found.silent, found.phantom) == (("valley",), True)
    real = told.model_copy(update={"phantom": False})
    both = KINDS["leakage"].pool({"north": real, "valley": real}, asked_of(job))
    assert isinstance(both, Leakage)
    assert (both.silent, both.phantom) == ((), False)


def test_a_site_that_took_no_part_or_has_other_cases_now_is_refused(
    job: Job, release: Path, sites: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(NotTrainedError, match="took no part"):
        answer(job, SiteSettings(name="elsewhere", dataset=sites["north"], releases=release))
    grown = write_site(tmp_path / "north", {"training": 41, "test": 30}, 0)
    with pytest.raises(NotTrainedError, match="41 training case"):
        answer(job, SiteSettings(name="north", dataset=grown, releases=release))


def test_a_job_that_leaves_out_a_site_of_the_ledger_is_refused(job: Job, release: Path, sites: dict[str, Path]) -> None:
    fewer = job.model_copy(update={"release": asked_of(job).model_copy(update={"trained": ("north",)})})
    with pytest.raises(ReleaseChangedError, match="other sites"):
        answer(fewer, SiteSettings(name="north", dataset=sites["north"], releases=release))


def test_a_release_without_a_ledger_cannot_be_audited(tmp_path: Path) -> None:
    task = find_job("phantom_segmentation").task
    assert isinstance(task, SegmentationTask)
    bare = write_release(tmp_path / "bare-0.1.0", task)
    assert asked_of(question_job("validation", bare, "test")).trained == ()
    with pytest.raises(InvalidInputError, match=r"ledger\.jsonl"):
        question_job("leakage", bare, "test")


def test_the_command_writes_a_page_and_exits_3_where_the_gate_fails(
    release: Path, sites: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(job: Job, datasets: Mapping[str, Path], run: Path, wanted: object, releases: Path) -> None:
        """The sites' own answers, without FLARE's processes between them and the server."""
        answers = {
            site: answer(job, SiteSettings(name=site, dataset=folder, releases=releases))
            for site, folder in datasets.items()
        }
        run.mkdir()
        sent = {site: told.model_dump(mode="json") for site, told in answers.items()}
        told = Told(purpose="leakage", release=asked_of(job), answers=sent, refused={})
        (run / ANSWERS).write_text(told.model_dump_json())
        (run / KINDS["leakage"].result).write_text(KINDS["leakage"].pool(answers, asked_of(job)).model_dump_json())

    monkeypatch.setattr("radfed.federation.single_simulate.simulate_once", at_once)
    named = [part for site, root in sites.items() for part in ("--dataset", f"{site}={root}")]
    command = ["job", "simulate", "leakage", "--release", str(release), *named, "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 3, result.output
    said = json.loads(result.stdout)
    assert (said["verdict"], said["sites"], said["silent"]) == ("fail", ["north", "valley"], {})
    page = Path(said["report"]).read_text(encoding="utf-8")
    assert "Verdict: fail" in page
    assert "Phantom data" in page
