"""How good a mask is: overlap, surface distances, what empty masks score, and intervals. NumPy and SciPy only."""
