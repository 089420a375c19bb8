from pathlib import Path

import pytest

from radfed.errors import InvalidInputError
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.ledger import SiteLine
from radfed.workflow.cohorts import deal_out, find_data, make_phantoms
from radfed.workflow.timing import Clock


def answer(number: int, site: str, train: float, evaluation: float) -> SiteLine:
    return SiteLine(round=number, site=site, train_seconds=train, evaluation_seconds=evaluation)


def test_a_round_costs_what_its_slowest_site_needs_and_the_rest_is_flares() -> None:
    clock = Clock()
    lines = [answer(1, "a", 5, 1), answer(1, "b", 4, 3), answer(2, "a", 6, 1), answer(2, "b", 2, 1)]
    clock.split_federation(20.0, lines)
    assert clock.seconds == {"training": 10.0, "evaluation": 4.0, "FLARE": 6.0}
    assert clock.overhead == pytest.approx(0.3)


def test_phantom_hospitals_come_out_alike_for_one_seed(tmp_path: Path) -> None:
    one, two = (make_phantoms(tmp_path / name, 0, cases=1) for name in ("one", "two"))
    files = [(site, file.relative_to(folder)) for site, folder in one.items() for file in folder.rglob("*.dcm")]
    assert len(files) > 100
    for site, file in files:
        assert (one[site] / file).read_bytes() == (two[site] / file).read_bytes()
    # One hospital forgot a label.
    assert [len(list(folder.rglob("seg.dcm"))) for folder in one.values()] == [1, 1, 0]


def test_a_dataset_is_dealt_out_by_its_index(tmp_path: Path) -> None:
    ids = write_cohort(tmp_path / "data", "x", SCANNERS["north"], 4, seed=0)
    rows = "".join(f"{name},{'old_scanner' if n else 'new'}\n" for n, name in enumerate(ids))
    (tmp_path / "data" / "index.csv").write_text("id,site\n" + rows)
    folders = deal_out(tmp_path / "data", tmp_path / "sites")
    assert {site: len(list(f.glob("imagesTr/*"))) for site, f in folders.items()} == {"new": 1, "old-scanner": 3}
    assert all(len(list(f.glob("labelsTr/*"))) == len(list(f.glob("imagesTr/*"))) for f in folders.values())


def test_without_an_index_every_case_is_dealt_out_once(tmp_path: Path) -> None:
    write_cohort(tmp_path / "data", "x", SCANNERS["north"], 6, seed=0)
    folders = deal_out(tmp_path / "data", tmp_path / "sites")
    assert sum(len(list(f.glob("imagesTr/*"))) for f in folders.values()) == 6


def test_an_index_without_sites_is_refused(tmp_path: Path) -> None:
    write_cohort(tmp_path / "data", "x", SCANNERS["north"], 1, seed=0)
    (tmp_path / "data" / "index.csv").write_text("name,age\nx,3\n")
    with pytest.raises(InvalidInputError, match="needs the columns id and site"):
        deal_out(tmp_path / "data", tmp_path / "sites")


def test_data_are_looked_for_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "msd_hippocampus").mkdir()
    monkeypatch.setenv("RADFED_DATA", str(tmp_path))
    assert find_data("msd_hippocampus") == tmp_path / "msd_hippocampus"
    with pytest.raises(InvalidInputError, match="--download"):
        find_data("nowhere")
