"""The gate from DICOM files to SEG: it passes what is right, and sees what is mirrored, moved or exchanged."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import radfed.release.dicom_parity as gate
from radfed.errors import GateError, InvalidInputError
from radfed.imaging.dicom.index import Series
from radfed.imaging.dicom.read import read_series as read_as_it_is
from radfed.imaging.dicom.scanned import ScannedVolume
from radfed.imaging.nifti import write_mask as write_nifti_as_it_is
from radfed.imaging.objects.seg import write_seg as write_as_it_is
from radfed.imaging.phantoms_dicom import Flavour, fake_patient, planted_values, write_series
from radfed.imaging.volume import Volume
from radfed.release.cases import dicom_cases, made_up_dicom
from radfed.release.conformance import synthetic_cases
from radfed.release.dicom_parity import DicomCase, DicomCheck, check_dicom, probe
from radfed.release.package import build_release
from radfed.release.seal import seal
from radfed.release.verify import verify
from radfed.task import SegmentationTask, SeriesRule

MakeTask = Callable[..., SegmentationTask]
Windows = NDArray[np.float32]


def bright(windows: Windows) -> Windows:
    """Label 1 where the first channel is somewhat bright, label 4 where it is very bright."""
    first = windows[:, :1]
    return np.concatenate([np.full_like(first, 0.5), first, 2 * first - 1.5], axis=1)


@pytest.fixture(scope="module")
def task(make_task: MakeTask) -> SegmentationTask:
    return make_task()


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, task: SegmentationTask) -> tuple[DicomCase, ...]:
    return made_up_dicom(tmp_path_factory.mktemp("made_up"), task)


def checked(case: DicomCase, task: SegmentationTask) -> DicomCheck:
    return check_dicom(1, case, task, bright, bright, 1e-4)


def test_made_up_series_pass_oblique_classic_multi_frame_and_compressed(
    task: SegmentationTask, cases: tuple[DicomCase, ...]
) -> None:
    checks = [checked(case, task) for case in cases]
    assert [check.transfer_syntax for check in checks] == [
        "Explicit VR Little Endian",
        "JPEG-LS Lossless Image Compression",
        "RLE Lossless",
    ]
    assert [len(case.channels[0].instances) == 1 for case in cases] == [False, False, True]
    for check in checks:
        assert check.labelled
        assert check.disagreement == 0.0
        assert check.frames is not None
        assert check.frames > 3
        assert 0.0 <= check.largest_distance_mm < 1e-4
    for case in cases:
        scanned = read_as_it_is(case.channels[0])
        directions = np.abs(scanned.volume.affine[:3, :3] / scanned.volume.spacing)
        assert np.all(directions.max(axis=0) < 0.999), "no axis of the scanner is one of the patient"
        assert scanned.volume.spacing[0] != pytest.approx(scanned.volume.spacing[1])


@pytest.mark.parametrize("modality", ["CT", "PT", "OT"])
def test_every_modality_and_several_channels_pass(tmp_path: Path, make_task: MakeTask, modality: str) -> None:
    task = make_task(channels=2)
    channels = tuple(channel.model_copy(update={"modality": modality}) for channel in task.channels)
    task = task.model_copy(update={"channels": channels})
    cases = made_up_dicom(tmp_path, task)
    assert {series.modality for case in cases for series in case.channels} == {"MR" if modality == "OT" else modality}
    for case in cases:
        for series in case.channels:
            gate.check_reading(read_as_it_is(series))
    assert checked(cases[-1], task).labelled


def mirrored(axis: int) -> Callable[[Series], ScannedVolume]:
    def read(series: Series) -> ScannedVolume:
        scanned = read_as_it_is(series)
        array = np.flip(scanned.volume.array, axis=1 + axis)
        return replace(scanned, volume=Volume(array, scanned.volume.affine))

    return read


def moved(axis: int) -> Callable[[Series], ScannedVolume]:
    def read(series: Series) -> ScannedVolume:
        scanned = read_as_it_is(series)
        affine = scanned.volume.affine.copy()
        affine[axis, 3] += 0.5 * scanned.volume.spacing[axis]
        return replace(scanned, volume=Volume(scanned.volume.array, affine))

    return read


def one_voxel_off(series: Series) -> ScannedVolume:
    scanned = read_as_it_is(series)
    affine = scanned.volume.affine.copy()
    affine[:3, 3] += affine[:3, 2]
    return replace(scanned, volume=Volume(scanned.volume.array, affine))


def left_is_right(series: Series) -> ScannedVolume:
    scanned = read_as_it_is(series)
    return replace(scanned, volume=Volume(scanned.volume.array, np.diag([-1.0, 1.0, 1.0, 1.0]) @ scanned.volume.affine))


def spacing_swapped(series: Series) -> ScannedVolume:
    """Row and column spacing exchanged: harmless where pixels are square."""
    scanned = read_as_it_is(series)
    affine = scanned.volume.affine.copy()
    first, second, _ = scanned.volume.spacing
    affine[:3, 0] *= second / first
    affine[:3, 1] *= first / second
    return replace(scanned, volume=Volume(scanned.volume.array, affine))


def slices_turned_round(series: Series) -> ScannedVolume:
    """Slices in the opposite order, their sources with them, and the affine left as it was."""
    scanned = read_as_it_is(series)
    sources = tuple(tuple(reversed(channel)) for channel in scanned.sources)
    return replace(scanned, volume=Volume(scanned.volume.array[..., ::-1], scanned.volume.affine), sources=sources)


def half_read(series: Series) -> ScannedVolume:
    scanned = read_as_it_is(series)
    sources = tuple((*channel[:-1], ()) for channel in scanned.sources)
    return replace(scanned, sources=sources)


@pytest.mark.parametrize(
    "wrong",
    [
        *(pytest.param(mirrored(axis), id=f"mirrored-{axis}") for axis in range(3)),
        *(pytest.param(moved(axis), id=f"moved-{axis}") for axis in range(3)),
        one_voxel_off,
        left_is_right,
        spacing_swapped,
        slices_turned_round,
        half_read,
    ],
)
@pytest.mark.parametrize("number", [0, 2])
def test_a_reader_that_puts_voxels_elsewhere_is_caught(
    task: SegmentationTask,
    cases: tuple[DicomCase, ...],
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[Series], ScannedVolume],
    number: int,
) -> None:
    monkeypatch.setattr(gate, "read_series", lambda series, reading: wrong(series))
    with pytest.raises(GateError, match=r"parity: DICOM case 1: (voxels lie|the volume)"):
        checked(cases[number], task)


def _flipped(mask: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.flip(mask, axis=axis))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_writer_that_mirrors_the_mask_is_caught(
    task: SegmentationTask, cases: tuple[DicomCase, ...], monkeypatch: pytest.MonkeyPatch, axis: int
) -> None:
    def write(path: Path, mask: NDArray[np.uint8], *rest: object) -> None:
        write_as_it_is(path, _flipped(mask, axis), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(gate, "write_seg", write)
    with pytest.raises(GateError, match="the SEG and the NIfTI mask show left_part at different places"):
        checked(cases[0], task)


def test_a_writer_that_puts_the_seg_elsewhere_is_caught(
    task: SegmentationTask, cases: tuple[DicomCase, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, mask: NDArray[np.uint8], scanned: ScannedVolume, *rest: object) -> None:
        affine = scanned.volume.affine.copy()
        affine[:3, 3] += 0.05
        write_as_it_is(path, mask, replace(scanned, volume=Volume(scanned.volume.array, affine)), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(gate, "write_seg", write)
    with pytest.raises(GateError, match=r"voxels lie 0\.08\d+ mm from where they should, allowed is 0\.01 mm"):
        checked(cases[0], task)


def test_a_nifti_mask_that_is_mirrored_is_caught(
    task: SegmentationTask, cases: tuple[DicomCase, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, mask: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
        write_nifti_as_it_is(path, _flipped(mask, 0), affine)

    monkeypatch.setattr(gate, "write_mask", write)
    with pytest.raises(GateError, match="at different places of the patient"):
        checked(cases[0], task)


def test_a_model_that_finds_nothing_hides_no_wrong_writer(
    task: SegmentationTask, cases: tuple[DicomCase, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(windows: Windows) -> Windows:
        return np.concatenate([np.ones_like(windows[:, :1]), np.zeros_like(windows[:, :1].repeat(2, 1))], axis=1)

    assert not check_dicom(1, cases[0], task, nothing, nothing, 1e-4).labelled

    def write(path: Path, mask: NDArray[np.uint8], *rest: object) -> None:
        write_as_it_is(path, _flipped(mask, 2), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(gate, "write_seg", write)
    with pytest.raises(GateError, match="different places"):
        check_dicom(1, cases[0], task, nothing, nothing, 1e-4)


def test_a_runtime_that_disagrees_is_caught(task: SegmentationTask, cases: tuple[DicomCase, ...]) -> None:
    with pytest.raises(
        GateError, match=r"DICOM case 3: masks differ in a share of 0\.\d+ of voxels, allowed is 0\.0001"
    ):
        check_dicom(3, cases[0], task, bright, lambda windows: bright(windows * np.float32(0.9)), 1e-4)


@pytest.mark.parametrize("shape", [(6, 6, 4), (20, 20, 12), (7, 30, 5)])
def test_the_probe_is_no_mirror_image_of_itself(task: SegmentationTask, shape: tuple[int, int, int]) -> None:
    mask = probe(shape, task)
    assert set(np.unique(mask)) == {0, *task.label_values}
    marked = mask > 0
    for axis in range(3):
        assert not np.array_equal(np.flip(marked, axis), marked)
    if shape[0] == shape[1]:
        assert not np.array_equal(marked.transpose(1, 0, 2), marked)


@pytest.fixture
def hospital(tmp_path: Path, task: SegmentationTask) -> Path:
    """Three studies of different patients."""
    for number, scan in enumerate(synthetic_cases(task)):
        whole = Volume(np.rint(scan.array), scan.affine)
        patient = fake_patient(np.random.default_rng(number))
        write_series(tmp_path / "pacs" / f"{number}", whole, Flavour.MR, patient, seed=number, description="t2")
    return tmp_path / "pacs"


def test_given_folders_are_chosen_from_as_predict_does_and_nothing_of_them_is_told(
    task: SegmentationTask, hospital: Path
) -> None:
    cases = dicom_cases([hospital], task)
    assert len(cases) == 2
    check = checked(cases[0], task)
    assert not check.made_up
    assert check.frames is None
    assert set(check.model_dump()) == {
        "case",
        "made_up",
        "transfer_syntax",
        "frames",
        "disagreement",
        "labelled",
        "largest_distance_mm",
    }


def test_a_folder_without_a_case_of_the_task_is_refused(task: SegmentationTask, hospital: Path, tmp_path: Path) -> None:
    channel = task.channels[0].model_copy(update={"series": SeriesRule(description="flair")})
    with pytest.raises(InvalidInputError, match="holds no case of the task: no series fits"):
        dicom_cases([hospital], task.model_copy(update={"channels": (channel,)}))
    shutil.rmtree(hospital / "0")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="no DICOM image is in it"):
        dicom_cases([tmp_path / "empty"], task)
    with pytest.raises(InvalidInputError, match="is no folder"):
        dicom_cases([hospital / "0"], task)


def test_a_series_that_cannot_be_read_is_a_refusal(task: SegmentationTask, hospital: Path) -> None:
    next((hospital / "1").glob("*0003.dcm")).unlink()
    [case] = dicom_cases([hospital / "1"], task)
    with pytest.raises(GateError, match=r"DICOM case 1 cannot be read, segmented or written: .*missing"):
        checked(case, task)


def test_a_release_tells_of_given_scans_only_that_they_passed(
    tmp_path: Path, task: SegmentationTask, hospital: Path, make_run: Callable[..., Path]
) -> None:
    release = build_release(make_run(tmp_path / "run", task), tmp_path / "out", dicom=[hospital])
    report = json.loads((release / "evaluation" / "parity.json").read_text())
    assert [(check["case"], check["made_up"], check["frames"]) for check in report["dicom"]] == [
        (1, False, None),
        (2, False, None),
    ]
    assert "the two agree as well on 2 scans; files, SEG" in (release / "README.md").read_text()
    planted = {value for number in range(3) for value in planted_values(fake_patient(np.random.default_rng(number)))}
    content = b"".join(path.read_bytes() for path in release.rglob("*") if path.is_file())
    assert not [value for value in planted if len(value) > 3 and value.encode() in content]


@pytest.mark.parametrize(("key", "value"), [("largest_distance_mm", 1.0), ("disagreement", 0.01)])
def test_verify_refuses_a_report_beyond_the_tolerance(release: Path, key: str, value: float) -> None:
    path = release / "evaluation" / "parity.json"
    content = json.loads(path.read_text())
    content["dicom"][0][key] = value
    path.write_text(json.dumps(content))
    seal(release)
    claims = {claim.name: claim.verdict for claim in verify(release).claims}
    assert claims["parity"] == "FAIL"
    path.write_text(json.dumps(content | {"dicom": []}))
    seal(release)
    assert {claim.name: claim.verdict for claim in verify(release).claims}["parity"] == "FAIL"
