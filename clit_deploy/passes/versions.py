"""The ONNX versions of every graph."""

OPSET = 18
IR_VERSION = 8
"""The file format of that opset; old runtimes check both."""
