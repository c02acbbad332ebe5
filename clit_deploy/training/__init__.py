"""Training on dense patches, by one schedule over all stages. Needs the `train` extra (torch)."""
