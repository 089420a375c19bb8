import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.nifti import (
    check_affine,
    orientation_of,
    read_image,
    read_label,
    to_ras,
    write_image,
    write_mask,
)
from radfed.imaging.volume import Volume

AXES = ("RAS", "LPS", "PSR", "ILA", "SAL", "ARI")


def affine_for(axcodes: str, spacing: tuple[float, float, float] = (1.0, 1.5, 2.5)) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(axcodes):
        world = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}[code]
        affine[world, axis] = spacing[axis] * (1 if code in "RAS" else -1)
    affine[:3, 3] = (12.5, -40.25, 7.0)
    return affine


def random_volume(seed: int, affine: NDArray[np.float64], channels: int = 1) -> Volume:
    array = np.random.default_rng(seed).normal(size=(channels, 5, 6, 7)).astype(np.float32)
    return Volume(array, affine)


def save(path: Path, array: NDArray[np.generic], affine: NDArray[np.float64] | None) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


@pytest.mark.parametrize("axcodes", AXES)
@pytest.mark.parametrize("channels", [1, 3])
def test_written_image_reads_back_the_same(tmp_path: Path, axcodes: str, channels: int) -> None:
    volume = random_volume(1, affine_for(axcodes), channels)
    write_image(tmp_path / "x.nii.gz", volume)
    back = read_image(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-5)
    assert back.array.dtype == np.float32
    assert back.array.flags.c_contiguous


def test_equal_volumes_give_equal_bytes_under_any_name_and_no_leftovers(tmp_path: Path) -> None:
    volume = random_volume(2, affine_for("LPS"))
    for name in ("one.nii.gz", "other.nii.gz"):
        write_image(tmp_path / name, volume)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "other.nii.gz").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one.nii.gz", "other.nii.gz"}


def test_header_says_mm_and_both_forms(tmp_path: Path) -> None:
    write_image(tmp_path / "x.nii.gz", random_volume(2, affine_for("PSR")))
    header = nib.load(tmp_path / "x.nii.gz").header
    assert header.get_xyzt_units()[0] == "mm"
    assert int(header["qform_code"]) == int(header["sform_code"]) == 1
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)


def test_mask_keeps_values_and_type(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 200, size=(4, 5, 6)).astype(np.uint8)
    write_mask(tmp_path / "m.nii.gz", mask, affine_for("LAS"[:3]))
    assert nib.load(tmp_path / "m.nii.gz").get_data_dtype() == np.uint8
    np.testing.assert_array_equal(read_label(tmp_path / "m.nii.gz").array[0], mask)


@pytest.mark.parametrize(
    ("dtype", "stored"), [(np.bool_, np.uint8), (np.int64, np.int16), (np.float64, np.float32), (np.int16, np.int16)]
)
def test_stored_type(tmp_path: Path, dtype: type, stored: type) -> None:
    write_image(tmp_path / "x.nii.gz", Volume(np.ones((1, 3, 3, 3), dtype=dtype), np.eye(4)))
    assert nib.load(tmp_path / "x.nii.gz").get_data_dtype() == stored


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(AXES), st.integers(0, 1000))
def test_to_ras_moves_no_voxel_in_the_world(axcodes: str, seed: int) -> None:
    volume = random_volume(seed, affine_for(axcodes), channels=2)
    ras = to_ras(volume)
    assert orientation_of(ras.affine) == "RAS"
    rng = np.random.default_rng(seed)
    index = np.array([rng.integers(0, side) for side in volume.shape])
    world = volume.affine @ np.append(index, 1)
    there = np.rint(np.linalg.solve(ras.affine, world))[:3].astype(int)
    np.testing.assert_array_equal(ras.array[(slice(None), *there)], volume.array[(slice(None), *index)])


@pytest.mark.parametrize("axcodes", AXES)
def test_to_ras_agrees_with_nibabel(axcodes: str) -> None:
    volume = random_volume(3, affine_for(axcodes))
    reference = nib.as_closest_canonical(nib.Nifti1Image(volume.array[0], volume.affine))
    ras = to_ras(volume)
    np.testing.assert_array_equal(ras.array[0], reference.get_fdata(dtype=np.float32))
    np.testing.assert_allclose(ras.affine, reference.affine)


def test_to_ras_keeps_an_oblique_grid() -> None:
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = affine_for("LPS")
    affine[:3, :3] = turn @ affine[:3, :3]
    ras = to_ras(random_volume(1, affine))
    np.testing.assert_allclose(np.abs(ras.affine[:3, :3]), np.abs(affine[:3, :3]))


def test_channels_of_a_4d_file_are_its_last_axis(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    volume = read_image(save(tmp_path / "x.nii.gz", array, np.eye(4)))
    assert volume.array.shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(volume.array[1], array[..., 1])


def test_scaling_of_the_header_is_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(27, dtype=np.int16).reshape(3, 3, 3), np.eye(4))
    image.header.set_slope_inter(2.0, -1000.0)
    nib.save(image, tmp_path / "x.nii.gz")
    raw = np.asarray(nib.load(tmp_path / "x.nii.gz").dataobj, dtype=np.float32)
    np.testing.assert_array_equal(read_image(tmp_path / "x.nii.gz").array[0], raw)


def test_units_other_than_mm_are_converted(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.diag([0.002, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "x.nii.gz")
    assert read_image(tmp_path / "x.nii.gz").spacing == pytest.approx((2, 2, 3))


@pytest.mark.parametrize(
    "content", [b"", b"not an image", gzip.compress(b"not an image", mtime=0), b"\x1f\x8b\x08\x00broken"]
)
def test_what_is_no_nifti_is_unreadable_and_its_path_stays_secret(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Miller_John.nii.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as NIfTI") as caught:
        read_image(path)
    assert caught.value.reason == "unreadable"
    assert "Miller" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_cut_short_is_unreadable(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "x.nii.gz"
    write_image(path, random_volume(1, np.eye(4)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    for read in (read_image, read_label):
        with pytest.raises(DataError) as caught:
            read(path)
        assert caught.value.reason == "unreadable"


def test_flipped_bits_are_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    write_image(path, random_volume(1, np.eye(4)))
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # the gzip check sum
    path.write_bytes(bytes(content))
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.reason == "unreadable"


def test_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path / "none.nii.gz")


@pytest.mark.parametrize("shape", [(5, 6), (3, 3, 3, 1, 2)])
def test_other_dimensions_are_unreadable(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "x.nii.gz", np.zeros(shape, np.int16), np.eye(4))
    with pytest.raises(DataError, match="3 or 4 dimensions") as caught:
        read_image(path)
    assert caught.value.reason == "unreadable"


def test_complex_voxels_are_unreadable(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii.gz", np.zeros((3, 3, 3), np.complex64), np.eye(4))
    with pytest.raises(DataError, match="real numbers"):
        read_image(path)


def test_singular_affine_is_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, 2] = affine[:3, 1]
    image = nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4))
    image.set_sform(affine, code=1)
    nib.save(image, tmp_path / "x.nii.gz")
    with pytest.raises(DataError, match="singular") as caught:
        read_image(tmp_path / "x.nii.gz")
    assert caught.value.reason == "bad_affine"


def test_unknown_orientation_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii.gz", np.zeros((3, 3, 3), np.int16), None)
    with pytest.raises(DataError, match="left and right are unknown") as caught:
        read_image(path)
    assert caught.value.reason == "bad_affine"


@pytest.mark.parametrize(("shear", "good"), [(5e-4, True), (5e-3, False), (0.2, False)])
def test_shear_is_tolerated_within_1e_3(shear: float, good: bool) -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[1, 2] = 2.0 * shear
    if good:
        check_affine(affine)
    else:
        with pytest.raises(DataError, match="right angles") as caught:
            check_affine(affine)
        assert caught.value.reason == "bad_affine"


def test_affine_with_nan_is_refused() -> None:
    affine = np.eye(4)
    affine[0, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        check_affine(affine)


@pytest.mark.parametrize("bad", [0.5, np.nan, np.inf, 40000.0])
def test_label_must_be_whole(tmp_path: Path, bad: float) -> None:
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = bad
    path = save(tmp_path / "x.nii.gz", array, np.eye(4))
    with pytest.raises(DataError) as caught:
        read_label(path)
    assert caught.value.reason == "not_integer"


def test_label_stored_as_float_with_rounding_is_read(tmp_path: Path) -> None:
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = 2.00001
    label = read_label(save(tmp_path / "x.nii.gz", array, np.eye(4)))
    assert label.array.dtype == np.uint8
    assert label.array.max() == 2


def test_label_with_one_trailing_channel_is_3d_and_with_two_is_refused(tmp_path: Path) -> None:
    one = save(tmp_path / "one.nii.gz", np.ones((3, 4, 5, 1), np.uint8), np.eye(4))
    two = save(tmp_path / "two.nii.gz", np.ones((3, 4, 5, 2), np.uint8), np.eye(4))
    assert read_label(one).array.shape == (1, 3, 4, 5)
    with pytest.raises(DataError, match="must be 3D"):
        read_label(two)
