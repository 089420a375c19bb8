from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantoms import frames, validator_errors  # type: ignore[import-not-found]
from numpy.typing import NDArray

from radfed.errors import InvalidInputError
from radfed.imaging.nifti import read_image
from radfed.imaging.phantoms import SCANNERS, Scanner, cohort_case, write_cohort
from radfed.imaging.phantoms_dicom import (
    STYLES,
    Style,
    cohort_patient,
    planted_values,
    write_dicom_cohort,
)

# The demonstration's grids with fewer slices; JPEG 2000 needs 32 rows and columns.
COARSE = Scanner("coarse", (1.6, 1.6, 6.0), "PSR", scale=2500.0, offset=-1000.0, noise=0.05, bias=0.05)


def images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.dcm") if path.name != "seg.dcm")


def voxels(folder: Path) -> NDArray[np.float64]:
    """(H, W, D) of the study's first series, in the order of its files."""
    return np.stack([values.T for path in images(folder) for values, _ in frames(path)], axis=-1)


@pytest.mark.parametrize("style", STYLES, ids=["classic", "enhanced", "compressed"])
@pytest.mark.parametrize("scanner", [SCANNERS["harbour"], COARSE], ids=["harbour", "coarse"])
def test_studies_hold_the_phantoms_that_the_nifti_cohort_holds(style: Style, scanner: Scanner, tmp_path: Path) -> None:
    names = write_dicom_cohort(tmp_path / "dicom", "site-a", scanner, 1, 7, style=style, bad=False)
    assert names == write_cohort(tmp_path / "nifti", "site-a", scanner, 1, 7) == ("phantom_a_001",)
    assert sorted(path.name for path in (tmp_path / "dicom").iterdir()) == list(names)
    expected = read_image(tmp_path / "nifti" / "imagesTr" / "phantom_a_001.nii.gz")
    np.testing.assert_array_equal(voxels(tmp_path / "dicom" / names[0]), expected.array[0])
    np.testing.assert_array_equal(cohort_case("site-a", scanner, 7, 0).image.array, expected.array)


@pytest.mark.parametrize("style", STYLES, ids=["classic", "enhanced", "compressed"])
def test_the_seg_marks_the_organs_where_they_are(style: Style, tmp_path: Path) -> None:
    (name,) = write_dicom_cohort(tmp_path, "site-b", COARSE, 1, 7, style=style, bad=False)
    seg = pydicom.dcmread(tmp_path / name / "seg.dcm")
    assert validator_errors(tmp_path / name / "seg.dcm") == []
    codes = {
        segment.SegmentNumber: (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning)
        for segment in seg.SegmentSequence
        for code in segment.SegmentedPropertyTypeCodeSequence
    }
    assert codes == {1: ("10200004", "SCT", "Liver"), 2: ("78961009", "SCT", "Spleen")}
    case = cohort_case("site-b", COARSE, 7, 0)
    to_index = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ case.label.affine)
    found = np.zeros(case.label.shape, dtype=np.uint8)
    for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        place = np.rint((to_index @ [*position, 1])[2]).astype(int)
        value = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[:, :, place][pixels.T == 1] = value
    np.testing.assert_array_equal(found, case.label.array[0])
    referenced = {
        item.ReferencedSOPInstanceUID
        for series in seg.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    assert referenced == {pydicom.dcmread(path).SOPInstanceUID for path in images(tmp_path / name)}


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    written = []
    for folder in ("one", "two"):
        write_dicom_cohort(tmp_path / folder, "site-c", COARSE, 1, 3, style=STYLES[2])
        files = sorted((tmp_path / folder).rglob("*.dcm"))
        written.append({str(path.relative_to(tmp_path / folder)): path.read_bytes() for path in files})
    assert written[0] == written[1]


def test_bad_studies_lack_a_slice_or_show_a_name(tmp_path: Path) -> None:
    names = write_dicom_cohort(tmp_path, "site-a", COARSE, 1, 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "phantom_a_gap", "phantom_a_text"]
    depth = cohort_case("site-a", COARSE, 7, 1).image.shape[2]
    assert len(images(tmp_path / "phantom_a_gap")) == depth - 1
    flags = {
        (header.Modality, header.get("BurnedInAnnotation"))
        for header in (pydicom.dcmread(path) for path in images(tmp_path / "phantom_a_text"))
    }
    assert flags == {("MR", "YES"), ("OT", None)}
    people = [cohort_patient("site-a", 7, number) for number in range(3)]
    ids = {pydicom.dcmread(images(folder)[0]).PatientID for folder in tmp_path.iterdir()}
    assert ids == {person.id for person in people}


def test_the_files_carry_the_planted_values(tmp_path: Path) -> None:
    (name,) = write_dicom_cohort(tmp_path, "site-a", COARSE, 1, 7, bad=False)
    planted = planted_values(cohort_patient("site-a", 7, 0))
    for path in (images(tmp_path / name)[0], images(tmp_path / name)[-1]):
        assert {value for value in planted if value.encode() not in path.read_bytes()} == set()


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="at least 1 case, got 0"):
        write_dicom_cohort(tmp_path / "none", "site-a", COARSE, 0, 1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(InvalidInputError, match="already holds something"):
        write_dicom_cohort(tmp_path / "full", "site-a", COARSE, 1, 1)
