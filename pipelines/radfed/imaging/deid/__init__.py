"""De-identification by DICOM PS3.15 Annex E, pixel risk, and the second look for what was missed."""
