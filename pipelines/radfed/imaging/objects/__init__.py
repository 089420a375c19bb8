"""DICOM objects about images: SEG, RTSTRUCT and SR."""
