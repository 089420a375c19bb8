"""What a trained model tells of those it was trained on: differentially private training, attacks, and a gate."""
