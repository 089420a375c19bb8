"""The structured report: what it says, that it refers to the SEG, and that it is valid."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR, srread
from pydicom import dcmread
from pydicom.sr.codedict import codes

from radfed.errors import DataError
from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series
from radfed.imaging.dicom.scanned import ScannedVolume
from radfed.imaging.objects.seg import write_seg
from radfed.imaging.objects.sr import write_sr
from radfed.imaging.phantoms_dicom import fake_patient, write_series
from radfed.imaging.volume import Volume
from radfed.task import SegmentationTask

TASK = SegmentationTask.read(Path(__file__).parents[3] / "jobs" / "phantom_segmentation" / "task.yaml")


def scan(folder: Path, flavour: str) -> ScannedVolume:
    voxels = np.random.default_rng(4).integers(0, 900, (1, 12, 10, 5)).astype(np.int16)
    affine = np.diag([-0.9, -0.7, 2.5, 1.0])
    write_series(folder, Volume(voxels, affine), flavour, fake_patient(np.random.default_rng(5)), seed=6)
    return read_series(index_folder(folder).series[0])


def report(folder: Path, flavour: str, volumes: dict[str, float], task: SegmentationTask = TASK) -> tuple[Path, Path]:
    """The SEG and the report of a mask."""
    scanned = scan(folder / "series", flavour)
    mask = np.zeros(scanned.volume.shape, dtype=np.uint8)
    mask[2:5, 2:5, 1:3] = task.labels[0].value
    seg, sr = folder / "seg.dcm", folder / "sr.dcm"
    write_seg(seg, mask, scanned, task, "1.2.3")
    write_sr(sr, seg, volumes, scanned, task, "1.2.3")
    return seg, sr


def problems(path: Path) -> list[str]:
    found = subprocess.run(
        [str(Path(sys.executable).parent / "dciodvfy"), str(path)], capture_output=True, text=True, check=False
    )
    lines = (found.stdout + found.stderr).splitlines()
    assert "Comprehensive3DSR" in lines, lines
    return [line for line in lines if line.startswith("Error")]


@pytest.mark.parametrize("flavour", ["ct", "mr", "enhanced_ct", "enhanced_mr"])
def test_the_report_is_valid_and_gives_each_volume_for_its_segment(flavour: str, tmp_path: Path) -> None:
    seg, sr = report(tmp_path, flavour, {"liver": 1.23456, "spleen": 0.0})
    assert problems(sr) == []
    document = srread(sr)
    assert isinstance(document, Comprehensive3DSR)
    groups = document.content.get_volumetric_roi_measurement_groups()
    segmentation = dcmread(seg)
    said = []
    for group in groups:
        (volume,) = group.get_measurements(name=codes.SCT.Volume)
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert volume.unit.value == "ml"
        said.append((group.finding_type.meaning, float(volume.value), int(segment.referenced_segment_numbers[0])))
        described = segmentation.SegmentSequence[said[-1][2] - 1]
        assert group.tracking_uid == described.TrackingUID
        assert group.tracking_identifier == described.TrackingID
    assert said == [("Liver", 1.235, 1), ("Spleen", 0.0, 2)]


def test_the_report_is_complete_but_neither_final_nor_verified(tmp_path: Path) -> None:
    seg, sr = report(tmp_path, "ct", {"liver": 1.0})
    document = dcmread(sr)
    flags = (document.CompletionFlag, document.PreliminaryFlag, document.VerificationFlag)
    assert flags == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")
    assert document.ContentQualification == "RESEARCH"
    assert srread(sr).content.get_observer_contexts()[0].observer_type == codes.DCM.Device
    image = dcmread(next((tmp_path / "series").iterdir()))
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
        assert document[keyword].value == image[keyword].value
    listed = {
        str(instance.ReferencedSOPInstanceUID)
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    images = {str(dcmread(path).SOPInstanceUID) for path in (tmp_path / "series").iterdir()}
    assert listed == images | {str(dcmread(seg).SOPInstanceUID)}


def test_equal_results_make_equal_reports_but_for_uids_and_time(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        _, sr = report(tmp_path / name, "ct", {"liver": 2.5, "spleen": 0.0})
        texts.append(
            [
                (str(element.tag), str(element.value))
                for element in dcmread(sr).iterall()
                if element.VR not in ("UI", "DA", "TM", "DT", "SQ")
            ]
        )
    assert texts[0] == texts[1]


def test_labels_without_codes_are_named_in_a_private_scheme(tmp_path: Path) -> None:
    task = TASK.model_copy(update={"labels": tuple(one.model_copy(update={"code": None}) for one in TASK.labels)})
    _, sr = report(tmp_path, "ct", {"liver": 1.0, "spleen": 2.0}, task)
    assert problems(sr) == []
    groups = srread(sr).content.get_volumetric_roi_measurement_groups()
    assert [group.finding_type.meaning for group in groups] == ["liver", "spleen"]


def test_a_volume_of_an_unknown_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got volumes of kidney") as caught:
        report(tmp_path, "ct", {"kidney": 1.0})
    assert caught.value.reason == "unknown_label"
    assert not (tmp_path / "sr.dcm").exists()
