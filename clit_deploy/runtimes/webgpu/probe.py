"""Tries the WebGPU plugin: `python -m clit_deploy.runtimes.webgpu.probe PREFERENCE`.

Prints what the adapter can do, as JSON. A crash of the driver ends this process and no other.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime as ort

from clit_deploy.runtimes.ort.sessions import ONE_RELU
from clit_deploy.runtimes.webgpu.plugin import provider_options, registered

FP32, FP16 = b"\x08\x01", b"\x08\x0a"
"""`elem_type` of the tensors of an ONNX file."""


def main() -> int:
    """Run y = Relu(x) in FP32 and in FP16."""
    device = registered()
    if not _computes(device, ONE_RELU, np.dtype(np.float32)):
        sys.stderr.write("it computes wrong results\n")
        return 1
    half = ONE_RELU.replace(FP32 + b"\x12", FP16 + b"\x12")
    try:
        fp16 = _computes(device, half, np.dtype(np.float16))
    except Exception:
        fp16 = False  # its shaders have no FP16
    sys.stdout.write(json.dumps({"fp16": fp16}) + "\n")
    return 0


def _computes(device: object, graph: bytes, dtype: np.dtype[np.float32 | np.float16]) -> bool:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_provider_for_devices([device], provider_options(sys.argv[1]))
    session = ort.InferenceSession(graph, options)
    x = np.array([2], dtype)
    run = ort.RunOptions()
    run.log_severity_level = 4
    return bool(np.array_equal(session.run(None, {"x": x}, run)[0], x))


if __name__ == "__main__":
    sys.exit(main())
