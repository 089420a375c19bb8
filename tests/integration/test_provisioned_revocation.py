"""A site is revoked while a campaign trains: the others end it, and the ledger says who was missing."""

from pathlib import Path

import pytest
from tests.integration.federation_campaign import wait_final
from tests.integration.federation_data import tiny_job, write_datasets
from tests.integration.federation_host import SERVER, LoopbackFederation
from tests.integration.federation_processes import wait_for

from radfed.federation.recipe import export_job
from radfed.federation.revocation import revoke
from radfed.job import as_campaign
from radfed.ledger import FinalLine, RoundLine, SiteLine, read_ledger

SITES = ("site-a", "site-b", "site-c")


@pytest.mark.slow
def test_a_site_that_is_revoked_while_it_trains_gives_nothing_more_and_the_others_end_the_campaign(
    tmp_path: Path,
) -> None:
    job = tiny_job(rounds=4, min_sites=2, round_deadline=30, grace=5)
    datasets = write_datasets(tmp_path / "data", SITES, job)
    with LoopbackFederation(tmp_path / "fed", SITES, datasets) as federation:
        store = federation.kit(SERVER) / "campaigns" / "revoked"
        with federation.console() as console:
            job_id = console.submit(export_job(as_campaign(job, "revoked"), tmp_path / "out"), "revoked")
            wait_for(lambda: rounds_of(store) >= 1, 120, "the first round", every=0.2)
            revoke(federation.kit(SERVER), "site-c", None, "left")
            # What was already on its way may still count.
            known = rounds_of(store) + 1
            lines = wait_final(store, lambda: console.status(job_id).ended, 240)
    final = lines[-1]
    assert isinstance(final, FinalLine)
    assert (final.outcome, final.missing) == ("DEGRADED", ("site-c",))
    late = [line for line in lines if isinstance(line, SiteLine) and line.round > known and line.accepted]
    assert {line.site for line in late} == {"site-a", "site-b"}
    assert rounds_of(store) == job.job.federation.rounds


def rounds_of(store: Path) -> int:
    return sum(isinstance(line, RoundLine) for line in read_ledger(store / "ledger.jsonl"))
