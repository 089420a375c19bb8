"""Phantoms as DICOM: vendor-flavoured series of a known volume, faulty on request, for tests and demonstrations.

Everything is made up: patients, hospitals, identifiers, private content. Equal arguments give byte-identical files.
"""

from radfed.imaging.phantom_dicom.cohort import (
    STYLES,
    Style,
    cohort_patient,
    write_dicom_cohort,
)
from radfed.imaging.phantom_dicom.faults import GEOMETRY_FAULTS
from radfed.imaging.phantom_dicom.flavours import Flavour
from radfed.imaging.phantom_dicom.identifiers import IDENTIFIER_FAULTS
from radfed.imaging.phantom_dicom.packing import Compression
from radfed.imaging.phantom_dicom.patient import FakePatient, fake_patient, planted_values
from radfed.imaging.phantom_dicom.segmentation import write_phantom_seg
from radfed.imaging.phantom_dicom.series import Fault, write_series
from radfed.imaging.phantom_dicom.storage import Storage

__all__ = [
    "GEOMETRY_FAULTS",
    "IDENTIFIER_FAULTS",
    "STYLES",
    "Compression",
    "FakePatient",
    "Fault",
    "Flavour",
    "Storage",
    "Style",
    "cohort_patient",
    "fake_patient",
    "planted_values",
    "write_dicom_cohort",
    "write_phantom_seg",
    "write_series",
]
