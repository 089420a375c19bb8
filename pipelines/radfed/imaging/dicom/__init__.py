"""DICOM files to volumes: headers, series, proven geometry, decoded pixels."""
