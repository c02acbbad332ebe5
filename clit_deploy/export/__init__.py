"""Checkpoint -> ONNX graphs -> plan. Needs the `export` extra (torch, onnx, onnx-graphsurgeon)."""
