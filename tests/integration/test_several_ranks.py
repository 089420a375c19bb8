"""A trainer of two processes under torch's launcher: the same steps as one, the same protocol, and how it dies."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from ranks_world import KINDS  # type: ignore[import-not-found]

from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.splits import SplitSettings
from radfed.federation.trainer import TrainerDiedError, TrainerProcess, TrainerRefusedError
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.job import Job, find_job
from radfed.site.config import SiteSettings
from radfed.training.initial import main as write_initial
from radfed.training.process import Request
from radfed.training.ranks import ALONE
from radfed.weights import load_weights, save_weights, weights_digest

_LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--log-dir", os.devnull, "--nproc-per-node=2")


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that two processes got, and what they refused."""
    out = tmp_path_factory.mktemp("shared")
    command = [sys.executable, *_LAUNCH, str(Path(__file__).with_name("ranks_world.py")), str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_take_the_steps_of_one(kind: str, shared: Path) -> None:
    expected, got = KINDS[kind](ALONE), load_weights(shared / f"{kind}-0.safetensors")
    assert max(np.abs(expected[name] - got[name]).max() for name in expected) < 1e-6
    assert weights_digest(load_weights(shared / f"{kind}-1.safetensors")) == weights_digest(got)


def test_batch_normalisation_on_the_cpu_is_refused_by_all(shared: Path) -> None:
    for rank in (0, 1):
        said = (shared / f"refused-{rank}.txt").read_text(encoding="utf-8")
        assert "training_processes: got 2, but this network has batch normalisation" in said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job file, the initial weights, and one site's dataset."""
    content = find_job("phantom_segmentation").model_dump(mode="json")
    content["task"] |= {"spacing": [3.6, 3.6, 3.6], "roi_size": [16, 16, 16]}
    content["task"]["network"]["args"] |= {"channels": [4, 8], "strides": [2]}
    content["job"]["federation"] |= {"rounds": 3, "local_steps": 3}
    job = Job.check(content, "tiny")
    root = tmp_path_factory.mktemp("place")
    write_cohort(root / "raw", "north", SCANNERS["north"], 8, seed=1)
    split = SplitSettings(validation=0.3, test=0.2, seed=3)
    ingest(root / "raw", root / "data", IngestSettings("north", bytes(32), root / "k.csv", task=job.task, split=split))
    job.write_json(root / "job.json")
    write_initial(root / "job.json", root / "initial.safetensors")
    return root


class Trainer:
    """Two processes that have opened the job."""

    def __init__(self, place: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.place, self.folder = place, folder
        self.process = TrainerProcess(folder / "trainer.log", 2, processes=2)
        site = SiteSettings(name="north", dataset=place / "data", threads=2).model_dump(mode="json")
        self.process.ask(Request(do="open", job=place / "job.json", site=site, name="north"), never)

    def train(self, number: int) -> str:
        """Digest of the weights after a round that starts from the result of the one before."""
        out = self.folder / f"out-{number}.safetensors"
        weights = self.place / "initial.safetensors" if number == 1 else self.folder / f"out-{number - 1}.safetensors"
        request = Request(do="train", weights=weights, round=number, out=out, states=self.folder)
        report = self.process.ask(request, never)
        assert report["optimiser"] == ("fresh" if number == 1 else "kept")
        assert ("metric" in report) == (number > 1)
        return weights_digest(load_weights(out))

    @property
    def ranks(self) -> list[psutil.Process]:
        """The processes that train, first started first."""
        return sorted(psutil.Process(self.process._process.pid).children(), key=lambda p: int(p.environ()["RANK"]))


@pytest.fixture
def started() -> Iterator[list[Trainer]]:
    trainers: list[Trainer] = []
    yield trainers
    for trainer in trainers:
        trainer.process.end()


@pytest.mark.slow
def test_one_seed_gives_one_model_also_when_a_process_is_killed_between_rounds(
    place: Path, tmp_path: Path, started: list[Trainer]
) -> None:
    whole = Trainer(place, tmp_path / "a")
    started.append(whole)
    first, second = whole.train(1), whole.train(2)
    assert first != second

    broken = Trainer(place, tmp_path / "b")
    started.append(broken)
    assert broken.train(1) == first
    ranks = broken.ranks
    assert len(ranks) == 2
    ranks[1].kill()
    with pytest.raises(TrainerDiedError):
        broken.train(2)
    assert psutil.wait_procs(ranks, timeout=20)[1] == []
    assert "Signal 9 (SIGKILL)" in (tmp_path / "b" / "trainer.log").read_text(encoding="utf-8")

    resumed = Trainer(place, tmp_path / "b")
    started.append(resumed)
    assert resumed.train(2) == second

    # What torch raises in the first process may leave the others in a step: it is told, and then all end.
    odd, ranks = tmp_path / "b" / "out-2.safetensors", resumed.ranks
    save_weights(odd, {"w": np.zeros(2, np.float32)})
    with pytest.raises(TrainerRefusedError, match="Missing key"):
        resumed.train(3)
    assert psutil.wait_procs(ranks, timeout=20)[1] == []


def test_all_end_with_whoever_started_them_and_with_their_launcher(
    place: Path, tmp_path: Path, started: list[Trainer]
) -> None:
    trainer = Trainer(place, tmp_path / "a")
    started.append(trainer)
    ranks = trainer.ranks
    # The launcher is killed first: it can end nobody any more.
    trainer.process._process.kill()
    assert trainer.process._process.stdin is not None
    trainer.process._process.stdin.close()
    assert psutil.wait_procs(ranks, timeout=20)[1] == []
