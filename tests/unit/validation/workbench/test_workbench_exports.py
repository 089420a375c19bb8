"""What is made after a sign-off, from the DICOM files of a hospital: SEG, SR and the protocol."""

import io
import json
import re
import shutil
import sys
import zipfile
import zlib
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from tests.unit.dataset.dicom_cases import a_patient, a_scan, write_study
from tests.unit.validation.workbench.workbench_world import PASSWORD, PEOPLE, World, write_release

from radfed.dataset.digests import volume_digest
from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.layout import Dataset
from radfed.imaging.nifti import read_label, to_ras
from radfed.release.witness import segment_points
from radfed.task import Label, SegmentationTask, Window
from radfed.validation.workbench.dicom_results import NOT_FOUND
from radfed.validation.workbench.folder import StateFolder
from radfed.validation.workbench.material import layer_file
from radfed.validation.workbench.opening import open_journal
from radfed.validation.workbench.users import add_user, parse_user

VERDICTS = ("accept", "minor", "major", "reject", "accept")
"""By study; the DICOM files of the last are gone when the review is signed."""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, task: SegmentationTask) -> World:
    """A hospital's studies, ingested, reviewed by one reader and signed off."""
    world = World(tmp_path_factory.mktemp("hospital"), blinded=False)
    changes = {
        "labels": (Label(value=1, name="left_ball"), Label(value=2, name="right_ball")),
        "spacing": (1.5, 2.0, 4.0), "intensity": Window(lower=0.0, upper=900.0), "roi_size": (36, 32, 8),
    }  # fmt: skip
    own = task.model_copy(update=changes)
    for number in range(len(VERDICTS)):
        write_study(world.root / f"dicom/{number}", number, own)
    how = IngestSettings("site-a", b"s" * 32, world.root / "pseudonyms.csv", own, processes=1)
    ingest(world.root / "dicom", world.root / "dataset", how)
    shutil.rmtree(world.root / f"dicom/{len(VERDICTS) - 1}")
    write_release(world.root / "release", own)
    for name, role in PEOPLE.items():
        add_user(open_journal(StateFolder(world.state)), parse_user(f"{name}:{role}"), PASSWORD)
    world.use(world.open(split="all", readers=1, dicom=world.root / "dicom"))
    names = _by_study(world)
    for number, verdict in enumerate(VERDICTS):
        assert world.review("ben", names[number]["id"], verdict, comment=f"study {number}") == 201
    assert world.sign()[0] == 201
    return world


def _by_study(world: World) -> list[dict[str, str]]:
    """The row of each study's case, found by its voxels."""
    pixels = {case.pixels: case.id for case in Dataset.read(world.root / "dataset").cases}
    with world.bench.bundle.store.read() as db:
        rows = {row["name"]: dict(row) for row in db.execute("SELECT id, name, code FROM cases")}
    return [rows[pixels[volume_digest(to_ras(a_scan(number)))]] for number in range(len(VERDICTS))]


@pytest.fixture(scope="module")
def archive(signed: World) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(signed.client("lea").get("/api/export/results.zip").content))


@pytest.fixture(scope="module")
def listed(signed: World, archive: zipfile.ZipFile) -> list[dict[str, object]]:
    """The line of each study in ``cases.json``."""
    lines = {line["case"]: line for line in json.loads(archive.read("cases.json"))}
    return [lines[row["name"]] for row in _by_study(signed)]


def test_each_case_has_what_its_verdict_allows_or_the_reason_why_not(
    archive: zipfile.ZipFile, listed: list[dict[str, object]]
) -> None:
    assert tuple(line["verdict"] for line in listed) == VERDICTS
    assert [line.get("verified") for line in listed] == [True, False, None, None, None]
    for line in listed[:2]:
        assert line["files"] == [f"case-{line['number']:04d}.seg.dcm", f"case-{line['number']:04d}.sr.dcm"]
    reasons = ["the verdict is major: the mask is not passed on", "the verdict is reject: the mask is not passed on"]
    assert [(line["files"], line["why_not"]) for line in listed[2:]] == [([], why) for why in (*reasons, NOT_FOUND)]
    files = [name for line in listed[:2] for name in line["files"]]  # type: ignore[attr-defined]
    assert sorted(archive.namelist()) == sorted([*files, "cases.json"])


@pytest.mark.parametrize(("study", "verified"), [(0, True), (1, False)])
def test_segmentation_and_report_are_the_patients_and_say_who_answers(
    signed: World, archive: zipfile.ZipFile, listed: list[dict[str, object]], study: int, verified: bool, tmp_path: Path
) -> None:
    seg, sr = (pydicom.dcmread(io.BytesIO(archive.read(name))) for name in listed[study]["files"])  # type: ignore[attr-defined]
    assert {seg.PatientID, sr.PatientID} == {a_patient(study).id}
    named = f"{signed.bench.task.name} {signed.bench.task.version}"
    assert seg.ContentDescription == f"{named}, {'verified' if verified else 'not verified'}"
    assert (sr.VerificationFlag, sr.CompletionFlag) == ("VERIFIED" if verified else "UNVERIFIED", "COMPLETE")
    assert sr.PreliminaryFlag == ("FINAL" if verified else "PRELIMINARY")
    if verified:
        (observer,) = sr.VerifyingObserverSequence
        document = signed.client("lea").get("/api/export/signoff.json").json()
        assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == ("lea^", "site-a")
        time = datetime.strptime(str(observer.VerificationDateTime), "%Y%m%d%H%M%S.%f%z")
        assert time == datetime.fromisoformat(json.loads(document["statement"])["time"])
    else:
        assert "VerifyingObserverSequence" not in sr
    path = tmp_path / "seg.dcm"
    path.write_bytes(archive.read(listed[study]["files"][0]))  # type: ignore[index]
    shown = read_label(layer_file(signed.bench.bundle.folder, _by_study(signed)[study]["code"], "prediction"))
    for label in signed.bench.task.labels:
        voxels = np.argwhere(shown.array[0] == label.value)
        assert len(voxels) > 1000
        expected = voxels @ shown.affine[:3, :3].T + shown.affine[:3, 3]
        np.testing.assert_allclose(_sorted(segment_points(path)[label.name]), _sorted(expected), atol=1e-3)


def _sorted(points: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = np.round(points, 2)
    ordered: NDArray[np.float64] = points[np.lexsort(rounded.T)]
    return ordered


def test_the_protocol_is_a_pdf_with_pages_of_text(signed: World) -> None:
    answer = signed.client("lea").get("/api/export/report.pdf")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    content = answer.content
    assert content.startswith(b"%PDF-1.")
    assert content.rstrip().endswith(b"%%EOF")
    streams = [_plain(found) for found in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)]
    pages = [one for one in (content, *streams) for _ in re.findall(rb"/Type ?/Page\b", one)]
    assert 1 <= len(pages) <= 3
    # Glyphs are of fonts cut down to what is used, so the words cannot be searched; how many are shown can be counted.
    shown = sum(len(re.findall(rb"\bT[jJ]\b", one)) for one in streams)
    assert shown > 50
    assert signed.client("lea").get("/api/export/report.pdf").content == content


def test_a_missing_weasyprint_is_told_in_words(signed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (signed.state / "exports").glob("report.pdf*"):
        path.unlink()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "weasyprint", None)
        answer = signed.client("lea").get("/api/export/report.pdf")
    assert (answer.status_code, "WeasyPrint" in answer.json()["error"]) == (409, True)
    assert signed.client("lea").get("/api/export/report.pdf").status_code == 200


def _plain(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream
