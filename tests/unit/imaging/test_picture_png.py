import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from nibabel import aff2axcodes
from numpy.typing import NDArray
from PIL import Image

from radfed.errors import DataError
from radfed.imaging.nifti import to_ras, write_image
from radfed.imaging.picture import read_picture
from radfed.imaging.plane import NOMINAL_SPACING, as_plane, plane
from radfed.imaging.png import SIGNATURE, read_png
from radfed.imaging.volume import Volume

GREY8 = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
GREY16 = np.arange(6, dtype=np.uint16).reshape(2, 3) * 13000


def raw(path: Path, depth: int, kind: int, rows: list[bytes], columns: int, *extra: tuple[bytes, bytes]) -> Path:
    """A PNG file chunk by chunk, as the standard says, for what Pillow does not write."""
    packed = zlib.compress(b"".join(b"\x00" + row for row in rows))
    header = struct.pack(">IIBBBBB", columns, len(rows), depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", packed), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(SIGNATURE + b"".join(body))
    return path


def saved(folder: Path, pixels: NDArray[np.generic], name: str = "a.png") -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def refused(path: Path, reason: str, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read_picture(path)
    assert caught.value.reason == reason
    assert path.name not in str(caught.value)


@pytest.mark.parametrize("pixels", [GREY8, GREY16], ids=["8", "16"])
def test_grey_values_come_as_they_are_stored(tmp_path: Path, pixels: NDArray[np.generic]) -> None:
    read = read_png(saved(tmp_path, pixels))
    np.testing.assert_array_equal(read, pixels)
    assert read.dtype == pixels.dtype


def test_a_picture_is_a_plane_drawn_upright(tmp_path: Path) -> None:
    volume = read_picture(saved(tmp_path, GREY8))
    assert volume.array.shape == (1, 3, 2, 1)
    assert volume.array[0, 2, 0, 0] == GREY8[0, 2]  # the right end of the top row
    assert aff2axcodes(volume.affine) == ("L", "P", "S")
    assert volume.spacing == (NOMINAL_SPACING, NOMINAL_SPACING, 1.0)


def test_colours_that_are_grey_are_grey(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_png(saved(tmp_path, np.stack([GREY8] * 3, axis=-1))), GREY8)
    grey = raw(tmp_path / "p.png", 2, 3, [b"\x1b"], 4, (b"PLTE", bytes([9, 9, 9, 50, 50, 50, 7, 7, 7, 0, 0, 0])))
    np.testing.assert_array_equal(read_png(grey), [[9, 50, 7, 0]])


def test_the_resolution_of_a_screen_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(GREY8).save(tmp_path / "a.png", dpi=(72, 36))
    assert read_picture(tmp_path / "a.png").spacing[:2] == (NOMINAL_SPACING, NOMINAL_SPACING)


def test_colour_is_refused(tmp_path: Path) -> None:
    colour = np.stack([GREY8] * 3, axis=-1)
    colour[1, 1, 2] += 1
    refused(saved(tmp_path, colour), "colour_image", "in colour")
    palette = raw(tmp_path / "p.png", 8, 3, [b"\x00\x01"], 2, (b"PLTE", bytes([9, 9, 9, 50, 51, 50])))
    refused(palette, "colour_image", "in colour")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_refused_even_where_it_is_opaque(tmp_path: Path, mode: str) -> None:
    Image.fromarray(GREY8).convert(mode).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "transparent_image", "alpha")


def test_a_grey_that_is_marked_transparent_is_refused(tmp_path: Path) -> None:
    refused(raw(tmp_path / "a.png", 8, 0, [b"\x00\x01"], 2, (b"tRNS", b"\x00\x01")), "transparent_image", "marked")


@pytest.mark.parametrize(("depth", "kind", "row"), [(1, 0, b"\xa0"), (2, 0, b"\x1b"), (4, 0, b"\x12\x34")])
def test_fewer_bits_than_a_scan_has_are_refused(tmp_path: Path, depth: int, kind: int, row: bytes) -> None:
    refused(
        raw(tmp_path / "a.png", depth, kind, [row], 4), "bit_depth", f"{depth} bits a sample, grey; allowed: 8 or 16"
    )


def test_sixteen_bits_of_colour_are_refused_and_not_cut_to_eight(tmp_path: Path) -> None:
    refused(raw(tmp_path / "a.png", 16, 2, [b"\x01\x02" * 3], 1), "bit_depth", "16 bits a sample, RGB; allowed: 8")


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY8 + number) for number in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    refused(tmp_path / "a.png", "unsupported_pixels", "animated")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    whole = saved(tmp_path, noise).read_bytes()
    for number, content in enumerate([whole[:20], whole[: len(whole) // 2], b"\xff\xd8\xff\xe0 JFIF", b""]):
        path = tmp_path / f"cut{number}.png"
        path.write_bytes(content)
        refused(path, "unreadable", "PNG")
    for name in ("flipped.png", "kind.png"):
        damaged = bytearray(whole)
        damaged[len(whole) // 2 if name == "flipped.png" else 25] ^= 0x55
        (tmp_path / name).write_bytes(bytes(damaged))
        refused(tmp_path / name, "unreadable", "PNG")


def test_a_header_that_promises_a_bomb_is_not_believed(tmp_path: Path) -> None:
    path = raw(tmp_path / "a.png", 8, 0, [b"\x00"], 1)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60000, 60000)
    path.write_bytes(bytes(content))
    refused(path, "unreadable", "60000 x 60000 pixels")


def test_what_is_nothing_of_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 JFIF")
    refused(tmp_path / "a.jpg", "unreadable", "neither DICOM nor NIfTI nor PNG")


def test_a_nifti_plane_that_went_through_ras_shows_the_same_picture(tmp_path: Path) -> None:
    volume = plane(GREY16, (0.2, 0.3))
    write_image(tmp_path / "a.nii.gz", to_ras(volume))
    back = read_picture(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(to_ras(back).array, to_ras(volume).array)
    np.testing.assert_allclose(to_ras(back).affine, to_ras(volume).affine, atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "codes"), [("coronal", ("R", "A", "S")), ("sagittal", ("A", "S", "R")), ("sagittal", ("S", "L", "P"))]
)
def test_other_planes_are_drawn_as_radiologists_do(axes: str, codes: tuple[str, str, str]) -> None:
    # One bright voxel, at the patient's left (coronal) or face (sagittal), and at the head.
    across = {"coronal": "AP", "sagittal": "LR"}[axes]
    spacings = {"LR": 0.5, "AP": 0.6, "SI": 0.7}
    shape, bright, affine = [], [], np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, code in enumerate(codes):
        pair = next(pair for pair in spacings if code in pair)
        flat = pair == "".join(sorted(across)) or pair == across
        shape.append(1 if flat else {"LR": 4, "AP": 5, "SI": 6}[pair])
        bright.append(0 if flat else shape[-1] - 1 if code in "LAS" else 0)
        affine[list(spacings).index(pair), axis] = spacings[pair] * (1 if code in "RAS" else -1)
    array = np.zeros((1, *shape), dtype=np.uint8)
    array[(0, *bright)] = 1
    drawn = as_plane(Volume(array, affine))
    columns, rows = (4, 6) if axes == "coronal" else (5, 6)
    assert drawn.array.shape == (1, columns, rows, 1)
    # Radiologists see the patient's left on the right, the face on the left, the head on top.
    assert drawn.array[0, columns - 1 if axes == "coronal" else 0, 0, 0] == 1
    assert drawn.spacing == pytest.approx((0.5 if axes == "coronal" else 0.6, 0.7, 1.0))
    assert aff2axcodes(drawn.affine) == ("L", "P", "S")


def test_a_volume_is_no_plane() -> None:
    with pytest.raises(DataError, match="3 x 4 x 5 voxels") as caught:
        as_plane(Volume(np.zeros((1, 3, 4, 5)), np.eye(4)))
    assert caught.value.reason == "not_a_plane"
