"""What a listener answers to each C-STORE."""

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pydicom import dcmread

from radfed.errors import InvalidInputError
from radfed.imaging.pacs.listener import Answer, Arrived, StorageListener, parse_listen
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.phantoms_dicom import Flavour, fake_patient, write_series
from radfed.imaging.volume import Volume
from radfed.inference.listener.intake import Intake
from radfed.inference.listener.queue import StudyQueue
from radfed.inference.listener.study import State, digest_of

SYNTAX = "1.2.840.10008.1.2.1"


@pytest.fixture
def image(tmp_path: Path) -> Arrived:
    volume = Volume(np.zeros((1, 8, 8, 1), dtype=np.int16), np.eye(4))
    [path] = write_series(tmp_path / "in", volume, Flavour.CT, fake_patient(np.random.default_rng(0)), seed=0)
    dataset = dcmread(path)
    raw = path.read_bytes()
    meta_length = 12 + int.from_bytes(raw[140:144], "little")
    return Arrived(
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.file_meta.TransferSyntaxUID),
        raw[132 + meta_length :],
        1,
    )


@pytest.fixture
def refused() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def intake(tmp_path: Path, refused: list[tuple[str, str]]) -> Iterator[Intake]:
    queue = StudyQueue(tmp_path / "queue", 1e9)
    yield Intake(queue, tmp_path, 0.0, lambda code, study: refused.append((code, study)))
    queue.close()


def test_success_means_that_the_file_is_there_whole(intake: Intake, image: Arrived, tmp_path: Path) -> None:
    assert intake.store(image) == Answer(0)
    [kept] = (tmp_path / "queue" / State.INCOMING).rglob("*.dcm")
    dataset = dcmread(kept)
    assert dataset.SOPInstanceUID == image.sop_instance
    assert kept.parent.name == digest_of(dataset.StudyInstanceUID)
    assert intake.store(image) == Answer(0)
    assert intake.counts == {"kept": 1, "duplicate": 1}


def test_what_is_not_taken_has_a_status_and_a_code(
    intake: Intake, image: Arrived, refused: list[tuple[str, str]]
) -> None:
    report = Arrived("1.2.840.10008.5.1.4.1.1.88.11", image.sop_instance, SYNTAX, image.content, 1)
    broken = Arrived(image.sop_class, image.sop_instance, SYNTAX, b"\x08\x00\x16", 1)
    other = Arrived(image.sop_class, "1.2.3.4", image.transfer_syntax, image.content, 1)
    assert intake.store(report) == Answer(0x0122, "not_an_image")
    assert intake.store(broken) == Answer(0xC000, "unreadable")
    assert intake.store(other) == Answer(0xA900, "uid_mismatch")
    assert [code for code, _ in refused] == ["not_an_image", "unreadable", "uid_mismatch"]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_without_room_nothing_is_said_to_be_kept(
    intake: Intake, image: Arrived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 0))
    assert intake.store(image) == Answer(0xA700, "no_room")
    [study] = (tmp_path / "queue" / State.INCOMING).iterdir()
    assert [path.suffix for path in study.iterdir()] == [".refused"]


def test_a_duplicate_that_finds_no_room_takes_nothing_from_its_study(
    intake: Intake, image: Arrived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert intake.store(image) == Answer(0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 0))
    assert intake.store(image) == Answer(0xA700, "no_room")
    [study] = (tmp_path / "queue" / State.INCOMING).iterdir()
    assert [path.suffix for path in study.iterdir()] == [".dcm"]


def test_other_bytes_of_a_study_that_is_full_take_nothing_from_it(tmp_path: Path, image: Arrived) -> None:
    queue = StudyQueue(tmp_path / "full", 1.5 * len(image.content))
    intake = Intake(queue, tmp_path, 0.0, lambda code, study: None)
    assert intake.store(image) == Answer(0)
    other = replace(image, content=image.content[:-1] + b"\1")
    assert intake.store(other) == Answer(0xA700, "study_too_large")
    [study] = (tmp_path / "full" / State.INCOMING).iterdir()
    assert [path.suffix for path in study.iterdir()] == [".dcm"]
    queue.close()


def test_a_uid_that_breaks_the_rules_is_not_shown_on_stderr(intake: Intake, image: Arrived) -> None:
    odd = replace(image, sop_class="1.2.03", sop_instance="Smith^John")
    assert intake.store(odd).status != 0  # warnings are errors here


def test_a_write_that_fails_is_no_success(
    intake: Intake, image: Arrived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert intake.store(image) == Answer(0xA700, "no_room")
    assert list((tmp_path / "queue").rglob("*.dcm")) == []
    monkeypatch.undo()
    assert intake.store(image) == Answer(0), "the same again, when there is room"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("RADFED@127.0.0.1:11112?Modality=CT", "nothing behind it"),
        ("dicomweb+http://127.0.0.1:8042/dicom-web", "takes AE@HOST:PORT"),
        ("127.0.0.1:11112", "AE title"),
        ("A_TITLE_THAT_IS_TOO_LONG@127.0.0.1:1", "AE title"),
    ],
)
def test_a_wrong_address_to_listen_on_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        parse_listen(text)


def test_nobody_listens_to_everybody_by_mistake() -> None:
    address = parse_listen("RADFED@0.0.0.0:11112")
    with pytest.raises(InvalidInputError, match="--accept AE"):
        StorageListener(
            address, PacsSettings(), (), 1, 2**16, lambda arrived: Answer(0), lambda number: None, lambda: None
        )
