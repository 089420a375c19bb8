from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from argon2 import PasswordHasher
from tests.unit.validation.workbench.workbench_world import PASSWORD, PEOPLE, World, copy_dataset, write_release

from radfed.dataset.layout import Dataset
from radfed.task import SegmentationTask
from radfed.validation.workbench import users
from radfed.validation.workbench.folder import StateFolder
from radfed.validation.workbench.opening import open_journal
from radfed.validation.workbench.users import add_user, parse_user


@pytest.fixture(scope="session", autouse=True)
def cheap() -> Iterator[None]:
    """Passwords whose hash costs little, and one thread for all clients: the tests log in some hundred times."""
    with pytest.MonkeyPatch.context() as patch, start_blocking_portal() as portal:
        patch.setattr(users, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        patch.setattr(World, "portal", portal)
        yield


@pytest.fixture(scope="session")
def begun(
    tmp_path_factory: pytest.TempPathFactory, task: SegmentationTask, datasets: tuple[Dataset, ...]
) -> dict[bool, World]:
    """Two reviews that were opened once, blinded or not; tests take copies."""
    found = {}
    for blinded in (False, True):
        world = World(tmp_path_factory.mktemp("review"), blinded)
        write_release(world.root / "release", task)
        copy_dataset(datasets[1], world.root / "dataset")
        journal = open_journal(StateFolder(world.state))
        for name, role in PEOPLE.items():
            add_user(journal, parse_user(f"{name}:{role}"), PASSWORD)
        world.open()
        found[blinded] = world
    return found


@pytest.fixture
def world(begun: dict[bool, World], tmp_path: Path) -> World:
    return begun[False].copy_to(tmp_path / "review")


@pytest.fixture
def blinded_world(begun: dict[bool, World], tmp_path: Path) -> World:
    return begun[True].copy_to(tmp_path / "review")
