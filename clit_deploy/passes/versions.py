"""Versions of ONNX that every graph is written in."""

OPSET = 18
IR_VERSION = 8
"""File format that came with the opset; old runtimes check both."""
