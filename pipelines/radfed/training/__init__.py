"""Training at one site: MONAI networks, losses and augmentation. Knows nothing of the federation."""
