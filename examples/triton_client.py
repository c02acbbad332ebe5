"""Upscale an image on a Triton server that serves a repository of `clit-deploy triton`.

pip install 'tritonclient[http,grpc]'
python examples/triton_client.py photo.png -s 4 -o big.png
python examples/triton_client.py photo.png -s 4 -o big.png --grpc --url localhost:8001
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np


def main() -> None:
    """Read the command line, send the image, write the result."""
    parser = argparse.ArgumentParser(description="Upscale an image on a Triton server.")
    parser.add_argument("image", type=Path)
    parser.add_argument("-s", "--scale", type=float, default=4)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--region", type=float, nargs=4, metavar=("X", "Y", "WIDTH", "HEIGHT"))
    parser.add_argument("--model", default="upscale")
    parser.add_argument("--url", default=None, help="HOST:PORT")
    parser.add_argument("--grpc", action="store_true", help="gRPC instead of HTTP")
    parser.add_argument("--seconds", type=float, default=60, help="time to wait for the result")
    asked = parser.parse_args()
    tensors = {
        "IMAGE": np.array([asked.image.read_bytes()], np.object_),
        "SCALE": np.array([asked.scale], np.float32),
        "FORMAT": np.array([asked.output.suffix.encode()], np.object_),
    }
    if asked.region:
        tensors["REGION"] = np.array(asked.region, np.float32)
    result = (over_grpc if asked.grpc else over_http)(asked, tensors)
    asked.output.write_bytes(result)


def over_http(asked: argparse.Namespace, tensors: dict[str, np.ndarray]) -> bytes:
    """A request over HTTP. If the client gives up, the server still finishes its work."""
    import tritonclient.http as triton

    url, seconds = asked.url or "localhost:8000", asked.seconds
    with triton.InferenceServerClient(url, network_timeout=seconds) as client:
        answer = client.infer(
            asked.model,
            [made(triton.InferInput, name, tensor) for name, tensor in tensors.items()],
            outputs=[triton.InferRequestedOutput("IMAGE")],
        )
        return answer.as_numpy("IMAGE")[0]


def over_grpc(asked: argparse.Namespace, tensors: dict[str, np.ndarray]) -> bytes:
    """A request over gRPC. After the time limit, the server stops its work."""
    import tritonclient.grpc as triton

    with triton.InferenceServerClient(asked.url or "localhost:8001") as client:
        answer = client.infer(
            asked.model,
            [made(triton.InferInput, name, tensor) for name, tensor in tensors.items()],
            outputs=[triton.InferRequestedOutput("IMAGE")],
            client_timeout=asked.seconds,
        )
        return answer.as_numpy("IMAGE")[0]


def made(kind: type, name: str, tensor: np.ndarray) -> object:
    """An input of a request."""
    types = {"O": "BYTES", "f": "FP32"}
    sent = kind(name, tensor.shape, types[tensor.dtype.kind])
    sent.set_data_from_numpy(tensor)
    return sent


if __name__ == "__main__":
    main()
