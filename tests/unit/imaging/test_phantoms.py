import json
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, center_of_mass

from radfed.errors import InvalidInputError
from radfed.imaging.nifti import orientation_of, read_image, read_label, to_ras
from radfed.imaging.phantoms import LIVER, SCANNERS, SPLEEN, Scanner, phantom_case, write_cohort

ALL = pytest.mark.parametrize("scanner", SCANNERS.values(), ids=list(SCANNERS))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@ALL
def test_voxel_volumes_are_the_analytic_ones(scanner: Scanner) -> None:
    voxel = np.prod(scanner.spacing)
    ratios: dict[int, list[float]] = {LIVER: [], SPLEEN: []}
    for seed in range(10):
        case = phantom_case(seed, scanner)
        for value in (LIVER, SPLEEN):
            ratios[value].append(float((case.label.array == value).sum() * voxel / case.volumes_mm3[value]))
    assert ratios[LIVER] == pytest.approx([1.0] * 10, abs=0.02)
    assert ratios[SPLEEN] == pytest.approx([1.0] * 10, abs=0.07)  # a few hundred voxels each
    assert all(abs(np.mean(found) - 1) < 0.01 for found in ratios.values())


@ALL
def test_the_liver_is_right_and_the_spleen_left_in_the_world(scanner: Scanner) -> None:
    for seed in range(10):
        case = phantom_case(seed, scanner)
        x = {
            value: (case.label.affine @ np.append(center_of_mass(case.label.array[0] == value), 1))[0]
            for value in (LIVER, SPLEEN)
        }
        # RAS+: the patient's right has the larger x.
        assert x[LIVER] - x[SPLEEN] > 20


@ALL
def test_grid_is_the_scanners(scanner: Scanner) -> None:
    case = phantom_case(3, scanner)
    assert orientation_of(case.image.affine) == scanner.orientation
    assert case.image.spacing == pytest.approx(scanner.spacing)
    assert case.image.array.shape == case.label.array.shape
    assert all(28 <= side <= 60 for side in case.image.shape)
    assert case.label.array.dtype == np.uint8
    assert set(np.unique(case.label.array)) == {0, LIVER, SPLEEN}


@ALL
def test_organs_stand_out_of_their_surroundings_but_a_threshold_does_not_find_them(scanner: Scanner) -> None:
    found = []
    for seed in range(6):
        case = phantom_case(seed, scanner)
        image, label = case.image.array[0], case.label.array[0]
        for value in (LIVER, SPLEEN):
            around = binary_dilation(label == value, iterations=3) & (label == 0)
            assert np.median(image[label == value]) > np.median(image[around])
        # Even a threshold that is tuned on each case's own truth is far from the spleen.
        masks = [image > level for level in np.percentile(image, np.arange(80, 100, 0.5))]
        found.append(max(2 * (m & (label == SPLEEN)).sum() / (m.sum() + (label == SPLEEN).sum()) for m in masks))
    assert np.mean(found) < 0.7


def test_scanners_differ_in_grid_and_intensity() -> None:
    assert len({scanner.orientation for scanner in SCANNERS.values()}) >= 4
    maxima = [phantom_case(1, scanner).image.array.max() for scanner in SCANNERS.values()]
    assert max(maxima) > 5 * min(maxima)


def test_equal_seeds_give_equal_cases_and_others_differ() -> None:
    scanner = SCANNERS["north"]
    one, same, other = (phantom_case(seed, scanner) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.image.array, same.image.array)
    assert one.volumes_mm3 == same.volumes_mm3 != other.volumes_mm3


def test_unlabelled_bright_spheres_distract() -> None:
    # With no noise, shading or texture to speak of, the brightest voxels belong to no organ.
    scanner = Scanner("quiet", (1.5, 1.5, 1.5), "RAS", scale=1000.0, offset=0.0, noise=0.0, bias=0.0)
    case = phantom_case(0, scanner)
    bright = case.image.array[0] > 900
    assert bright.sum() >= 5
    assert not (case.label.array[0][bright] > 0).any()


def test_cohort_is_byte_identical_and_in_msd_layout(tmp_path: Path) -> None:
    ids = write_cohort(tmp_path / "one", "site-a", SCANNERS["valley"], cases=3, seed=7)
    write_cohort(tmp_path / "two", "site-a", SCANNERS["valley"], cases=3, seed=7)
    write_cohort(tmp_path / "three", "site-a", SCANNERS["valley"], cases=3, seed=8)
    assert ids == ("phantom_a_001", "phantom_a_002", "phantom_a_003")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert files(tmp_path / "one") != files(tmp_path / "three")
    datalist = json.loads((tmp_path / "one" / "dataset.json").read_text())
    assert datalist["phantom"] is True
    assert "PHANTOM" in datalist["description"]
    assert datalist["labels"] == {"0": "background", "1": "liver", "2": "spleen"}
    for entry in datalist["training"]:
        image, label = (
            read(tmp_path / "one" / entry[key]) for read, key in ((read_image, "image"), (read_label, "label"))
        )
        assert image.shape == label.shape
        assert orientation_of(to_ras(image).affine) == "RAS"


def test_two_sites_share_no_patient(tmp_path: Path) -> None:
    write_cohort(tmp_path / "a", "site-a", SCANNERS["north"], cases=2, seed=7)
    write_cohort(tmp_path / "b", "site-b", SCANNERS["north"], cases=2, seed=7)
    a, b = ({path.read_bytes() for path in (tmp_path / site / "labelsTr").iterdir()} for site in "ab")
    assert not a & b


def test_a_bigger_cohort_begins_with_the_smaller(tmp_path: Path) -> None:
    write_cohort(tmp_path / "small", "site-a", SCANNERS["hill"], cases=1, seed=7)
    write_cohort(tmp_path / "big", "site-a", SCANNERS["hill"], cases=2, seed=7)
    name = "imagesTr/phantom_a_001.nii.gz"
    assert files(tmp_path / "small")[name] == files(tmp_path / "big")[name]


def test_a_case_is_fast() -> None:
    phantom_case(0, SCANNERS["north"])
    start = time.process_time()
    for seed in range(5):
        phantom_case(seed, SCANNERS["north"])
    assert (time.process_time() - start) / 5 < 0.2


def test_a_folder_in_use_and_no_cases_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="already holds something"):
        write_cohort(tmp_path, "site-a", SCANNERS["north"], cases=1, seed=0)
    with pytest.raises(InvalidInputError, match="at least 1"):
        write_cohort(tmp_path / "new", "site-a", SCANNERS["north"], cases=0, seed=0)
    with pytest.raises(InvalidInputError, match="one of R/L"):
        phantom_case(0, Scanner("odd", (1.0, 1.0, 1.0), "RRS", 1.0, 0.0, 0.0, 0.0))
