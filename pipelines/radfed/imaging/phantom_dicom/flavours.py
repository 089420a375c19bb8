"""Which kinds of series can be made, and how each stores its values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from radfed.imaging.phantom_dicom.classic import add_plane, classic_image
from radfed.imaging.phantom_dicom.enhanced import enhanced_ct, enhanced_mr
from radfed.imaging.phantom_dicom.header import SeriesContext
from radfed.imaging.phantom_dicom.modalities import cr, dx, pet, secondary_capture
from radfed.imaging.phantom_dicom.slices import Slice
from radfed.imaging.phantom_dicom.storage import Storage
from radfed.imaging.phantom_dicom.vendors import ge_ct, philips_mr, siemens_mr


class Flavour(StrEnum):
    """A kind of series, as one vendor writes it."""

    CT = "ct"
    """Classic CT, GE-like; HU with intercept -1024."""
    MR = "mr"
    """Classic MR, Siemens-like; no rescale."""
    MR_PHILIPS = "mr_philips"
    """Classic MR, Philips-like; rescaled."""
    PT = "pt"
    """Classic PET; another slope in every slice."""
    CR = "cr"
    """Computed radiography; one image a slice, without a place in the patient."""
    DX = "dx"
    """Digital X-ray for presentation; the same."""
    SC = "sc"
    """Secondary capture; the same, and says nothing about burned-in text."""
    ENHANCED_CT = "enhanced_ct"
    """Multi-frame CT, Canon-like; signed HU, slope and intercept in every frame."""
    ENHANCED_MR = "enhanced_mr"
    """Multi-frame MR, Philips-like; another slope in every frame."""


@dataclass(frozen=True)
class Kind:
    """How a flavour is written.

    Attributes:
        choices: storages, the first that holds all values is taken.
        varying: whether each slice takes the finest slope (a power of two) that its values allow.
    """

    choices: tuple[Storage, ...]
    varying: bool = False


_BARE = tuple(Storage(bits, signed) for bits in (12, 16) for signed in (False, True))
_HU = (Storage(12, False, 1.0, -1024.0), Storage(16, False, 1.0, -1024.0), Storage(16, True, 1.0, 0.0))
_SCALED = (Storage(12, False, 1.0, 0.0), Storage(16, False, 1.0, -1024.0), Storage(16, False, 1.0, -32768.0))
_KINDS = {
    Flavour.CT: Kind(_HU),
    Flavour.MR: Kind(_BARE),
    Flavour.MR_PHILIPS: Kind((Storage(16, False, 0.5, 0.0), Storage(16, False, 0.5, -4096.0), _SCALED[-1])),
    Flavour.PT: Kind((Storage(16, True, 1.0, 0.0),), varying=True),
    Flavour.CR: Kind(_BARE),
    Flavour.DX: Kind((Storage(12, False, 1.0, 0.0), Storage(16, False, 1.0, 0.0))),
    Flavour.SC: Kind(_BARE),
    Flavour.ENHANCED_CT: Kind((Storage(16, True, 1.0, 0.0),)),
    Flavour.ENHANCED_MR: Kind(_SCALED, varying=True),
}
_FINEST = 4

_CLASSIC: dict[Flavour, tuple[str, str, Callable[[Dataset, Slice, Storage], None]]] = {
    Flavour.CT: (CTImageStorage, "CT", ge_ct),
    Flavour.MR: (MRImageStorage, "MR", siemens_mr),
    Flavour.MR_PHILIPS: (MRImageStorage, "MR", philips_mr),
    Flavour.PT: (PositronEmissionTomographyImageStorage, "PT", pet),
    Flavour.CR: (ComputedRadiographyImageStorage, "CR", cr),
    Flavour.DX: (DigitalXRayImageStorageForPresentation, "DX", dx),
    Flavour.SC: (SecondaryCaptureImageStorage, "OT", secondary_capture),
}
_WITHOUT_PLACE = (Flavour.CR, Flavour.DX, Flavour.SC)


def datasets(
    context: SeriesContext, flavour: Flavour, slices: Sequence[Slice], storage: Storage | None
) -> tuple[Dataset, ...]:
    """The data sets of a series, native pixels: one a slice, or for enhanced flavours one an acquisition."""
    storages = storages_of(flavour, slices, storage)
    if flavour in _CLASSIC:
        sop_class, modality, dress = _CLASSIC[flavour]
        made = []
        for serial, (piece, stored) in enumerate(zip(slices, storages, strict=True), start=1):
            dataset = classic_image(context, piece, serial, stored, sop_class, modality)
            if flavour not in _WITHOUT_PLACE:
                add_plane(dataset, piece)
            dress(dataset, piece, stored)
            made.append(dataset)
        return tuple(made)
    write = enhanced_ct if flavour is Flavour.ENHANCED_CT else enhanced_mr
    files = []
    for serial, acquisition in enumerate(sorted({piece.acquisition for piece in slices}), start=1):
        frames = [
            (piece, stored) for piece, stored in zip(slices, storages, strict=True) if piece.acquisition == acquisition
        ]
        frames.sort(key=lambda frame: frame[0].number)
        files.append(write(context, [piece for piece, _ in frames], serial, [stored for _, stored in frames]))
    return tuple(files)


def storages_of(flavour: Flavour, slices: Sequence[Slice], storage: Storage | None) -> tuple[Storage, ...]:
    """How each slice is stored; ``storage`` is taken as it is if given."""
    if storage is not None:
        return (storage,) * len(slices)
    kind, values = _KINDS[flavour], np.concatenate([piece.values.ravel() for piece in slices])
    base = next((choice for choice in kind.choices if choice.fits(values)), kind.choices[-1])
    if not kind.varying:
        return (base,) * len(slices)
    finer = [Storage(base.bits, base.signed, 2.0**-step, base.intercept) for step in range(_FINEST, -1, -1)]
    return tuple(next((choice for choice in finer if choice.fits(piece.values)), base) for piece in slices)
