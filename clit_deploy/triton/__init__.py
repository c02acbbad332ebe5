"""Serving with NVIDIA Triton: a model repository, and the model in it."""
