"""How good a mask, a class or a hazard is, and intervals. NumPy and SciPy only."""
