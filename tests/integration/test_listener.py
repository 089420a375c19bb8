"""``radfed predict --listen`` as a process: killed while three senders send, no study is lost and none comes twice."""

import gc
import json
import re
import shutil
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from tests.integration.listener_traffic import (
    Node,
    counting_pacs,
    free_port,
    served,
    store,
    three_senders,
    wait_for,
    write_study,
)
from tests.unit.inference.threshold_model import threshold_task, write_threshold_model

# pynetdicom leaves the socket of an association that was not accepted to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    """Those sockets go with the test that left them, not in the middle of another one."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.mark.parametrize(
    ("studies", "kills"), [(24, 1), pytest.param(200, 2, marks=pytest.mark.slow)], ids=["24 studies", "200 studies"]
)
def test_killed_while_studies_come_none_is_lost_and_none_comes_twice(tmp_path: Path, studies: int, kills: int) -> None:
    files = [write_study(tmp_path / "studies" / str(number), number) for number in range(studies)]
    model = write_threshold_model(tmp_path / "model.onnx", threshold_task())
    stop = threading.Event()
    with counting_pacs() as pacs, ThreadPoolExecutor(1) as pool:
        node = Node(model, tmp_path / "out", free_port(), "--quiet", "4", "--send", pacs.address)
        node.start()
        sending = pool.submit(three_senders, node.port, files, 0.3, stop)
        try:
            for number in range(1, kills + 1):
                # In the middle of everything: some studies are done, some wait, some are coming.
                wait_for(lambda: len(pacs.objects) >= 2 * studies * number // (4 * kills), 200)  # noqa: B023 - at once
                node.kill()
                node.start()
            again = sending.result(timeout=300)
            wait_for(lambda: node.count("done") == studies, 300)
        finally:
            stop.set()
            code = node.end()
    assert again > 0, "no sender noticed that the listener was killed"
    assert code == 0
    expected = {str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID) for paths in files}
    assert pacs.by_study("SEG") == dict.fromkeys(expected, 1)
    assert pacs.by_study("SR") == dict.fromkeys(expected, 1)
    # One that was sent a second time, because the first answer was lost, was the same to the last bit.
    assert {len(contents) for contents in pacs.contents.values()} == {1}
    assert sum(1 for _ in (tmp_path / "out" / "results").glob("*/*.nii.gz")) == studies
    for one in pacs.objects.values():
        if one.Modality == "SEG":
            assert len(one.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 6, "a study was not whole"
    names_nobody(node, files)


def names_nobody(node: Node, files: list[tuple[Path, ...]]) -> None:
    """Neither what it said nor what its folders are called holds anything of a patient."""
    said = node.told + "\n".join(str(path.relative_to(node.out)) for path in node.out.rglob("*"))
    for paths in files:
        header = dcmread(paths[0], stop_before_pixels=True)
        for value in (header.PatientID, header.PatientName, header.StudyInstanceUID, header.SeriesInstanceUID):
            assert str(value) not in said
    assert str(node.out) not in said


def test_what_the_pacs_refuses_is_no_success(tmp_path: Path) -> None:
    # Not 0xA700: a PACS that has no room is asked again.
    with counting_pacs(status=0x0122) as pacs, served(tmp_path, pacs.port) as (listener, told):
        assert store(listener.port, write_study(tmp_path / "study", 1)) == [0] * 6
        wait_for(lambda: any(line.get("state") == "failed" for line in told), 60)
    [line] = (line for line in told if line.get("state") == "failed")
    assert (line["reason"], line["sent"]) == ("not_sent", False)
    assert pacs.objects == {}
    assert listener.listener.counts()["studies"] == {"not_sent": 1}


def test_a_study_waits_for_a_pacs_that_comes_late(tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path, port) as (listener, told):
        assert store(listener.port, write_study(tmp_path / "study", 1)) == [0] * 6
        wait_for(lambda: any(line.get("state") == "sending" for line in told), 60)
        with counting_pacs(port) as pacs:
            wait_for(lambda: any(line.get("state") == "done" for line in told), 60)
    assert len(pacs.objects) == 2
    [line] = (line for line in told if line.get("state") == "done")
    assert (line["reason"], line["sent"]) == (None, True)


def test_results_that_are_gone_when_the_pacs_comes_back_are_not_said_to_be_sent(tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path, port) as (listener, told):
        assert store(listener.port, write_study(tmp_path / "study", 1)) == [0] * 6
        wait_for(lambda: any(line.get("state") == "sending" for line in told), 60)
        shutil.rmtree(next((tmp_path / "out" / "results").iterdir()))
        with counting_pacs(port) as pacs:
            wait_for(lambda: any(line.get("state") == "failed" for line in told), 60)
    [line] = (line for line in told if line.get("state") == "failed")
    assert (line["reason"], line["sent"]) == ("not_sent", False)
    assert pacs.objects == {}


def test_what_is_wrong_is_refused_with_its_code_and_the_rest_goes_on(tmp_path: Path) -> None:
    files = write_study(tmp_path / "study", 1)
    model = write_threshold_model(tmp_path / "model.onnx", threshold_task())
    node = Node(model, tmp_path / "out", free_port(), "--quiet", "2", "--accept", "SENDER", "--accept", "OTHER")
    node.start()
    try:
        node.wait_until_it_answers()
        assert store(node.port, files, calling="STRANGER") == [None] * len(files)
        assert store(node.port, files[:4]) == [0] * 4
        changed = dcmread(files[0])
        changed.PatientComments = "other bytes"
        changed.save_as(tmp_path / "changed.dcm")
        report = dcmread(files[1])
        report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
        report.save_as(tmp_path / "report.dcm")
        sent = store(node.port, [tmp_path / "changed.dcm", files[0]], calling="OTHER")
        assert sent == [0xC001, 0], "other bytes under a known UID are refused, the same bytes are taken again"
        assert store(node.port, [tmp_path / "report.dcm"], classes=[str(report.SOPClassUID)]) == [0x0122]
        assert store(node.port, files[4:]) == [0, 0]
        wait_for(lambda: node.count("done") == 1, 60)
        # A slice more, when all is over: the study is done again as a whole.
        late = dcmread(files[-1])
        late.ImagePositionPatient[2] += 2
        late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = f"{late.SOPInstanceUID}9"
        late.InstanceNumber += 1
        late.save_as(tmp_path / "late.dcm")
        assert store(node.port, [tmp_path / "late.dcm"]) == [0]
        wait_for(lambda: "late_instances" in node.told and node.count("done") == 1, 60)
    finally:
        assert node.end() == 0
    results = sorted((tmp_path / "out" / "results").iterdir())
    counts = [len(dcmread(next(one.glob("*.seg.dcm"))).SourceImageSequence) for one in results]
    assert sorted(counts) == [6, 7]
    lines = [json.loads(line) for line in node.told.splitlines() if re.match(r"^\{.*\}$", line)]
    assert {line["reason"] for line in lines if "instance" in line} == {"other_bytes", "not_an_image"}
    assert lines[-1]["studies"] == {"done": 2}
    assert lines[-1]["instances"] == {"duplicate": 1, "kept": 7, "not_an_image": 1, "other_bytes": 1}
    assert lines[-1]["rejected_associations"] == 1
    assert len(list((tmp_path / "out" / "queue" / "quarantine").rglob("*.dcm"))) == 1
    names_nobody(node, [files])
