from pathlib import Path
from typing import Any

import dicom_files as files  # type: ignore[import-not-found]
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence as Items

from radfed.errors import DataError
from radfed.imaging.dicom.hanging import hang
from radfed.imaging.dicom.radiograph import RadiographFacts, radiograph_facts, read_radiograph
from radfed.imaging.phantoms_dicom import fake_patient, write_series
from radfed.imaging.picture import read_picture
from radfed.imaging.plane import NOMINAL_SPACING
from radfed.imaging.volume import Volume

CR, PROCESSING = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
BARE = dict.fromkeys(("ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "FrameOfReferenceUID"))
PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300


def dx(pixels: NDArray[Any] = PIXELS, sop_class: str = files.DX, **values: Any) -> Dataset:  # noqa: ANN401
    twelve = {"BitsStored": 12, "HighBit": 11} if pixels.dtype.itemsize == 2 else {}
    return files.dataset(pixels, sop_class, **(BARE | twelve | {"ImageType": ["ORIGINAL", "PRIMARY", ""]} | values))


def read(folder: Path, made: Dataset) -> tuple[Volume, RadiographFacts]:
    return read_radiograph(files.save(made, folder / "image.dcm"))


def drawn(volume: Volume) -> NDArray[Any]:
    """As on a screen: rows, columns."""
    return np.asarray(volume.array[0, :, :, 0].T)


def grey(folder: Path, made: Dataset) -> NDArray[Any]:
    return drawn(read(folder, made)[0])


def lut(first: int, entries: NDArray[Any], bits: int, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 2**16, first, bits])
    data = entries.tolist() if vr == "US" else entries.astype("<u2").tobytes()
    item.add_new("LUTData", vr, data)
    return item


def refused(folder: Path, made: Dataset, reason: str, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read(folder, made)
    assert caught.value.reason == reason
    assert "P1" not in str(caught.value)


def test_a_bare_image_keeps_its_values_in_a_compact_type(tmp_path: Path) -> None:
    values = grey(tmp_path, dx())
    np.testing.assert_array_equal(values, PIXELS)
    assert values.dtype == np.uint16


def test_monochrome1_is_turned_round_within_the_bits_that_are_stored(tmp_path: Path) -> None:
    made = dx(PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(grey(tmp_path, made), 4095 - PIXELS.astype(int))
    assert read(tmp_path, made)[1].steps == ("inverted MONOCHROME1",)


def test_monochrome1_shows_the_same_picture_as_its_negative_in_monochrome2(tmp_path: Path) -> None:
    window: dict[str, Any] = {"WindowCenter": 1500, "WindowWidth": 1000}
    one = grey(tmp_path, dx(PhotometricInterpretation="MONOCHROME1", VOILUTFunction="LINEAR_EXACT", **window))
    window = {"WindowCenter": 4095 - 1500, "WindowWidth": 1000}
    two = grey(tmp_path, dx((4095 - PIXELS).astype(np.uint16), VOILUTFunction="LINEAR_EXACT", **window))
    np.testing.assert_allclose(one, two, atol=1e-3)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # PS3.3 C.11.2.1.2.1 and C.11.2.1.3 by hand, for the stored values 0, 300, ... with c = 1500, w = 1201.
        (None, lambda x: np.clip(((x - 1499.5) / 1200 + 0.5) * 4095, 0, 4095)),
        ("LINEAR", lambda x: np.clip(((x - 1499.5) / 1200 + 0.5) * 4095, 0, 4095)),
        ("LINEAR_EXACT", lambda x: np.clip(((x - 1500) / 1201 + 0.5) * 4095, 0, 4095)),
        ("SIGMOID", lambda x: 4095 / (1 + np.exp(-4 * (x - 1500) / 1201))),
    ],
)
def test_a_window_is_applied_as_the_standard_says(tmp_path: Path, function: str | None, expected: Any) -> None:  # noqa: ANN401
    made = dx(WindowCenter=[1500, 9], WindowWidth=[1201, 2], VOILUTFunction=function)
    np.testing.assert_allclose(grey(tmp_path, made), expected(PIXELS.astype(float)), rtol=1e-6, atol=1e-3)


def test_a_window_comes_after_the_rescale(tmp_path: Path) -> None:
    made = dx(RescaleSlope="0.5", RescaleIntercept="-100", WindowCenter="400.5", WindowWidth="601")
    units = PIXELS * 0.5 - 100
    expected = np.clip((units - 400) / 600 + 0.5, 0, 1) * (4095 * 0.5) - 100
    np.testing.assert_allclose(grey(tmp_path, made), expected, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(grey(tmp_path, made), apply_voi_lut(apply_modality_lut(PIXELS, made), made), atol=1e-3)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [False, True])
def test_windows_are_those_of_pydicom(tmp_path: Path, function: str, signed: bool) -> None:
    stored = np.random.default_rng(1).integers(-2048 if signed else 0, 2047 if signed else 4095, (9, 7))
    stored = stored.astype(np.int16 if signed else np.uint16)
    made = dx(stored, VOILUTFunction=function, WindowCenter="700.25", WindowWidth="1800.5")
    np.testing.assert_allclose(grey(tmp_path, made), apply_voi_lut(stored, made), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_a_voi_lut_comes_before_a_window_and_of_several_the_first_counts(tmp_path: Path, vr: str) -> None:
    entries = np.sqrt(np.arange(3000)).astype(np.uint16) * 1000
    tables = Items([lut(200, entries, 16, vr), lut(0, entries[::-1], 16, vr)])
    made = dx(VOILUTSequence=tables, WindowCenter=1, WindowWidth=2)
    np.testing.assert_array_equal(grey(tmp_path, made), entries[np.clip(PIXELS.astype(int) - 200, 0, 2999)])
    np.testing.assert_array_equal(grey(tmp_path, made), apply_voi_lut(PIXELS, made))
    assert read(tmp_path, made)[1].steps == ("VOI LUT",)


def test_a_voi_lut_of_eight_bits_is_indexed_with_all_bits_of_the_input(tmp_path: Path) -> None:
    # pydicom 3.0 wraps the index at 256 here.
    entries = (np.arange(4096) // 16).astype(np.uint16)
    made = dx(VOILUTSequence=Items([lut(0, entries, 8)]))
    np.testing.assert_array_equal(grey(tmp_path, made), PIXELS // 16)


def test_entries_of_eight_bits_may_be_packed(tmp_path: Path) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 8])
    item.add_new("LUTData", "OW", (np.arange(4096) // 16).astype(np.uint8).tobytes())
    np.testing.assert_array_equal(grey(tmp_path, dx(VOILUTSequence=Items([item]))), PIXELS // 16)


def test_the_modality_lut_comes_before_the_voi_lut(tmp_path: Path) -> None:
    modality, voi = np.arange(4096)[::-1].astype(np.uint16), (np.arange(4096) * 2).astype(np.uint16)
    made = dx(ModalityLUTSequence=Items([lut(0, modality, 12)]), VOILUTSequence=Items([lut(0, voi, 13)]))
    np.testing.assert_array_equal(grey(tmp_path, made), (4095 - PIXELS.astype(int)) * 2)
    assert read(tmp_path, made)[1].steps == ("Modality LUT", "VOI LUT")


def test_monochrome1_is_turned_round_after_the_voi_lut(tmp_path: Path) -> None:
    made = dx(
        PhotometricInterpretation="MONOCHROME1",
        VOILUTSequence=Items([lut(0, (np.arange(4096) // 4).astype(np.uint16), 10)]),
    )
    np.testing.assert_array_equal(grey(tmp_path, made), 1023 - PIXELS // 4)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("value", "limit"), [(3300, None), (0, None), (3000, 4095), (4095, 3000)])
def test_padding_is_dark_whatever_was_stored(tmp_path: Path, photometric: str, value: int, limit: int | None) -> None:
    made = dx(PhotometricInterpretation=photometric, PixelPaddingValue=value, PixelPaddingRangeLimit=limit)
    ends = sorted((value, value if limit is None else limit))
    padded = np.isin(PIXELS, range(ends[0], ends[1] + 1))
    shown = PIXELS.astype(int) if photometric == "MONOCHROME2" else 4095 - PIXELS.astype(int)
    values = grey(tmp_path, made)
    np.testing.assert_array_equal(values[~padded], shown[~padded])
    assert padded.any()
    assert (values[padded] == shown[~padded].min()).all()


def test_an_image_that_is_all_padding_is_left_as_it_is(tmp_path: Path) -> None:
    values = grey(tmp_path, dx(PixelPaddingValue=0, PixelPaddingRangeLimit=4095))
    np.testing.assert_array_equal(values, PIXELS)


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ({"PixelSpacing": ["0.3", "0.2"], "ImagerPixelSpacing": ["0.4", "0.4"]}, (0.2, 0.3)),
        ({"PixelSpacing": None, "ImagerPixelSpacing": ["0.15", "0.14"]}, (0.14, 0.15)),
        ({"PixelSpacing": None, "NominalScannedPixelSpacing": ["0.17", "0.18"]}, (0.18, 0.17)),
        ({"PixelSpacing": None}, (NOMINAL_SPACING, NOMINAL_SPACING)),
        ({"PixelSpacing": None, "PixelAspectRatio": ["2", "1"]}, (NOMINAL_SPACING / 2, NOMINAL_SPACING)),
    ],
)
def test_the_spacing_is_the_patients_then_the_detectors_then_the_films(
    tmp_path: Path, attributes: dict[str, Any], spacing: tuple[float, float]
) -> None:
    volume, facts = read(tmp_path, dx(**attributes))
    assert volume.spacing == pytest.approx((*spacing, 1.0))
    assert any("no pixel spacing" in step for step in facts.steps) == (spacing[1] == NOMINAL_SPACING)


# A person of 3 rows and 4 columns: what must be seen is 1 where the head and the patient's left are, the corner at the
# top right.
SEEN = np.zeros((3, 4), dtype=np.uint16)
SEEN[0, 3] = 1000
SEEN[2, 0] = 500
LAYS = {
    "L\\F": SEEN,
    "R\\F": SEEN[:, ::-1],
    "L\\H": SEEN[::-1],
    "R\\H": SEEN[::-1, ::-1],
    "F\\L": SEEN.T,
    "H\\L": SEEN.T[:, ::-1],
    "F\\R": SEEN.T[::-1],
    "H\\R": SEEN.T[::-1, ::-1],
}


@pytest.mark.parametrize("code", LAYS)
def test_a_frontal_view_hangs_upright_with_the_left_on_the_right(tmp_path: Path, code: str) -> None:
    made = dx(np.ascontiguousarray(LAYS[code]), PatientOrientation=code.split("\\"), PixelSpacing=[0.3, 0.2])
    volume, facts = read(tmp_path, made)
    np.testing.assert_array_equal(drawn(volume), SEEN)
    turned = code[0] in "HF"
    assert volume.spacing == pytest.approx((0.3, 0.2, 1.0) if turned else (0.2, 0.3, 1.0))
    assert bool(facts.steps) == (code != "L\\F")


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("A\\F", SEEN),
        ("P\\F", SEEN),
        ("A\\FR", SEEN),
        ("P\\H", SEEN[::-1, ::-1]),
        ("F\\A", np.rot90(SEEN, -1)),
        ("F\\P", np.rot90(SEEN, -1)),
        ("H\\A", np.rot90(SEEN)),
        ("L\\P", SEEN),
        ("", SEEN),
        ("L", SEEN),
        ("X\\F", SEEN),
    ],
)
def test_other_views_are_turned_at_most_and_never_mirrored(code: str, seen: NDArray[Any]) -> None:
    np.testing.assert_array_equal(hang(SEEN, code)[0], seen)


def test_a_slice_keeps_its_units_and_its_place(tmp_path: Path) -> None:
    hu = files.dataset(PIXELS, files.CT, WindowCenter=40, WindowWidth=400, PatientOrientation=["R", "F"])
    volume, facts = read(tmp_path, hu)
    np.testing.assert_array_equal(drawn(volume), PIXELS.astype(int) - 1024)
    assert volume.spacing == pytest.approx((0.5, 0.8, 1.0))
    assert facts.steps == ()


def test_old_radiographs_in_a_secondary_capture_are_radiographs(tmp_path: Path) -> None:
    made = dx(sop_class=CAPTURE, Modality="CR", WindowCenter=1500, WindowWidth=1201)
    assert read(tmp_path, made)[1].steps == ("LINEAR window",)


def test_facts_are_those_of_the_header(tmp_path: Path) -> None:
    made = dx(sop_class=CR, Modality="CR", AccessionNumber="A-17", Manufacturer="Maker", ManufacturerModelName="M 1",
              DetectorType="SCINTILLATOR", ViewPosition="PA", Laterality="L")  # fmt: skip
    facts = radiograph_facts(files.save(made, tmp_path / "image.dcm"))
    assert (facts.accession, facts.detector, facts.view, facts.laterality) == ("A-17", "SCINTILLATOR", "PA", "L")
    assert (facts.instance.modality, facts.instance.manufacturer, facts.instance.model) == ("CR", "Maker", "M 1")
    assert facts.instance.patient == "P1"
    assert facts == read(tmp_path, made)[1]
    assert "A-17" not in repr(facts)
    assert "P1" not in repr(facts)


def test_what_is_no_grey_picture_of_the_patient_is_refused(tmp_path: Path) -> None:
    colour = dx(np.zeros((3, 4), np.uint8), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    colour.PixelData = bytes(36)
    refused(tmp_path, colour, "unsupported_pixels", "3 sample")
    refused(tmp_path, dx(np.zeros((3, 4), np.uint8), PhotometricInterpretation="PALETTE COLOR"), "unsupported_pixels",
            "PALETTE COLOR")  # fmt: skip
    refused(tmp_path, dx(sop_class=PROCESSING, Modality="DX"), "unsupported_pixels", "for processing")
    cine = dx(np.zeros((2, 3, 4), np.uint16), NumberOfFrames=2)
    refused(tmp_path, cine, "unsupported_pixels", "2 frames")
    refused(tmp_path, dx(Modality="SEG"), "unsupported_pixels", "no image of a patient")
    refused(tmp_path, dx(PixelSpacing=["0", "0.2"]), "missing_geometry", "above 0")
    refused(tmp_path, dx(PixelSpacing=None, PixelAspectRatio=["1", "0"]), "missing_geometry", "above 0")
    short = dx()
    short.PixelData = short.PixelData[:8]
    refused(tmp_path, short, "undecodable", "promises 24 bytes")


@pytest.mark.parametrize(
    "values",
    [
        {"WindowCenter": 10, "WindowWidth": 0},
        {"WindowCenter": 10, "WindowWidth": 100, "VOILUTFunction": "CUBIC"},
        {"VOILUTSequence": Items([lut(0, np.arange(7), 40)])},
        {"PhotometricInterpretation": "MONOCHROME1", "ModalityLUTSequence": Items([lut(0, np.arange(9), 0)])},
    ],
)
def test_a_window_or_table_that_makes_no_sense_is_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    refused(tmp_path, dx(**values), "undecodable", "grey values cannot be made")


def test_a_table_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    table = lut(0, np.arange(4096), 12, "OW")
    table.LUTData = table.LUTData[:-2000]
    refused(tmp_path, dx(VOILUTSequence=Items([table])), "undecodable", "grey values")


def test_the_phantoms_of_cr_and_dx_show_what_was_drawn(tmp_path: Path) -> None:
    drawing = np.random.default_rng(5).integers(0, 4095, (1, 12, 9, 1)).astype(np.int32)
    volume = Volume(drawing, np.diag([-0.4, -0.3, 1.0, 1.0]))
    patient = fake_patient(np.random.default_rng(7))
    for flavour in ("cr", "dx"):
        (path,) = write_series(tmp_path / flavour, volume, flavour, patient, seed=3)
        read_back = read_picture(path)
        np.testing.assert_allclose(read_back.affine, volume.affine, atol=1e-9)
        np.testing.assert_allclose(read_back.array, drawing, atol=1.01 if flavour == "dx" else 0)


def test_a_picture_of_dicom_needs_no_suffix(tmp_path: Path) -> None:
    files.save(dx(), tmp_path / "IM0001")
    np.testing.assert_array_equal(drawn(read_picture(tmp_path / "IM0001")), PIXELS)
