"""DICOM phantoms, part by part: patients, slices, stored values, headers, planted identifiers, cohorts."""
