"""A fingerprint between real processes: asked for, approved at each site, logged at each site, brought home."""

import threading
from pathlib import Path

import pytest
from tests.integration.federation_host import LoopbackFederation
from tests.unit.fingerprint.statistics_data import SITES, record_task, write_records

from radfed.dataset.fingerprint import fingerprint
from radfed.dataset.fingerprint_content import Fingerprint
from radfed.dataset.fingerprint_rules import Rules
from radfed.dataset.layout import Dataset
from radfed.federation.campaign_context import Orders
from radfed.federation.statistics_job import fingerprint_job
from radfed.federation.statistics_submit import submit_fingerprint
from radfed.site.egress import Sent, verify


class _AskingFederation(LoopbackFederation):
    """Sites that approve no job without a person."""

    def join(self, site: str, dataset: Path, standing: str | None = None) -> None:
        super().join(site, dataset, None)


@pytest.mark.slow
def test_every_site_approves_tells_and_logs_it(tmp_path: Path) -> None:
    sites = SITES[:2]
    datasets = {site: write_records(tmp_path / "data", site) for site in sites}
    told: list[str] = []
    with _AskingFederation(tmp_path / "fed", sites, datasets) as federation:
        waiting = threading.Event()
        found: list[Fingerprint] = []

        def tell(text: str) -> None:
            told.append(text)
            if "waiting for approval" in text:
                waiting.set()

        def ask() -> None:
            with federation.console() as console:
                orders = Orders(approval_timeout=300.0)
                job = fingerprint_job(record_task(), sites)
                found.append(submit_fingerprint(job, console, tmp_path / "run", tell, orders))

        asking = threading.Thread(target=ask)
        asking.start()
        assert waiting.wait(120), told
        exported = tmp_path / "run" / "flare" / "fingerprint_made_up_records"
        federation.approve(exported)
        asking.join(240)
        assert found, told
        for site in sites:
            own = fingerprint(Dataset.read(datasets[site]), record_task(), Rules(5))
            assert found[0].sites[site].groups == own.groups
            verdict = verify(federation.site_folder(site))
            assert verdict.problems == ()
            sent = [line for line in verdict.lines if isinstance(line, Sent)]
            assert [line.task for line in sent] == ["fed_stats", "fed_stats"]
            assert sent[0].metrics["count.training.covariate.age"] == 240
            assert sent[1].tensors == 3
