"""Load on a real Triton server: time of requests, and memory of its processes, for minutes.

    python -m benchmarks.triton_load ENVIRONMENT [--engine PLAN] [--minutes 10] [--clients 8]

ENVIRONMENT is one as `benchmarks/triton_server.py` describes; the Python that runs this needs
`tritonclient[http,grpc]`. Half of the clients use HTTP, half gRPC. Of a hundred requests, 5 are
damaged, 5 are too large and 5 of those over gRPC are cancelled. The others are photographs of 32 to
96 pixels, as files and as pixels, enlarged by 1.5 to 4.
"""

from __future__ import annotations

import argparse
import importlib
import io
import random
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.triton_server import TritonEnvironment, TritonServer, serving
from clit_deploy.images.image_files import PHOTOGRAPH
from clit_deploy.plan.plan_file import Plan
from clit_deploy.system.proc_files import kilobytes
from clit_deploy.triton.model_repository import write_repository
from clit_deploy.triton.model_settings import ModelSettings
from clit_deploy.zoo.named_models import find_plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PIXELS = 1_000_000
TYPES = {"O": "BYTES", "f": "FP32", "u": "UINT8"}
WARM_UP = 30
"""Seconds before the first look at memory: graphs are loaded when they are first needed."""


@dataclass
class Tally:
    """What became of the requests of all clients."""

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


class Client(threading.Thread):
    """Sends one request after the other until it is stopped."""

    def __init__(self, number: int, server: TritonServer, tally: Tally) -> None:
        super().__init__(daemon=True)
        self.protocol = ("http", "grpc")[number % 2]
        self.triton = importlib.import_module(f"tritonclient.{self.protocol}")
        self.address = getattr(server, self.protocol)
        self.tally, self.random = tally, random.Random(number)  # noqa: S311
        self.stopped = threading.Event()
        with Image.open(PHOTOGRAPH) as image:
            self.photograph = image.convert("RGB").resize((96, 96))

    def run(self) -> None:
        """Send until `stopped` is set."""
        with self.triton.InferenceServerClient(self.address) as connection:
            while not self.stopped.is_set():
                start = time.perf_counter()
                outcome = self.request(connection)
                self.tally.outcomes[outcome] += 1
                if outcome == "done":
                    self.tally.seconds.append(time.perf_counter() - start)

    def request(self, connection: Any) -> str:
        """One request, of a kind by chance."""
        drawn = self.random.random()
        if drawn < 0.05:
            return self.infer(connection, IMAGE=file(b"damaged"), SCALE=number(2))
        side = self.random.randint(32, 96)
        pixels = np.asarray(self.photograph.crop((0, 0, side, side)))
        if drawn < 0.1:
            return self.infer(connection, PIXELS=pixels, SCALE=number(100))
        scale = number(self.random.uniform(1.5, 4))
        if drawn < 0.15 and self.protocol == "grpc":
            return self.infer(connection, client_timeout=0.2, PIXELS=pixels, SCALE=scale)
        if drawn < 0.5:
            return self.infer(connection, PIXELS=pixels, SCALE=scale)
        kind = self.random.choice(("PNG", "JPEG", "WEBP"))
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, kind)
        wanted = file(kind.lower().encode())
        return self.infer(connection, IMAGE=file(content.getvalue()), SCALE=scale, FORMAT=wanted)

    def infer(self, connection: Any, client_timeout: float | None = None, **tensors: Any) -> str:
        """Send tensors, and say what became of them."""
        from tritonclient.utils import InferenceServerException

        inputs = []
        for name, tensor in tensors.items():
            inputs.append(self.triton.InferInput(name, tensor.shape, TYPES[tensor.dtype.kind]))
            inputs[-1].set_data_from_numpy(tensor)
        output = "IMAGE" if "IMAGE" in tensors else "PIXELS"
        outputs = [self.triton.InferRequestedOutput(output)]
        options = {"client_timeout": client_timeout} if client_timeout else {}
        try:
            connection.infer("upscale", inputs, outputs=outputs, **options).as_numpy(output)
        except InferenceServerException as error:
            return str(error.status())
        return "done"


def file(content: bytes) -> NDArray[Any]:
    """Bytes as a tensor."""
    return np.array([content], np.object_)


def number(value: float) -> NDArray[np.float32]:
    """A number as a tensor."""
    return np.array([value], np.float32)


def megabytes(server: TritonServer) -> list[float]:
    """Resident memory of the server, and of each instance."""
    processes = [server.process.pid, *server.instances()]
    return [(kilobytes(Path(f"/proc/{pid}/status"), "VmRSS") or 0) / 1e6 for pid in processes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("environment", type=Path)
    parser.add_argument("-e", "--engine", default="liif", type=find_plan)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--instances", type=int, default=1)
    asked = parser.parse_args()
    environment = TritonEnvironment.of(asked.environment.resolve())
    settings = ModelSettings(instances=asked.instances, max_pixels=MOST_PIXELS)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_repository(Plan.open(asked.engine), work / "models", "upscale", settings)
        with serving(environment, work / "models", work) as server:
            load(server, asked.clients, asked.minutes)


def load(server: TritonServer, clients: int, minutes: float) -> None:
    """Run the clients, and print memory every minute and the times at the end."""
    tally = Tally()
    threads = [Client(number, server, tally) for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(WARM_UP)
    start = time.monotonic()
    end = start + minutes * 60
    while True:
        passed, memory = time.monotonic() - start, megabytes(server)
        shown = ", ".join(f"{each:.0f}" for each in memory)
        print(
            f"{passed / 60:5.1f} min  {tally.outcomes.total():6d} requests  MB: {shown}", flush=True
        )
        if time.monotonic() >= end:
            break
        time.sleep(min(60, max(end - time.monotonic(), 0)))
    for thread in threads:
        thread.stopped.set()
    for thread in threads:
        thread.join()
    print(dict(tally.outcomes))
    if tally.seconds:
        found = np.percentile(tally.seconds, [50, 95, 99, 100])
        print("seconds: p50 {:.2f}, p95 {:.2f}, p99 {:.2f}, longest {:.2f}".format(*found))


if __name__ == "__main__":
    main()
