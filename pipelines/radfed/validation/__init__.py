"""How good a model is, on whose patients, and the report that says so to a clinician."""
