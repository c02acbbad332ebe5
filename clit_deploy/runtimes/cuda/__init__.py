"""CUDA: memory, copies, streams and events."""
