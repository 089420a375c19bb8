"""The ten actions of the Medical Image De-Identification Benchmark, scored on files full of planted identities."""

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from phi_files import (  # type: ignore[import-not-found]
    B_VALUE,
    CLASSES,
    Planted,
    pixels,
    read,
    write_files,
)
from pydicom.dataset import Dataset
from pydicom.uid import UID

from radfed.imaging.deid.engine import Deidentifier
from radfed.imaging.deid.identity import new_uid
from radfed.imaging.deid.run import DeidReport, deidentify
from radfed.imaging.deid.settings import DeidSettings

SECRET = b"midi-b" * 6
PATIENTS, FILES_EACH = 16, 18
ACTIONS = (
    "tag retained",
    "text not null",
    "text retained",
    "text removed",
    "date shifted",
    "UID changed",
    "UID consistent",
    "patient id consistent",
    "pixels hidden",
    "pixels retained",
)
RETAINED_TAGS = (
    "SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate StudyTime AccessionNumber Modality "
    "Manufacturer StudyDescription SeriesDescription PatientName PatientID PatientSex PatientAge PatientWeight "
    "StudyInstanceUID SeriesInstanceUID SeriesNumber FrameOfReferenceUID ReferencedImageSequence "
    "ProcedureCodeSequence AcquisitionDateTime"
)
IMAGE_TAGS = "Rows Columns BitsAllocated PixelSpacing ImagePositionPatient ImageOrientationPatient PixelData"
NOT_NULL = "StudyDate PatientID PatientName StudyInstanceUID SeriesInstanceUID SOPInstanceUID SeriesDescription"
SAME = (
    "ImageType SOPClassUID Modality Manufacturer ManufacturerModelName PatientSex PatientWeight SeriesNumber StudyTime"
)
SAME_IN_IMAGES = "Rows PixelSpacing SliceThickness ImagePositionPatient BodyPartExamined"
DATES = "StudyDate SeriesDate AcquisitionDate ContentDate InstanceCreationDate AcquisitionDateTime"


@dataclass(frozen=True)
class Cleaned:
    """What came of the planted files."""

    planted: list[Planted]
    out: Path
    report: DeidReport
    results: dict[str, Path]  # by the file name of the source

    def pairs(self) -> list[tuple[Planted, Dataset]]:
        return [(one, read(self.results[one.path.name])) for one in self.planted if one.path.name in self.results]


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    folder = tmp_path_factory.mktemp("midi-b")
    planted = write_files(folder / "in", PATIENTS, FILES_EACH, seed=7)
    report = deidentify(folder / "in", folder / "out", SECRET, DeidSettings(ocr=False), lambda pairs: None)
    by_uid = {path.stem: path for path in (folder / "out").rglob("*.dcm")}
    uids = {one.path.name: new_uid(SECRET, str(one.dataset.SOPInstanceUID)) for one in planted}
    results = {name: by_uid[uid] for name, uid in uids.items() if uid in by_uid}
    return Cleaned(planted, folder / "out", report, results)


def test_every_action_is_right_on_every_file(cleaned: Cleaned) -> None:
    assert len(cleaned.planted) >= 200
    assert {one.kind for one in cleaned.planted} == set(CLASSES)
    scores: Counter[str] = Counter()
    wrong = []
    uids: dict[str, str] = {}
    patients: dict[str, str] = {}
    for one in cleaned.planted:
        path = cleaned.results.get(one.path.name)
        right = {"pixels hidden": (path is None) == one.hidden}
        if path is not None:
            right |= _score(one, read(path), uids, patients)
        for action, good in right.items():
            scores[action] += 1
            wrong += [] if good else [f"{one.kind}: {action}"]
    assert not wrong, Counter(wrong)
    assert set(scores) == set(ACTIONS)
    assert scores["pixels hidden"] == len(cleaned.planted)
    assert scores["pixels retained"] >= 200
    # Different identities stay apart.
    assert len(set(uids.values())) == len(uids)
    assert len(set(patients.values())) == len(patients) == PATIENTS


def _score(one: Planted, new: Dataset, uids: dict[str, str], patients: dict[str, str]) -> dict[str, bool]:
    old = one.dataset
    image = one.kind != "RTSTRUCT"
    tags = RETAINED_TAGS.split() + (IMAGE_TAGS.split() if image else [])
    same = SAME.split() + (SAME_IN_IMAGES.split() if image else [])
    texts = "\n".join(str(element.value) for element in new.iterall()).casefold()
    return {
        "tag retained": all(tag in new for tag in tags) and new[0x0019100C].value == int(B_VALUE),
        "text not null": all(new.get(tag) not in (None, "") for tag in NOT_NULL.split()),
        "text retained": all(new[tag].value == old[tag].value for tag in same)
        and (new.StudyDescription, new.SeriesDescription, new.ProtocolName) == ("MR BRAIN", "T1 AXIAL", "head")
        and (one.kind != "SEG" or new.SegmentSequence[0].SegmentLabel == "Liver"),
        "text removed": not any(value.casefold() in texts for value in one.person.planted)
        and not any(tag.group & 0xFF00 in (0x5000, 0x6000, 0xFF00) for tag in new.keys())  # noqa: SIM118
        and {str(tag) for tag in new.keys() if tag.is_private} == {"(0019,0010)", "(0019,100C)"},  # noqa: SIM118
        "date shifted": _dates_moved(old, new),
        "UID changed": not one.uids & {str(element.value) for element in new.iterall() if element.VR == "UI"},
        "UID consistent": _consistent(old, new, uids),
        "patient id consistent": patients.setdefault(one.person.number, str(new.PatientID)) == new.PatientID
        and new.PatientName == new.PatientID,
        "pixels retained": pixels(old) == pixels(new),
    }


def _dates_moved(old: Dataset, new: Dataset) -> bool:
    """All dates of a file moved by the same whole days, back, times of day and time zones as they were."""

    def day(text: str) -> datetime:
        return datetime.strptime(text[:8], "%Y%m%d")

    pairs = [(str(old[tag].value), str(new[tag].value)) for tag in DATES.split()]
    if "PerFrameFunctionalGroupsSequence" in old:
        pairs += [
            (str(getattr(a, tag)), str(getattr(b, tag)))
            for a, b in zip(_contents(old), _contents(new), strict=True)
            for tag in ("FrameAcquisitionDateTime", "FrameReferenceDateTime")
        ]
    shifts = {(day(after) - day(before)).days for before, after in pairs}
    tails = all(before[8:] == after[8:] for before, after in pairs)
    return len(shifts) == 1 and -365 <= shifts.pop() <= -1 and tails and not new.PatientBirthDate


def _contents(dataset: Dataset) -> list[Dataset]:
    return [frame.FrameContentSequence[0] for frame in dataset.PerFrameFunctionalGroupsSequence]


def _consistent(old: Dataset, new: Dataset, known: dict[str, str]) -> bool:
    """Equal UIDs became equal ones, in all files, at every place; those of the standard stayed."""
    places = [
        ("SOPInstanceUID",),
        ("StudyInstanceUID",),
        ("SeriesInstanceUID",),
        ("FrameOfReferenceUID",),
        ("ReferencedImageSequence", 0, "ReferencedSOPInstanceUID"),
        ("StructureSetROISequence", 0, "ReferencedFrameOfReferenceUID"),
        ("ROIContourSequence", 0, "ContourSequence", 0, "ContourImageSequence", 0, "ReferencedSOPInstanceUID"),
        ("ReferencedSeriesSequence", 0, "SeriesInstanceUID"),
    ]
    good = new.ReferencedImageSequence[0].ReferencedSOPClassUID == CLASSES["MR"]
    for place in places:
        before, after = _at(old, place), _at(new, place)
        if before is not None:
            good = good and after is not None and UID(after).is_valid and known.setdefault(before, after) == after
    return good and str(new.file_meta.MediaStorageSOPInstanceUID) == str(new.SOPInstanceUID)


def _at(dataset: Dataset, place: tuple[str | int, ...]) -> str | None:
    here: object = dataset
    for step in place:
        if isinstance(step, int):
            here = here[step]  # type: ignore[index]
        elif step in here:  # type: ignore[operator]
            here = getattr(here, step)
        else:
            return None
    return str(here)


def test_no_planted_string_is_in_the_bytes_of_any_output(cleaned: Cleaned) -> None:
    persons = {one.person for one in cleaned.planted}
    needles = {text for person in persons for text in person.planted} | {one.path.stem for one in cleaned.planted}
    encoded = {
        variant.encode(encoding)
        for text in needles
        for variant in (text, text.upper(), text.lower(), text.replace("^", " "), text.replace("-", ""))
        for encoding in ("latin-1", "utf-16-le", "utf-16-be")
    }
    outputs = [path for path in cleaned.out.rglob("*") if path.is_file()]
    assert len(outputs) == cleaned.report.written + 1
    everything = b"\n".join(path.read_bytes() + str(path.relative_to(cleaned.out)).encode() for path in outputs)
    assert [text for text in encoded if text in everything] == []
    # The search itself finds what was planted.
    sources = b"\n".join(one.path.read_bytes() for one in cleaned.planted)
    assert all(text.encode() in sources for person in persons for text in (person.name, person.number, person.phone))


def test_what_was_refused_says_why_and_nothing_more(cleaned: Cleaned) -> None:
    lines = [json.loads(line) for line in (cleaned.out / "quarantine.jsonl").read_text().splitlines()]
    hidden = [one for one in cleaned.planted if one.hidden]
    assert len(lines) == len(hidden) == cleaned.report.refused
    assert cleaned.report.written == len(cleaned.planted) - len(hidden)
    assert {line["reason"] for line in lines} == {"burned_in_text"}
    meanings = dict(cleaned.report.pseudonyms)
    assert {meanings[line["id"]].rsplit("/", 1)[1] for line in lines} == {one.path.name for one in hidden}


def test_references_between_objects_still_hold(cleaned: Cleaned) -> None:
    by_patient: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one, new in cleaned.pairs():
        kinds = by_patient[one.person.number]
        kinds[one.kind].add(str(new.SOPInstanceUID))
        if one.kind == "SEG":
            series = new.ReferencedSeriesSequence[0]
            kinds["referenced"].add(str(series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID))
        if one.kind == "RTSTRUCT":
            contour = new.ROIContourSequence[0].ContourSequence[0]
            kinds["referenced"].add(str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID))
            assert [roi.ROIName for roi in new.StructureSetROISequence] == ["Liver", "ROI 2"]
    for kinds in by_patient.values():
        assert kinds["referenced"] <= kinds["CT"]


def test_equal_files_give_equal_outputs(cleaned: Cleaned) -> None:
    one, new = cleaned.pairs()[0]
    again = Deidentifier(SECRET, DeidSettings())(read(one.path))
    assert again.to_json_dict() == Deidentifier(SECRET, DeidSettings())(read(one.path)).to_json_dict()
    assert (again.PatientID, again.SOPInstanceUID) == (new.PatientID, new.SOPInstanceUID)
    other = Deidentifier(b"another secret of another site", DeidSettings())(read(one.path))
    assert other.PatientID != new.PatientID
    assert other.SOPInstanceUID != new.SOPInstanceUID


def test_dciodvfy_finds_no_error_that_the_source_did_not_have(cleaned: Cleaned) -> None:
    checked = Counter[str]()
    for one, _ in cleaned.pairs():
        if checked[one.kind] < 1:
            checked[one.kind] += 1
            new, old = _errors(cleaned.results[one.path.name]), _errors(one.path)
            assert not new - old, (one.kind, new - old)
    assert set(checked) == {kind for kind in CLASSES if kind not in ("US", "SC")}


def _errors(path: Path) -> set[str]:
    """Lines of dciodvfy that are errors, without the values in them."""
    program = Path(sys.executable).with_name("dciodvfy")
    done = subprocess.run([program, "-new", path], capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    lines = (done.stdout + done.stderr).decode("latin-1").splitlines()
    return {re.sub(r"<[^<>/][^<>]*>", "<>", line) for line in lines if line.startswith("Error")}
