"""Any process of a campaign may be killed at any moment: the campaign ends by itself, and its ledger is true."""

from collections.abc import Iterator

import pytest
from tests.integration.federation_data import write_datasets
from tests.integration.federation_host import LoopbackFederation
from tests.integration.federation_kills import CELLS, SITES, Cell, Ended, KillMatrix, matrix_hooks, matrix_job, verdict

# Minutes each: ``make test-federation``, and ``make kill-matrix`` for the table of the reference.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KillMatrix, Ended]]:
    root = tmp_path_factory.mktemp("kills")
    datasets = write_datasets(root / "data", SITES, matrix_job())
    with LoopbackFederation(root / "fed", SITES, datasets, hooks=matrix_hooks(root / "hooks")) as federation:
        runner = KillMatrix(federation, root / "jobs")
        yield runner, runner.undisturbed()


def test_the_undisturbed_campaign_is_complete_in_two_links_and_has_learnt_something(
    matrix: tuple[KillMatrix, Ended],
) -> None:
    undisturbed = matrix[1]
    assert (undisturbed.outcome, undisturbed.links, undisturbed.false) == ("COMPLETED", 2, ())
    assert undisturbed.dice is not None
    assert undisturbed.dice > 0.4, "a Dice near nothing could not be lost"


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.name) for cell in CELLS])
def test_the_campaign_survives(matrix: tuple[KillMatrix, Ended], cell: Cell) -> None:
    runner, undisturbed = matrix
    assert verdict(runner.run(cell), undisturbed) == []
