from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from radfed.errors import DataError, InvalidInputError
from radfed.imaging.nifti import write_image
from radfed.imaging.plane import plane
from radfed.imaging.volume import Volume
from radfed.inference.picture_inputs import find_pictures, read_input
from radfed.preprocessing.picture import prepare_image
from radfed.task import OutcomeTask

DX, MR = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.4"
PIXELS = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)


def task(channel: Mapping[str, Any] = {}, size: tuple[int, ...] = (8, 8), **image: Any) -> OutcomeTask:  # noqa: ANN401
    content = {
        "name": "t",
        "kind": "classification",
        "description": "d",
        "intended_use": "i",
        "image": {"channels": [{"name": "view", **channel}], "size": size, "dimensions": len(size), **image},
        "outcome": {"type": "multiclass", "classes": ["a", "b"]},
        "network": {"encoder": {"name": "ResNet"}},
    }
    return OutcomeTask.check(content, "test")


def png(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).save(path)
    return path


def dicom(path: Path, number: int = 1, sop_class: str = DX, **values: Any) -> Path:  # noqa: ANN401
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    made.PatientID, made.StudyInstanceUID, made.SeriesInstanceUID = "P", "1.2.3", f"1.2.3.{sop_class[-3:]}"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"{made.SeriesInstanceUID}.{number}"
    made.Modality = "DX" if sop_class == DX else "MR"
    made.ImageType, made.InstanceNumber, made.PixelSpacing = ["ORIGINAL", "PRIMARY"], number, [0.5, 0.5]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = PIXELS.shape
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation, made.PixelData = 15, 0, (PIXELS + number).tobytes()
    if sop_class == MR:
        made.ImageOrientationPatient, made.SliceThickness = [1, 0, 0, 0, 1, 0], 2
        made.ImagePositionPatient = [0, 0, 2 * number]
    for keyword, value in values.items():
        setattr(made, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def cases(source: Path, spec: OutcomeTask) -> dict[str, str]:
    """What was found: the case, and how its reading ended."""
    found = {}
    for one in find_pictures(source, spec):
        try:
            found[one.case] = str(read_input(one, spec).array.shape)
        except DataError as error:
            found[one.case] = error.reason
    return found


def test_a_folder_of_all_formats(tmp_path: Path) -> None:
    png(tmp_path / "b.PNG")
    png(tmp_path / "below" / "not_looked_at.png")
    png(tmp_path / "._b.png")
    write_image(tmp_path / "a.nii.gz", plane(PIXELS))
    dicom(tmp_path / "deep" / "er" / "c.dcm")
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    shape = "(1, 30, 20, 1)"
    assert cases(tmp_path, task()) == {"a": shape, "b": shape, "deep-er-c": shape}


@pytest.mark.parametrize("name", ["p1.png", "p1.nii", "p1.nii.gz", "p1.dcm", "p1"])
def test_a_single_file_is_called_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if "nii" in name:
        write_image(path, plane(PIXELS)) if name.endswith("gz") else unpacked(path)
    elif name.endswith("png"):
        png(path)
    else:
        dicom(path)
    assert cases(path, task()) == {"p1": "(1, 30, 20, 1)"}


def unpacked(path: Path) -> None:
    import nibabel as nib

    volume = plane(PIXELS)
    nib.save(nib.Nifti1Image(volume.array[0], volume.affine), path)


def test_two_of_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    write_image(tmp_path / "a.nii.gz", plane(PIXELS))
    png(tmp_path / "b.png")
    dicom(tmp_path / "b.dcm", 7)
    assert [(one.name, one.case) for one in find_pictures(tmp_path, task())] == [
        ("a.nii.gz", "a"), ("a.png", "a"), ("b-7", "b-7"), ("b.png", "b"),
    ]  # fmt: skip
    assert cases(tmp_path, task())["a"] == "same_name"


def test_each_image_of_a_study_is_a_case_if_the_rule_takes_it(tmp_path: Path) -> None:
    dicom(tmp_path / "pa.dcm", 1, SeriesDescription="Thorax p.a.")
    dicom(tmp_path / "lat.dcm", 2, SeriesDescription="Thorax lateral")
    dicom(tmp_path / "other.dcm", 3, SeriesDescription="Thorax lateral", StudyInstanceUID="1.9")
    frontal = task({"modality": "DX", "series": {"exclude": "lateral"}})
    assert cases(tmp_path, task()) == dict.fromkeys(("lat", "other", "pa"), "(1, 30, 20, 1)")
    assert cases(tmp_path, frontal) == {"pa": "(1, 30, 20, 1)", "other": "no_matching_series"}


def test_the_only_image_is_meant_if_its_modality_is_right(tmp_path: Path) -> None:
    path = dicom(tmp_path / "lat.dcm", SeriesDescription="lateral")
    (one,) = find_pictures(path, task({"modality": "DX", "series": {"exclude": "lateral"}}))
    assert "would not choose it" in one.warnings[0]
    assert cases(path, task({"modality": "CR"})) == {"lat": "no_matching_series"}


def test_slices_of_a_series_are_planes_for_a_task_of_planes_and_a_volume_for_one_of_volumes(tmp_path: Path) -> None:
    for number in range(1, 4):
        dicom(tmp_path / "mr" / f"{number}.dcm", number, MR)
    assert cases(tmp_path, task()) == {f"mr-{number}": "(1, 30, 20, 1)" for number in range(1, 4)}
    assert cases(tmp_path, task(size=(8, 8, 8))) == {"mr": "(1, 30, 20, 3)"}


def test_what_is_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    write_image(tmp_path / "v.nii.gz", Volume(np.zeros((1, 4, 5, 6), np.uint8), np.eye(4)))
    assert cases(tmp_path, task(size=(8, 8, 8))) == {"a": "not_a_volume", "v": "(1, 4, 5, 6)"}
    assert cases(tmp_path, task()) == {"a": "(1, 30, 20, 1)", "v": "not_a_plane"}


def test_one_bad_file_stops_no_other(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    whole = dicom(tmp_path / "c.dcm").read_bytes()
    (tmp_path / "c.dcm").write_bytes(whole[:-500])
    (tmp_path / "d.zip").write_bytes(b"PK")
    found = cases(tmp_path, task())
    assert found == {"a": "(1, 30, 20, 1)", "b": "unreadable", "c": "undecodable", "d.zip": "archive"}


def test_limits_of_the_task_hold(tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm")
    assert cases(tmp_path, task(limits={"min_size_mm": [100, 100, 0.5]})) == {"a": "implausible_size"}


def test_nothing_to_judge_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"holds no image; give a \.png"):
        find_pictures(tmp_path, task())
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InvalidInputError, match="holds no image"):
        find_pictures(tmp_path / "a.jpg", task())
    with pytest.raises(InvalidInputError, match="neither a file nor a folder"):
        find_pictures(tmp_path / "nowhere", task())


@pytest.mark.parametrize(
    ("window", "stored", "reason"),
    [(255, np.uint8, None), (255, np.uint16, "mixed_depth"), (4095, np.uint8, "mixed_depth"), (4095, np.uint16, None)],
)
def test_a_png_of_other_bits_than_the_window_is_refused(
    tmp_path: Path, window: float, stored: type[np.uint8] | type[np.uint16], reason: str | None
) -> None:
    """What nothing else would show: 16 bits in a window of 8 are white, 8 bits in one of 16 are black."""
    spec = task(intensity={"rule": "window", "lower": 0, "upper": window})
    Image.fromarray(np.full((8, 6), 100, dtype=stored)).save(tmp_path / "p1.png")
    (one,) = find_pictures(tmp_path / "p1.png", spec)
    if reason is None:
        assert read_input(one, spec).array.dtype == stored
        return
    with pytest.raises(DataError, match="export it as the images for training were") as refused:
        read_input(one, spec)
    assert refused.value.reason == reason


def test_rules_that_follow_an_image_s_own_values_take_any_depth(tmp_path: Path) -> None:
    spec = task(intensity={"rule": "zscore"})
    pixels = np.arange(48, dtype=np.uint8).reshape(8, 6)
    seen = []
    for name, stored in (("p8", pixels), ("p16", pixels.astype(np.uint16) * 257)):
        Image.fromarray(stored).save(tmp_path / f"{name}.png")
        (one,) = find_pictures(tmp_path / f"{name}.png", spec)
        volume = read_input(one, spec)
        seen.append(prepare_image(volume.array.astype(np.float32), volume.affine, spec))
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-5)
