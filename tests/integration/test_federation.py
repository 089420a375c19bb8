"""Real FLARE processes in the simulator, on phantoms."""

import json
from pathlib import Path
from typing import Literal

import pytest

from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.splits import SplitSettings
from radfed.errors import FederationError, InvalidInputError
from radfed.federation.recipe import ALLOWED_CLASSES, export_job
from radfed.federation.simulate import simulate
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.job import Job, find_job
from radfed.ledger import FinalLine, Line, RoundLine, SiteLine, read_ledger, rounds_of
from radfed.weights import load_weights, weights_digest

SITES = ("north", "valley")
SPLIT = SplitSettings(validation=0.3, test=0.2, seed=3)


@pytest.fixture(scope="module")
def job() -> Job:
    return find_job("phantom_segmentation").with_changes(rounds=2, local_steps=2)


@pytest.fixture(scope="module")
def datasets(job: Job, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two sites of different size, so that weights by cases differ from equal ones."""
    root = tmp_path_factory.mktemp("sites")
    for number, site in enumerate(SITES):
        write_cohort(root / "raw" / site, site, SCANNERS[site], 8 + 6 * number, seed=number)
        how = IngestSettings(site, bytes([number]) * 32, root / f"{site}.csv", task=job.task, split=SPLIT)
        ingest(root / "raw" / site, root / site, how)
    return {site: root / site for site in SITES}


@pytest.fixture(scope="module")
def run(job: Job, datasets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Line]]:
    folder = tmp_path_factory.mktemp("run with space")
    told: list[Line] = []
    simulate(job, datasets, folder, told.append)
    return folder, told


def test_every_site_takes_part_in_every_round_with_its_cases(run: tuple[Path, list[Line]], job: Job) -> None:
    lines = read_ledger(run[0] / "ledger.jsonl")
    sites = [line for line in lines if isinstance(line, SiteLine)]
    assert {(line.round, line.site) for line in sites} == {(r, s) for r in (1, 2) for s in SITES}
    assert all(line.accepted and line.digest and line.bytes > 0 and line.seconds for line in sites)
    cases = {line.site: line.weight for line in sites}
    assert cases["north"] != cases["valley"]
    final = lines[-1]
    assert isinstance(final, FinalLine)
    assert final.outcome == "COMPLETED"


def test_the_best_model_is_the_aggregate_that_the_ledger_names(run: tuple[Path, list[Line]]) -> None:
    lines = read_ledger(run[0] / "ledger.jsonl")
    rounds = {line.round: line for line in rounds_of(lines)}
    final = lines[-1]
    assert isinstance(final, FinalLine)
    assert all(line.metric is not None for line in rounds.values()), "the last aggregate is a candidate, too"
    assert final.best_metric == max(line.metric or 0.0 for line in rounds.values())
    assert weights_digest(load_weights(run[0] / "best.safetensors")) == final.digest
    assert weights_digest(load_weights(run[0] / "final.safetensors")) == rounds[2].digest


def test_the_ledger_is_told_while_the_federation_runs(run: tuple[Path, list[Line]]) -> None:
    assert run[1] == read_ledger(run[0] / "ledger.jsonl")


def test_one_seed_gives_the_same_models(
    run: tuple[Path, list[Line]], job: Job, datasets: dict[str, Path], tmp_path: Path
) -> None:
    simulate(job, datasets, tmp_path / "again", lambda _line: None)

    def digests(folder: Path) -> list[str | None]:
        lines = read_ledger(folder / "ledger.jsonl")
        return [line.digest for line in lines if isinstance(line, RoundLine | SiteLine)]

    assert digests(tmp_path / "again") == digests(run[0])


def test_nothing_that_leaves_a_site_names_its_cases_or_paths(
    run: tuple[Path, list[Line]], datasets: dict[str, Path]
) -> None:
    ledger = (run[0] / "ledger.jsonl").read_text()
    names = [
        json.loads(line)["id"] for site in SITES for line in (datasets[site] / "cases.jsonl").read_text().splitlines()
    ]
    for secret in [*names, "phantom_", str(datasets["north"].parent)]:
        assert secret not in ledger


def test_a_site_that_cannot_train_is_named_with_a_reason_and_degrades_the_run(
    job: Job, datasets: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "dataset.json").write_text("{}")
    lenient = job.model_copy(
        update={
            "job": job.job.model_copy(
                update={"federation": job.job.federation.model_copy(update={"min_sites": 1, "rounds": 1})}
            )
        }
    )
    sites = {"north": datasets["north"], "broken": tmp_path / "broken"}
    final = simulate(lenient, sites, tmp_path / "run", lambda _line: None)
    assert (final.outcome, final.missing) == ("DEGRADED", ("broken",))
    [line] = [
        x for x in read_ledger(tmp_path / "run" / "ledger.jsonl") if isinstance(x, SiteLine) and x.site == "broken"
    ]
    assert (line.answered, line.accepted, line.reason) == (True, False, "invalid_input")
    with pytest.raises(FederationError, match="failed"):
        simulate(job, sites, tmp_path / "strict", lambda _line: None)
    [*_, last] = read_ledger(tmp_path / "strict" / "ledger.jsonl")
    assert isinstance(last, FinalLine)
    assert last.outcome == "FAILED"


def test_too_few_sites_are_refused_before_anything_runs(job: Job, datasets: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="needs 2 sites, got 1"):
        simulate(job, {"north": datasets["north"]}, tmp_path / "run", lambda _line: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("purpose", "module"),
    [("training", "radfed.federation."), ("fingerprint", "radfed.federation.statistics")],
)
def test_an_exported_job_carries_settings_and_no_code(
    job: Job, purpose: Literal["training", "fingerprint"], module: str, tmp_path: Path
) -> None:
    job = job.model_copy(update={"purpose": purpose})
    folder = export_job(job, tmp_path)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in files if not name.endswith(".json")]
    assert not list(folder.glob("app*/custom")), "FLARE's console would sign even an empty one, and then call it code"
    named = set()
    for config in folder.glob("app*/config/config_fed_*.json"):
        content = json.loads(config.read_text())
        named |= {workflow["path"] for workflow in content.get("workflows", [])}
        named |= {entry["executor"]["path"] for entry in content.get("executors", [])}
        assert content["components"] == []
    assert len(named) == 2
    assert named < set(ALLOWED_CLASSES)
    assert all(name.startswith(module) for name in named)
    assert Job.read_json(next(folder.glob("app*/config/radfed.json"))) == job
