"""A site that demands differential privacy: the guard refuses other trainings, whoever approved them."""

import json
from pathlib import Path

import numpy as np
import pytest
from nvflare.fuel.utils.zip_utils import zip_directory_to_bytes

from radfed.errors import GateError
from radfed.federation.answers import Asked
from radfed.federation.app_files import RefusedError
from radfed.federation.gathering import Gathering
from radfed.federation.guard import judge
from radfed.federation.recipe import export_job
from radfed.job import FederationSettings, Job, as_campaign, find_job
from radfed.site.approval import demand_privacy
from radfed.site.approval_settings import ApprovalSettings
from radfed.site.config import init_site, read_site

DEMAND = {"required": False, "require_privacy": {"epsilon": 8.0, "delta": 1e-5}}


def job(privacy: dict[str, float] | None) -> Job:
    content = as_campaign(find_job("heart_disease_tabular"), "campaign-1").model_dump(mode="json")
    content["job"]["training"]["privacy"] = privacy
    return Job.check(content, "test")


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A kit of a site that lets everything run that is private enough."""
    kit = tmp_path / "kit"
    for name in ("local", "startup"):
        (kit / name).mkdir(parents=True)
    (kit / "startup/fed_client.json").write_text("{}")
    (kit / "local/privacy.json").write_text(json.dumps({"scopes": [{"name": "radfed"}]}))
    (kit / "local/radfed.json").write_text(json.dumps({"site": str(tmp_path / "site")}))
    init_site(tmp_path / "site", "site-a")
    settings = read_site(tmp_path / "site").model_copy(update={"approval": ApprovalSettings.check(DEMAND, "test")})
    (tmp_path / "site" / "site.yaml").write_text(settings.to_yaml())
    return kit


def archive(job: Job, folder: Path) -> bytes:
    content: bytes = zip_directory_to_bytes(str(export_job(job, folder) / "app"), "")
    return content


def test_the_guard_refuses_a_training_without_the_privacy_that_the_site_demands(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"^radfed:privacy_demanded:this site demands"):
        judge("site-a", kit, "5f0f3b5e-0000-4000-8000-000000000000", {}, archive(job(None), tmp_path / "a"))
    private = archive(job({"epsilon": 8.0}), tmp_path / "b")
    by = judge("site-a", kit, "5f0f3b5e-0000-4000-8000-000000000000", {}, private)
    assert "not required" in by


def test_jobs_that_train_nothing_are_not_asked_for_privacy() -> None:
    settings = ApprovalSettings.check(DEMAND, "test")
    with pytest.raises(GateError):
        demand_privacy(settings, job(None))
    demand_privacy(settings, Job.check(job(None).model_dump(mode="json") | {"purpose": "fingerprint"}, "test"))


@pytest.mark.parametrize("told", [True, False])
def test_an_update_that_does_not_say_what_it_cost_is_refused(tmp_path: Path, told: bool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from nvflare.app_common.abstract.fl_model import FLModel

    spent = {
        "epsilon": 2.0,
        "delta": 1e-5,
        "noise_multiplier": 1.0,
        "max_grad_norm": 1.0,
        "sampling_rate": 0.5,
        "steps": 3,
    }
    model = {"w": np.zeros(3, np.float32)}
    here = Gathering(1, ["a"], FederationSettings(), None)
    asked = Asked("train", here, model, tmp_path, {}, frozenset(), ThreadPoolExecutor(1), private=True)
    result = FLModel(params=model, metrics={"cases": 4, "privacy": spent if told else None})
    result.meta["client_name"] = "a"
    asked.take(result)
    asked.pool.shutdown()
    line = here.answers["a"].line
    assert line.reason == (None if told else "no_privacy")
    assert (line.privacy is not None and line.privacy.epsilon == 2.0) == told
    line.model_dump_json()
