"""A site whose network is cut for a minute, and one whose link is slow, in network namespaces of their own."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.federation_campaign import wait_final
from tests.integration.federation_data import tiny_job, write_datasets
from tests.integration.federation_hooks import Hooks, arm, disarm, wait_held
from tests.integration.federation_host import SERVER, LoopbackFederation
from tests.integration.federation_network import SiteNetworks, why_not
from tests.integration.federation_truth import Evidence, falsehoods

from radfed.federation.recipe import export_job
from radfed.job import Job, as_campaign
from radfed.ledger import FinalLine, Line, NoteLine, RoundLine, SiteLine

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

GOOD, CUT, SLOW = "north", "valley", "coast"
SITES = (GOOD, CUT, SLOW)
CUT_SECONDS = 60.0
RATE = "2mbit"
ROUNDS = 5


@dataclass(frozen=True)
class Seen:
    """A campaign on bad links: its ledger, and when which link was bad (s since the epoch)."""

    job: Job
    federation: LoopbackFederation
    store: Path
    job_id: str
    lines: list[Line]
    cut_at: float
    mended_at: float


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    root = tmp_path_factory.mktemp("network")
    # Some 570 kB of weights: 2.3 s at 2 Mbit/s, each way.
    job = tiny_job(rounds=ROUNDS, local_steps=6, min_sites=2, sites=list(SITES), grace=30, channels=(16, 32, 64))
    datasets = write_datasets(root / "data", SITES, job)
    # FLARE waits 300 s for the answer to a message that the cut has swallowed; this site has decided otherwise.
    local = root / "site_configs" / CUT / "local"
    local.mkdir(parents=True)
    (local / "resources.json").write_text(json.dumps({"client": {"communication_timeout": 45.0}}))
    hooks = {
        CUT: Hooks(holds={"training": "radfed.training.trainer:Trainer._step"}).write(root / "hooks" / CUT),
        SERVER: Hooks(skips=("radfed.federation.children:build_release",)).write(root / "hooks" / SERVER),
    }
    with (
        SiteNetworks((CUT, SLOW)) as networks,
        LoopbackFederation(
            root / "fed",
            SITES,
            datasets,
            host=networks.server,
            hooks=hooks,
            prefix=networks.prefix,
            changes=root / "site_configs",
        ) as federation,
        federation.console() as console,
    ):
        networks.slow(SLOW, RATE)
        arm(hooks[CUT], "training", 9)
        job_id = console.submit(export_job(as_campaign(job, "network"), root / "jobs"), "network")
        # In the middle of round 2.
        wait_held(hooks[CUT], "training", 180)
        networks.cut(CUT)
        cut_at = time.time()
        disarm(hooks[CUT], "training")
        time.sleep(CUT_SECONDS)
        networks.mend(CUT)
        mended_at = time.time()
        store = federation.kit(SERVER) / "campaigns" / "network"
        lines = wait_final(store, lambda: console.status(job_id).ended, 300)
        yield Seen(job, federation, store, job_id, lines, cut_at, mended_at)


def answers(lines: list[Line], site: str) -> dict[int, SiteLine]:
    return {line.round: line for line in lines if isinstance(line, SiteLine) and line.site == site}


def test_the_federation_goes_on_while_a_site_is_cut_off(seen: Seen) -> None:
    final = seen.lines[-1]
    assert isinstance(final, FinalLine)
    assert final.outcome in ("COMPLETED", "DEGRADED")
    assert sum(isinstance(line, RoundLine) for line in seen.lines) == ROUNDS
    assert all(line.accepted for line in answers(seen.lines, GOOD).values())


def test_the_ledger_names_the_site_that_was_cut_off(seen: Seen) -> None:
    cut = answers(seen.lines, CUT)
    assert cut[1].accepted
    assert not cut[2].accepted
    assert cut[2].reason in ("no_answer", "disconnected")
    final = seen.lines[-1]
    assert isinstance(final, FinalLine)
    assert (final.outcome, final.missing) == ("DEGRADED", (CUT,))


def test_the_site_that_was_cut_off_is_back_before_the_end(seen: Seen) -> None:
    cut = answers(seen.lines, CUT)
    late = {line.round for line in seen.lines if isinstance(line, NoteLine) and line.site == CUT}
    assert cut[ROUNDS].accepted, f"late answers: {late}"


def test_the_slow_site_takes_part_in_every_round_and_the_ledger_shows_that_it_is_slow(seen: Seen) -> None:
    slow, good = answers(seen.lines, SLOW), answers(seen.lines, GOOD)
    assert all(line.accepted for line in slow.values())
    size = slow[1].bytes
    assert size > 500_000
    least = 2 * size * 8 / 2e6
    for number in range(1, ROUNDS + 1):
        seconds, others = slow[number].seconds, good[number].seconds
        assert seconds is not None
        assert others is not None
        assert seconds > least, "the model has to come and the update to go, at 2 Mbit/s"
        assert seconds > others


def test_the_ledger_is_true(seen: Seen) -> None:
    folders = {site: seen.federation.site_folder(site) for site in SITES}
    assert falsehoods(Evidence("network", seen.store, folders, ROUNDS, frozenset({seen.job_id}))) == []
