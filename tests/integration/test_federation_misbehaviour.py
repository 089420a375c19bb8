"""Sites that send what they must not: the federation goes on, and the ledger names each with its reason."""

from collections.abc import Iterator

import pytest
from tests.integration.federation_campaign import SingleLink, run_single_link
from tests.integration.federation_data import tiny_job, write_datasets
from tests.integration.federation_hooks import Hooks
from tests.integration.federation_host import SERVER, LoopbackFederation
from tests.integration.federation_truth import Evidence, falsehoods

from radfed.ledger import FinalLine, RoundLine, SiteLine

GOOD = ("north", "valley")
BAD = {"nan-site": "nan", "shape-site": "shape", "loud-site": "scale"}
REASONS = {"nan-site": "not_finite", "shape-site": "other_shapes", "loud-site": "norm_outlier"}
SITES = (*GOOD, *BAD)
ROUNDS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SingleLink, LoopbackFederation]]:
    root = tmp_path_factory.mktemp("misbehaviour")
    job = tiny_job(rounds=ROUNDS, local_steps=4, min_sites=2, sites=list(SITES))
    datasets = write_datasets(root / "data", SITES, job)
    hooks = {site: Hooks(update=how).write(root / "hooks" / site) for site, how in BAD.items()}
    hooks[SERVER] = Hooks(skips=("radfed.federation.children:build_release",)).write(root / "hooks" / SERVER)
    with LoopbackFederation(root / "fed", SITES, datasets, hooks=hooks) as federation:
        yield run_single_link(federation, job, "misbehaviour", root / "jobs"), federation


def test_the_federation_goes_on_with_the_others(run: tuple[SingleLink, LoopbackFederation]) -> None:
    lines = run[0].lines
    assert [line.accepted for line in lines if isinstance(line, RoundLine)] == [len(GOOD)] * ROUNDS
    accepted = {line.site for line in lines if isinstance(line, SiteLine) and line.accepted}
    assert accepted == set(GOOD)


def test_the_ledger_names_each_with_its_reason_in_every_round(run: tuple[SingleLink, LoopbackFederation]) -> None:
    refused = {
        (line.round, line.site): line.reason
        for line in run[0].lines
        if isinstance(line, SiteLine) and not line.accepted
    }
    assert refused == {(number, site): why for number in range(1, ROUNDS + 1) for site, why in REASONS.items()}


def test_the_outcome_is_degraded_and_says_who_is_missing(run: tuple[SingleLink, LoopbackFederation]) -> None:
    final = run[0].lines[-1]
    assert isinstance(final, FinalLine)
    assert (final.outcome, set(final.missing)) == ("DEGRADED", set(BAD))
    assert final.cases_lost > 0.5, "the bad sites have more cases than the good ones"


def test_the_ledger_is_true(run: tuple[SingleLink, LoopbackFederation]) -> None:
    single, federation = run
    folders = {site: federation.site_folder(site) for site in SITES}
    evidence = Evidence("misbehaviour", single.store, folders, ROUNDS, frozenset({single.job_id}))
    assert falsehoods(evidence) == []
