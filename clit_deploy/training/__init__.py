"""Training with the cumulative strategy of CLIT. Needs the `train` extra (torch, matplotlib)."""
