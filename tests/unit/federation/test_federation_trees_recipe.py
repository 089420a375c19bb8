"""The job that FLARE's XGBoost recipe makes for radfed: only known classes, no code, the settings that were asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from nvflare.app_opt.xgboost.tree_based.executor import FedXGBTreeExecutor
from tests.unit.training.records_rule import rule_task

from radfed.federation.trees import ALLOWED, TreeRecipe
from radfed.job import SETTINGS_FILE, Job


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    trees = {"rounds": 7, "depth": 5, "learning_rate": 0.5, "subsample": 0.75}
    content = {"job": {"name": "rule", "description": "d", "trees": trees}, "task": rule_task().model_dump(mode="json")}
    TreeRecipe(Job.check(content, "test"), {"site-1": 30, "site-2": 10}, folder).export(str(folder / "out"))
    return folder / "out" / "rule"


def _read(exported: Path, app: str, file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((exported / app / "config" / file).read_text())
    return content


def test_the_job_names_allowed_classes_only_and_carries_no_code(exported: Path) -> None:
    named = set()
    for path in exported.glob("*/config/config_fed_*.json"):
        content = json.loads(path.read_text())
        parts = [*content.get("components", []), *content.get("workflows", [])]
        parts += [entry["executor"] for entry in content.get("executors", [])]
        named |= {part["path"] for part in parts}
    assert named == {f"{found.__module__}.{found.__name__}" for found in ALLOWED}
    assert not [path for path in exported.rglob("*") if path.is_file() and path.suffix != ".json"]
    assert not list(exported.rglob("custom/*"))


def test_sites_learn_with_the_jobs_settings_and_weigh_by_their_cases(exported: Path) -> None:
    server = _read(exported, "app_server", "config_fed_server.json")
    assert server["workflows"][0]["args"] | {"num_rounds": 7, "min_clients": 2} == server["workflows"][0]["args"]
    expected = {"max_depth": 5, "local_subsample": 0.75, "lr_mode": "scaled", "eval_metric": "logloss", "nthread": 1}
    rates = {}
    for site in ("site-1", "site-2"):
        said = _read(exported, f"app_{site}", "config_fed_client.json")["executors"][0]["executor"]["args"]
        assert said | expected == said
        # As FLARE builds it at the site, from what has arrived there.
        executor = FedXGBTreeExecutor(**said)
        rates[site] = executor._get_effective_learning_rate()
    assert rates == pytest.approx({"site-1": 0.5 * 0.75, "site-2": 0.5 * 0.25})


def test_every_site_gets_the_contract_and_the_server_no_data(exported: Path) -> None:
    for site in ("site-1", "site-2"):
        assert Job.read_json(exported / f"app_{site}" / "config" / SETTINGS_FILE).task == rule_task()
    assert not (exported / "app_server" / "config" / SETTINGS_FILE).exists()
    assert "dataset" not in (exported / "app_site-1" / "config" / "config_fed_client.json").read_text()
