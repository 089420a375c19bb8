"""One preprocessing for training, federated evaluation and inference; NumPy and SciPy only."""
