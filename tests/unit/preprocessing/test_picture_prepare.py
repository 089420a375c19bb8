from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from radfed.errors import DataError, InvalidInputError
from radfed.imaging.nifti import read_image, to_ras, write_image
from radfed.imaging.picture import read_picture
from radfed.imaging.plane import plane
from radfed.imaging.volume import Volume
from radfed.preprocessing.picture import picture_digest, prepare_image
from radfed.preprocessing.resize import resize
from radfed.task import OutcomeTask

RAW = {"rule": "window", "lower": 0, "upper": 1}


def task(size: tuple[int, ...] = (8, 8), channels: int = 1, **image: Any) -> OutcomeTask:  # noqa: ANN401
    content = {
        "name": "t",
        "kind": "classification",
        "description": "d",
        "intended_use": "i",
        "image": {
            "channels": [{"name": f"c{number}"} for number in range(channels)],
            "size": size,
            "dimensions": len(size),
            **image,
        },
        "outcome": {"type": "multiclass", "classes": ["a", "b"]},
        "network": {"encoder": {"name": "ResNet"}},
    }
    return OutcomeTask.check(content, "test")


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def prepared(volume: Volume, spec: OutcomeTask) -> NDArray[np.float32]:
    return prepare_image(volume.array.astype(np.float32), volume.affine, spec)


@given(sides=st.tuples(*[st.integers(1, 60)] * 4), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_resizing_is_that_of_pillow(sides: tuple[int, int, int, int], seed: int) -> None:
    rows, columns, to_rows, to_columns = sides
    picture = noise(rows, columns, seed=seed)
    expected = np.asarray(Image.fromarray(picture).resize((to_columns, to_rows), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize(picture, (to_rows, to_columns)), expected, atol=2e-6)


def test_a_fine_pattern_becomes_its_mean_and_no_false_stripes() -> None:
    stripes = np.tile(np.array([0.0, 1.0], dtype=np.float32), (96, 48))
    np.testing.assert_allclose(resize(stripes, (13, 13))[:, 1:-1], 0.5, atol=0.02)


def test_a_constant_stays_and_axes_of_the_right_length_are_left_alone() -> None:
    np.testing.assert_allclose(resize(np.full((1, 7, 9, 5), 3.5, np.float32), (20, 2, 5)), 3.5, atol=1e-6)
    picture = noise(1, 7, 9)
    np.testing.assert_array_equal(resize(picture, (7, 9)), picture)


def test_a_picture_of_the_right_size_is_not_resampled_and_comes_upright() -> None:
    picture = noise(8, 6)
    made = prepared(plane(picture), task((6, 8), intensity=RAW))
    np.testing.assert_array_equal(made, picture.T[np.newaxis])
    assert made.dtype == np.float32
    assert made.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_left_stays_left_and_top_stays_top(fit: str) -> None:
    picture = np.zeros((40, 30), dtype=np.float32)
    picture[:20, 15:] = 1  # top right
    made = prepared(plane(picture), task((16, 16), fit=fit, intensity=RAW))[0]
    inner = made[2:-2]
    assert inner[8:, :7].mean() > 0.9
    assert inner[:, 9:].max() == 0
    assert inner[:4].max() == 0


def test_other_orientations_of_the_task_mirror_the_picture() -> None:
    volume = plane(noise(8, 8))
    upright = prepared(volume, task(intensity=RAW))
    np.testing.assert_array_equal(prepared(volume, task(intensity=RAW, orientation="RAS")), upright[:, ::-1, ::-1])
    np.testing.assert_array_equal(prepared(volume, task(intensity=RAW, orientation="RPS")), upright[:, ::-1])


@given(rows=st.integers(2, 40), columns=st.integers(2, 40), high=st.floats(0.1, 2), wide=st.floats(0.1, 2))
@settings(max_examples=60, deadline=None)
def test_padding_keeps_the_proportions_in_mm(rows: int, columns: int, high: float, wide: float) -> None:
    assume((rows, columns) != (32, 32))  # a picture that has the size already is not resampled, square pixels or not
    made = prepared(plane(noise(rows, columns), (wide, high)), task((32, 32), intensity=RAW))[0]
    there = made != made.min()
    got = there.any(axis=1).sum(), there.any(axis=0).sum()
    scale = 32 / max(rows * high, columns * wide)
    # Half a pixel of rounding, and one whose only value is the least.
    assert got == pytest.approx((max(1, columns * wide * scale), max(1, rows * high * scale)), abs=1.51)


def test_padding_is_centred_and_as_dark_as_the_darkest() -> None:
    made = prepared(plane(noise(4, 8)), task((8, 8)))[0]
    np.testing.assert_array_equal(made[:, :2], np.full((8, 2), made.min()))
    np.testing.assert_array_equal(made[:, 6:], np.full((8, 2), made.min()))
    assert (made[:, 2:6] > made.min()).any()


def test_padding_plays_no_part_in_the_intensities() -> None:
    made = prepared(plane(noise(4, 8)), task((8, 8), intensity={"rule": "zscore"}))[0]
    assert made[:, 2:6].mean() == pytest.approx(0, abs=1e-5)
    assert made[:, 2:6].std() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("intensity", [{"rule": "zscore"}, RAW])
def test_what_is_prepared_stays_as_it_is(intensity: dict[str, Any]) -> None:
    spec = task((16, 16), intensity=intensity)
    once = prepared(plane(noise(40, 40)), spec)
    np.testing.assert_allclose(prepared(plane(once[0].T), spec), once, atol=1e-5)


@pytest.mark.parametrize("rule", ["zscore", "percentile"])
def test_units_of_the_export_do_not_matter(rule: str) -> None:
    spec = task((16, 16), intensity={"rule": rule})
    picture = noise(33, 40)
    np.testing.assert_allclose(prepared(plane(picture * 4000 + 17), spec), prepared(plane(picture), spec), atol=1e-3)


def test_png_dicom_and_the_prepared_dataset_give_the_same_picture(tmp_path: Path) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (30, 44), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture.astype(np.uint16) * 257).save(tmp_path / "wide.png")
    dicom(tmp_path / "a.dcm", picture, "MONOCHROME2")
    dicom(tmp_path / "negative.dcm", 255 - picture, "MONOCHROME1")
    write_image(tmp_path / "a.nii.gz", to_ras(plane(picture)))
    stored = read_image(tmp_path / "a.nii.gz")
    spec = task((24, 24))
    png = prepared(read_picture(tmp_path / "a.png"), spec)
    for name in ("a.dcm", "negative.dcm", "a.nii.gz"):
        np.testing.assert_array_equal(prepared(read_picture(tmp_path / name), spec), png)
    np.testing.assert_array_equal(prepared(stored, spec), png)
    np.testing.assert_allclose(prepared(read_picture(tmp_path / "wide.png"), spec), png, atol=1e-4)


def dicom(path: Path, pixels: NDArray[np.uint8], photometric: str) -> None:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.Modality, made.ImagerPixelSpacing, made.PatientOrientation = "DX", [0.2, 0.2], ["L", "F"]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, photometric
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.PixelData = 7, 0, pixels.tobytes()
    made.save_as(path, enforce_file_format=True)


def test_a_volume_is_resampled_to_the_spacing_then_cropped_or_padded_about_its_centre() -> None:
    volume = Volume(noise(1, 20, 12, 6), np.diag([-0.5, -1.0, 2.0, 1.0]))
    spec = task((8, 16, 12), spacing=(1, 1, 1), intensity=RAW)
    made = prepared(volume, spec)
    assert made.shape == (1, 8, 16, 12)
    whole = resize(volume.array, (10, 12, 12))
    np.testing.assert_allclose(made[:, :, 2:14], whole[:, 1:9], atol=1e-6)
    np.testing.assert_array_equal(made[:, :, :2], np.full((1, 8, 2, 12), whole.min(), np.float32))


def test_a_volume_without_spacing_is_resized_as_a_whole() -> None:
    volume = Volume(noise(1, 20, 12, 6), np.diag([-0.5, -1.0, 2.0, 1.0]))
    stretched = prepared(volume, task((10, 10, 10), fit="stretch", intensity=RAW))
    np.testing.assert_allclose(stretched, resize(volume.array, (10, 10, 10)), atol=1e-6)
    padded = prepared(volume, task((12, 12, 12), fit="pad", intensity=RAW))  # 10 x 12 x 12 mm
    np.testing.assert_array_equal(padded[:, 0], np.full((1, 12, 12), padded.min()))
    np.testing.assert_allclose(padded[:, 1:11], resize(volume.array, (10, 12, 12)), atol=1e-6)


def test_a_volume_is_oriented_whatever_its_axes() -> None:
    array = noise(1, 8, 8, 8)
    one = Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    spec = task((8, 8, 8), intensity=RAW)
    np.testing.assert_array_equal(prepared(one, spec), array)
    np.testing.assert_array_equal(prepared(to_ras(one), spec), array)
    turned = Volume(array.transpose(0, 3, 1, 2), one.affine[:, [2, 0, 1, 3]])
    np.testing.assert_array_equal(prepared(turned, spec), array)


def test_the_channels_are_the_tasks() -> None:
    two = np.concatenate([plane(noise(8, 8)).array, plane(noise(8, 8, seed=1)).array])
    affine = plane(noise(8, 8)).affine
    assert prepare_image(two, affine, task(channels=2)).shape == (2, 8, 8)
    with pytest.raises(DataError, match=r"2 channel\(s\), the task t needs 1: c0") as caught:
        prepare_image(two, affine, task())
    assert caught.value.reason == "channel_mismatch"


def test_what_is_no_plane_or_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="5 slices") as caught:
        prepare_image(noise(1, 8, 8, 5), np.diag([-1.0, -1.0, 1.0, 1.0]), task())
    assert caught.value.reason == "not_a_plane"
    broken = noise(1, 8, 8, 1)
    broken[0, 3, 3] = np.nan
    with pytest.raises(DataError, match="NaN") as caught:
        prepare_image(broken, np.eye(4), task())
    assert caught.value.reason == "non_finite"


def test_a_task_without_an_image_has_none_to_prepare() -> None:
    content = task().model_dump(mode="json") | {
        "kind": "tabular",
        "image": None,
        "covariates": [{"type": "numeric", "name": "age"}],
        "network": {"name": "OutcomeNetwork"},
    }
    tabular = OutcomeTask.check(content, "test")
    with pytest.raises(InvalidInputError, match="has no image"):
        prepare_image(noise(1, 8, 8, 1), np.eye(4), tabular)
    with pytest.raises(InvalidInputError, match="has no image"):
        picture_digest(tabular)


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({"size": (8, 9)}, True),
        ({"fit": "stretch"}, True),
        ({"orientation": "RAS"}, True),
        ({"intensity": {"rule": "zscore"}}, True),
        ({"limits": {"max_spacing": 3}}, False),
        ({"channels": [{"name": "other", "modality": "DX"}]}, False),
    ],
)
def test_the_digest_changes_with_what_decides_the_array(change: dict[str, Any], matters: bool) -> None:
    image = {"channels": [{"name": "c0"}], "size": (8, 8)} | change
    changed = OutcomeTask.check(task().model_dump(mode="json") | {"image": image}, "test")
    assert (picture_digest(changed) != picture_digest(task())) == matters
    assert picture_digest(task()) == picture_digest(task())
