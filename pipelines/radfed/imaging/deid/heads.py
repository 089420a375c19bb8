"""Which scans may show a face. radfed removes none; it marks them."""

import re

from pydicom.dataset import Dataset

from radfed.imaging.dicom.header import PYDICOM_ERRORS, Instance


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


_TEXTS = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName")
_WORD = re.compile(r"[a-z]+[0-9]*[a-z]*")
_HEAD_WORDS = _listed(
    """
    head brain skull cranium cranial cerebrum cerebral neuro face facial maxillofacial orbit orbits orbita eye eyes
    sinus sinuses nasal nose jaw mandible maxilla dental teeth tmj ear ears iac iacs mastoid pituitary sella
    hippocampus headneck hals kopf schaedel schadel hirn tete crane cerveau cabeza cerebro craneo stroke epilepsy
    dementia glioma glioblastoma wholebody wholebrain mprage mp2rage dbs fmri bold
    """
)
_HEAD_CODES = frozenset({"69536005", "12738006", "89546000", "774007", "371398005", "38266002", "T-D1100", "T-A0100"})
"""Head, brain, skull, head and neck, eye region, entire body (SNOMED CT); head, brain (SRT)."""


def is_head(scan: Dataset | Instance) -> bool:
    """Whether a scan may show a face, by what its header says of the body part. Whole bodies have heads."""
    if isinstance(scan, Instance):
        texts = [scan.body_part, scan.study_description, scan.series_description, scan.protocol]
        return _speaks_of_head(" ".join(texts))
    return _speaks_of_head(" ".join(_text(scan, keyword) for keyword in _TEXTS)) or _is_coded_head(scan)


def _speaks_of_head(text: str) -> bool:
    return not _HEAD_WORDS.isdisjoint(_WORD.findall(text.casefold()))


def _is_coded_head(dataset: Dataset) -> bool:
    try:
        regions = list(dataset.get("AnatomicRegionSequence", None) or [])
        for groups in dataset.get("SharedFunctionalGroupsSequence", None) or []:
            for anatomy in groups.get("FrameAnatomySequence", None) or []:
                regions += anatomy.get("AnatomicRegionSequence", None) or []
        return any(str(region.get("CodeValue", "")) in _HEAD_CODES for region in regions)
    except PYDICOM_ERRORS:
        return False


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword, "") or "")
    except PYDICOM_ERRORS:
        return ""
