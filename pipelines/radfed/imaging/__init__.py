"""Images in and out: NIfTI files, geometry, and phantoms for tests and demonstrations."""
