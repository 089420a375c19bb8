"""What a de-identified object says of itself (PS3.15 E.1.1)."""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radfed.imaging.deid.table import edition

METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
    ("113111", "Retain Safe Private Option"),
)
"""What was done, by PS3.16 CID 7050."""


def mark(dataset: Dataset, pseudonym: str, head: bool) -> None:
    """Write into a dataset who its patient is now, and what was done; ``head``: it may show a face."""
    dataset.PatientID = pseudonym
    dataset.PatientName = pseudonym
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [
        f"radfed: DICOM PS3.15 {edition()} Annex E Basic Profile",
        "dates moved, descriptors by allow-list, age capped",
    ]
    items = []
    for value, meaning in METHODS:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = Sequence(items)
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    if head:
        # Faces are not removed: whoever gets the file shall know.
        dataset.RecognizableVisualFeatures = "YES"
