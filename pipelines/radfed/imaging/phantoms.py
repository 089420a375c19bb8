"""Phantoms: made-up abdomens with organs of known place and volume, for tests and demonstrations, never for claims.

A body ellipsoid holds a large liver-like organ (label 1) in the patient's right and a small spleen-like organ
(label 2) in the left, so a pipeline that mirrors the patient is caught. Bright unlabelled spheres distract. Each
scanner has its own grid, axis order, contrast, bias field and noise.
"""

import json
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from radfed.errors import InvalidInputError
from radfed.imaging.nifti import write_image
from radfed.imaging.volume import Volume

LIVER, SPLEEN = 1, 2
LABELS = {LIVER: "liver", SPLEEN: "spleen"}
FIELD_MM = (74.0, 64.0, 54.0)
"""Field of view along R, A, S (mm)."""

_BODY_MM = (33.0, 28.0, 23.0)
_SIGNAL = {"body": 0.35, "liver": 0.60, "spleen": 0.78, "sphere": 1.0}
_AXIS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class Scanner:
    """How one hospital's scanner shows a patient.

    Attributes:
        name: for people.
        spacing: voxel spacing along each array axis (mm).
        orientation: direction in which each array axis grows, for example ``LPS``.
        scale: stored intensity of the brightest tissue, above ``offset``.
        offset: stored intensity of no signal.
        noise: standard deviation of the receiver noise, as a share of the brightest tissue.
        bias: strength of the smooth shading across the field; 0 is none.
        contrast: exponent applied to tissue signal; above 1 darkens the dim tissues.
    """

    name: str
    spacing: tuple[float, float, float]
    orientation: str
    scale: float
    offset: float
    noise: float
    bias: float
    contrast: float = 1.0


SCANNERS: dict[str, Scanner] = {
    scanner.name: scanner
    for scanner in (
        Scanner("north", (1.5, 1.5, 1.5), "RAS", scale=900.0, offset=0.0, noise=0.04, bias=0.15),
        Scanner("harbour", (1.4, 1.4, 1.8), "LPS", scale=300.0, offset=40.0, noise=0.06, bias=0.30, contrast=1.25),
        Scanner("valley", (1.6, 1.3, 1.6), "PSR", scale=2500.0, offset=-1000.0, noise=0.05, bias=0.05, contrast=0.8),
        Scanner("hill", (1.7, 1.7, 1.3), "LAS", scale=150.0, offset=10.0, noise=0.08, bias=0.25, contrast=1.1),
    )
}


@dataclass(frozen=True)
class PhantomCase:
    """A phantom and the truth about it.

    Attributes:
        image: float32 ``(1, H, W, D)``, whole numbers as a scanner stores them.
        label: uint8 ``(1, H, W, D)``, 1 liver, 2 spleen.
        volumes_mm3: analytic volume per label value, 4/3 pi abc (mm^3).
    """

    image: Volume
    label: Volume
    volumes_mm3: dict[int, float]


@dataclass(frozen=True)
class _Ellipsoid:
    """Centre and semi-axes in mm (R, A, S) and a rotation ``(3, 3)``."""

    centre: NDArray[np.float64]
    semi_axes: NDArray[np.float64]
    rotation: NDArray[np.float64]

    @property
    def volume(self) -> float:
        return float(4.0 / 3.0 * np.pi * np.prod(self.semi_axes))

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        local = (points - self.centre) @ self.rotation / self.semi_axes
        return np.asarray((local**2).sum(axis=-1) <= 1.0)


def phantom_case(seed: int | np.random.Generator, scanner: Scanner) -> PhantomCase:
    """Draw one patient and scan them; equal seeds give equal cases."""
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    shape, affine = _grid(scanner, origin=rng.uniform(-60.0, 60.0, size=3))
    # Anatomy is placed around the centre of the field, wherever in the scanner's world that is.
    centre_voxel = (np.array(shape) - 1) / 2
    points = (np.moveaxis(np.indices(shape), 0, -1) - centre_voxel) @ affine[:3, :3].T
    body, liver, spleen = _anatomy(rng)
    spheres = _spheres(rng, (liver, spleen))

    label = np.zeros(shape, dtype=np.uint8)
    signal = np.zeros(shape, dtype=np.float64)
    signal[body.contains(points)] = _SIGNAL["body"]
    for sphere in spheres:
        signal[sphere.contains(points)] = _SIGNAL["sphere"]
    for value, organ in ((LIVER, liver), (SPLEEN, spleen)):
        inside = organ.contains(points)
        label[inside] = value
        signal[inside] = _SIGNAL[LABELS[value]] + rng.normal(0.0, 0.02)
    stored = _scan(signal, points, scanner, rng)
    return PhantomCase(
        image=Volume(stored[np.newaxis], affine),
        label=Volume(label[np.newaxis], affine),
        volumes_mm3={LIVER: liver.volume, SPLEEN: spleen.volume},
    )


def write_cohort(folder: Path, site: str, scanner: Scanner, cases: int, seed: int) -> tuple[str, ...]:
    """Write a hospital's cohort in MSD layout; equal arguments give byte-identical files.

    Args:
        folder: gets ``imagesTr/``, ``labelsTr/`` and ``dataset.json``; must be absent or empty.
        site: the hospital; ``site-a`` makes case ids ``phantom_a_001``, ...
        scanner: one of ``SCANNERS`` or your own.
        cases: how many, at least 1.
        seed: of the cohort; the site's name is mixed in, so two sites never share a patient.

    Returns:
        The case ids.

    Raises:
        InvalidInputError: no case is asked for, or the folder already holds something.
    """
    ids = new_cohort(folder, site, cases)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, case_id in enumerate(ids):
        case = cohort_case(site, scanner, seed, number)
        stored = Volume(case.image.array.astype(np.int16), case.image.affine)
        write_image(folder / "imagesTr" / f"{case_id}.nii.gz", stored)
        write_image(folder / "labelsTr" / f"{case_id}.nii.gz", case.label)
    _write_datalist(folder, site, scanner, ids)
    return ids


def new_cohort(folder: Path, site: str, cases: int) -> tuple[str, ...]:
    """The case ids of a cohort that a folder is to get; see ``write_cohort``.

    Raises:
        InvalidInputError: no case is asked for, or the folder already holds something.
    """
    if cases < 1:
        raise InvalidInputError(f"a phantom cohort needs at least 1 case, got {cases}")
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInputError(f"{folder}: already holds something; give a new or empty folder")
    short = re.sub(r"[^a-z0-9]+", "_", site.lower().removeprefix("site-")).strip("_") or "x"
    return tuple(f"phantom_{short}_{number:03d}" for number in range(1, cases + 1))


def cohort_case(site: str, scanner: Scanner, seed: int, number: int) -> PhantomCase:
    """The truth about a cohort's case ``number`` (from 0): voxels, labels and volumes."""
    return phantom_case(cohort_rng(site, seed, number), scanner)


def cohort_rng(site: str, seed: int, *number: int) -> np.random.Generator:
    """What a cohort's case is drawn from; another site, seed or number gives another one."""
    return np.random.default_rng([seed, zlib.crc32(site.encode()), *number])


def _write_datalist(folder: Path, site: str, scanner: Scanner, ids: tuple[str, ...]) -> None:
    content = {
        "name": "phantom_abdomen",
        "description": f"PHANTOM data: made up by radfed, no patient was scanned. Site {site}, scanner {scanner.name}.",
        "phantom": True,
        "licence": "CC0-1.0",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", **{str(value): name for value, name in LABELS.items()}},
        "numTraining": len(ids),
        "training": [
            {"image": f"./imagesTr/{case_id}.nii.gz", "label": f"./labelsTr/{case_id}.nii.gz"} for case_id in ids
        ],
        "test": [],
    }
    beside = folder / ".dataset.json"
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, folder / "dataset.json")


def _grid(scanner: Scanner, origin: NDArray[np.float64]) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Shape and affine of a scanner's grid over the field of view."""
    if len(scanner.orientation) != 3 or {_AXIS.get(code, (-1, 0))[0] for code in scanner.orientation} != {0, 1, 2}:
        raise InvalidInputError(
            f"orientation must name one of R/L, one of A/P and one of S/I, got {scanner.orientation!r}"
        )
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    sides = []
    for axis, (code, spacing) in enumerate(zip(scanner.orientation, scanner.spacing, strict=True)):
        world, sign = _AXIS[code]
        affine[world, axis] = sign * spacing
        sides.append(round(FIELD_MM[world] / spacing))
    affine[:3, 3] = np.round(origin, 2)
    return (sides[0], sides[1], sides[2]), affine


def _anatomy(rng: np.random.Generator) -> tuple[_Ellipsoid, _Ellipsoid, _Ellipsoid]:
    """Body, liver and spleen; the ranges keep the organs apart (x < 0 is left) whatever their rotation."""
    body = _Ellipsoid(np.zeros(3), np.array(_BODY_MM) * rng.uniform(0.94, 1.02, size=3), np.eye(3))
    liver = _Ellipsoid(
        np.array([rng.uniform(12.5, 15.0), rng.uniform(-4.0, 4.0), rng.uniform(-3.0, 3.0)]),
        rng.uniform((10.5, 10.0, 9.0), (12.5, 12.5, 11.0)),
        _rotation(rng, 0.4),
    )
    spleen = _Ellipsoid(
        np.array([rng.uniform(-18.0, -15.0), rng.uniform(-7.0, 1.0), rng.uniform(-4.0, 5.0)]),
        rng.uniform((5.0, 5.5, 5.5), (7.0, 8.0, 8.5)),
        _rotation(rng, 0.6),
    )
    return body, liver, spleen


def _spheres(rng: np.random.Generator, organs: tuple[_Ellipsoid, ...]) -> list[_Ellipsoid]:
    """One or two bright spheres in the body that touch no organ."""
    found: list[_Ellipsoid] = []
    wanted = int(rng.integers(1, 3))
    for _ in range(40):
        if len(found) == wanted:
            break
        radius = rng.uniform(2.5, 4.0)
        centre = rng.uniform((-20.0, -20.0, -14.0), (20.0, 20.0, 14.0))
        inside = float(((centre / (np.array(_BODY_MM) * 0.94 - radius)) ** 2).sum()) < 1.0
        reach = [organ.semi_axes.max() + radius + 1.0 for organ in (*organs, *found)]
        gaps = [float(np.linalg.norm(centre - organ.centre)) for organ in (*organs, *found)]
        if inside and all(gap > least for gap, least in zip(gaps, reach, strict=True)):
            found.append(_Ellipsoid(centre, np.full(3, radius), np.eye(3)))
    return found


def _scan(
    signal: NDArray[np.float64], points: NDArray[np.float64], scanner: Scanner, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Tissue signal ``(H, W, D)`` to stored whole numbers: texture, blur, contrast, shading, Rician noise."""
    texture = gaussian_filter(rng.standard_normal(signal.shape), sigma=1.5)
    texture *= 0.05 / float(texture.std())
    tissue = np.clip(np.where(signal > 0, signal + texture, 0.0), 0.0, None)
    seen = gaussian_filter(tissue, sigma=0.5) ** scanner.contrast
    slope = rng.standard_normal(3)
    slope /= np.linalg.norm(slope)
    ramp = points @ slope / (max(FIELD_MM) / 2)
    bowl = ((points / (np.array(FIELD_MM) / 2)) ** 2).sum(axis=-1)
    seen = seen * np.exp(scanner.bias * (ramp - 0.3 * bowl))
    # A magnitude image of a complex signal (Gudbjartsson and Patz 1995).
    real = seen + scanner.noise * rng.standard_normal(signal.shape)
    imaginary = scanner.noise * rng.standard_normal(signal.shape)
    stored = scanner.offset + scanner.scale * np.hypot(real, imaginary)
    whole: NDArray[np.float32] = np.clip(np.rint(stored), -32768, 32767).astype(np.float32)
    return whole


def _rotation(rng: np.random.Generator, most: float) -> NDArray[np.float64]:
    """A rotation ``(3, 3)`` by up to ``most`` radians around a random axis (Rodrigues' formula)."""
    axis = rng.standard_normal(3)
    x, y, z = axis / np.linalg.norm(axis)
    angle = rng.uniform(-most, most)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turned
