import base64
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import dicom_files as files  # type: ignore[import-not-found]
import gdcm
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from radfed.errors import DataError
from radfed.imaging.dicom.codestream import coded_shape
from radfed.imaging.dicom.decode import check_length, stored_frames
from radfed.imaging.dicom.header import Instance, read_header
from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series

# A synthetic ramp, coded once by OpenJPH 0.26.3; no encoder of HTJ2K is among the dependencies.
HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAIAAAABgAAAAAAAAAAAAAACAAAAAYAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQ"
    "iIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAIsAAf+TwAAmsfMFB3QAAADAABNAABNAABKA9P4CB3QADvYDh3QA8QDHdADAABUQAATQ"
    "AASgDQxigADCtACVqwBCNACQ/jIzAMAALQgABaUAAK5weIYBEZ0s+wCG+fAJZHgAVNoSs1eiHGGl0AEIHuZI8bgAYnggYiHCAAALrpFZeAD/2Q=="
)
HTJ2K_PIXELS = (np.arange(48) * 83 + np.arange(48) % 5 * 7).reshape(6, 8).astype(np.uint16)


def header_of(path: Path) -> Instance:
    found = read_header(path)
    assert isinstance(found, Instance), found
    return found


def first(path: Path) -> NDArray[Any]:
    instance = header_of(path)
    check_length(instance)
    ((number, stored),) = stored_frames(instance, [0])
    assert number == 0
    return stored


def packed(tmp_path: Path, pixels: NDArray[Any], syntax: str, **values: Any) -> Path:  # noqa: ANN401
    """A file whose pixels are compressed without loss."""
    made = files.dataset(pixels, **values)
    path = tmp_path / "one.dcm"
    if syntax in uid.JPEGTransferSyntaxes and syntax not in (uid.JPEGLSLossless, uid.JPEG2000Lossless):
        return with_gdcm(files.save(made, tmp_path / "native"), path)
    made.compress(syntax, encoding_plugin="pydicom" if syntax == uid.RLELossless else "")
    files.save(made, path)
    return path


def with_gdcm(native: Path, path: Path) -> Path:
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(native))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


@pytest.mark.parametrize(
    "syntax",
    [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLosslessSV1],
    ids=["rle", "jpeg_ls", "jpeg_2000", "jpeg_lossless"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_lossless_codes_give_the_values_back(tmp_path: Path, syntax: str, dtype: type[np.generic]) -> None:
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    pixels = np.random.default_rng(3).integers(limits.min, limits.max, (40, 33), endpoint=True).astype(dtype)
    path = packed(tmp_path, pixels, syntax)
    assert header_of(path).transfer_syntax == syntax
    np.testing.assert_array_equal(first(path), pixels)


def test_high_throughput_jpeg_2000(tmp_path: Path) -> None:
    made = files.dataset(HTJ2K_PIXELS)
    made.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    made.PixelData = encapsulate([HTJ2K])
    made["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(first(files.save(made, tmp_path / "one.dcm")), HTJ2K_PIXELS)


@pytest.mark.parametrize(
    "name",
    [
        *("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"),
        *("MR_small_expb.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm"),
        *("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm", "JPEGLSNearLossless_08.dcm", "image_dfl.dcm"),
        "JPEGLSNearLossless_16.dcm",
    ],
)
@pytest.mark.filterwarnings("ignore:.*excess padding:UserWarning")
def test_files_of_other_makers_are_decoded_as_pydicom_does(name: str) -> None:
    path = Path(str(get_testdata_file(name, download=False)))
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    expected = dataset.pixel_array
    np.testing.assert_array_equal(first(path), expected[0] if expected.ndim == 3 else expected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_only_the_bits_of_the_pixel_count(tmp_path: Path, data: st.DataObject) -> None:
    stored = data.draw(st.integers(2, 16), label="stored")
    high = data.draw(st.integers(stored - 1, 15), label="high")
    signed = data.draw(st.booleans(), label="signed")
    rng = np.random.default_rng(data.draw(st.integers(0, 999), label="seed"))
    low = -(2 ** (stored - 1)) if signed else 0
    values = rng.integers(low, low + 2**stored, (4, 6))
    shift = high + 1 - stored
    mask = (2**stored - 1) << shift
    words = ((values << shift) & mask) | (rng.integers(0, 2**16, (4, 6)) & ~mask & 0xFFFF)
    made = files.dataset(
        words.astype(np.uint16), BitsStored=stored, HighBit=high, PixelRepresentation=int(signed), InstanceNumber=1
    )
    np.testing.assert_array_equal(first(files.save(made, tmp_path / "one.dcm")), values)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless], ids=["rle", "jpeg_2000"])
def test_only_the_frames_asked_for(tmp_path: Path, syntax: str) -> None:
    voxels = files.ramp(5, 40, 33)
    made = files.enhanced(voxels, files.positions(5), [(1.0, 0.0)] * 5)
    made.compress(syntax, encoding_plugin="pydicom" if syntax == uid.RLELossless else "")
    instance = header_of(files.save(made, tmp_path / "one.dcm"))
    found = dict(stored_frames(instance, [4, 1]))
    assert sorted(found) == [1, 4]
    for number, stored in found.items():
        np.testing.assert_array_equal(stored, voxels[number])


def undecodable(path: Path, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        first(path)
    assert caught.value.reason == "undecodable"
    assert str(path) not in str(caught.value)


def test_a_code_of_another_size_is_not_handed_to_a_decoder(tmp_path: Path) -> None:
    made = files.dataset(files.ramp(1, 40, 33)[0])
    made.compress(uid.JPEG2000Lossless)
    made.Rows = 80
    undecodable(files.save(made, tmp_path / "one.dcm"), "promises 80 x 33 pixels, the code 40 x 33")


def test_fewer_frames_than_promised(tmp_path: Path) -> None:
    made = files.enhanced(files.ramp(3), files.positions(3), [(1.0, 0.0)] * 3)
    made.compress(uid.RLELossless, encoding_plugin="pydicom")
    instance = header_of(files.save(made, tmp_path / "one.dcm"))
    longer = replace(instance, frames=4, details=(*instance.details, instance.details[0]))
    with pytest.raises(DataError) as caught:
        list(stored_frames(longer, [0, 1, 2, 3]))
    assert caught.value.reason == "undecodable"


def test_a_damaged_code(tmp_path: Path) -> None:
    path = packed(tmp_path, files.ramp(1, 40, 33)[0], uid.JPEG2000Lossless)
    whole = path.read_bytes()
    path.write_bytes(whole[:-80] + bytes(80))
    with pytest.raises(DataError):
        first(path)


def test_a_jpeg_ls_code_cut_short_fails_at_once(tmp_path: Path) -> None:
    path = packed(tmp_path, files.ramp(1, 40, 33)[0], uid.JPEGLSLossless)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    started = process_time()
    with pytest.raises(DataError):
        first(path)
    assert process_time() - started < 2


def test_a_file_cut_in_its_pixels(tmp_path: Path) -> None:
    path = files.save(files.dataset(files.ramp(1)[0]), tmp_path / "one.dcm")
    path.write_bytes(path.read_bytes()[:-7])
    undecodable(path, "cut short: 53 of 60 bytes")


def test_an_unknown_syntax(tmp_path: Path) -> None:
    made = files.dataset(files.ramp(1)[0])
    made.file_meta.TransferSyntaxUID = uid.MPEG4HP41
    made.PixelData = encapsulate([b"video!"])
    made["PixelData"].is_undefined_length = True
    undecodable(files.save(made, tmp_path / "one.dcm"), "a video")


def test_a_file_that_is_gone_is_undecodable(tmp_path: Path) -> None:
    path = files.save(files.dataset(files.ramp(1)[0]), tmp_path / "one.dcm")
    instance = header_of(path)
    path.unlink()
    with pytest.raises(DataError, match="FileNotFoundError"):
        list(stored_frames(instance, [0]))


def test_sizes_in_codes() -> None:
    assert coded_shape(HTJ2K, uid.HTJ2KLossless) == (6, 8)
    assert coded_shape(b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc3\x00\x0b\x08\x00\x11\x00\x0c\x01", uid.JPEGLossless) == (
        17,
        12,
    )
    assert coded_shape(b"\xff\xd8\xff\xf7\x00\x0b\x10\x00\x11\x00\x0c\x01", uid.JPEGLSLossless) == (17, 12)
    assert coded_shape(b"\xff\xd8nonsense and more", uid.JPEGLossless) is None
    assert coded_shape(b"", uid.JPEG2000) is None
    assert coded_shape(b"anything", uid.RLELossless) is None


def test_a_modality_lut_gives_the_units(tmp_path: Path) -> None:
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [4, 0, 16]
    lut.ModalityLUTType = "HU"
    lut.LUTData = [100, 300, 350, 1000]
    lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    voxels = (files.ramp(3) % 4).astype(np.uint16)
    values = {"RescaleSlope": None, "RescaleIntercept": None, "ModalityLUTSequence": [lut]}
    files.series(tmp_path, voxels, files.positions(3), **values)
    (one,) = index_folder(tmp_path).series
    array = read_series(one).volume.array
    np.testing.assert_array_equal(array[0], np.array([100, 300, 350, 1000])[voxels].transpose(2, 1, 0))
