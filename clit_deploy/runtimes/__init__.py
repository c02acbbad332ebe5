"""Runtimes that run the graphs of a plan: ONNX Runtime and TensorRT. No other room calls them."""
