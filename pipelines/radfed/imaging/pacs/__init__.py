"""The way from and to a PACS: DICOMweb and DIMSE."""
