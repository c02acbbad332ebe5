"""Images per second and euros per million megapixels of N nodes, and what limits them.

    python -m benchmarks.fleet_cost [-e MODEL] [--scale 4] [--storage 117] [--images-of 1]
        [--node NAME:MEGAPIXELS_PER_SECOND:CORES:EUROS_PER_HOUR] ...

Reading, computing and writing are measured here on one thread. A CPU node has as many of these
threads as cores, so its megapixels per second are 0 in `--node`. A GPU's are an estimate until you
give your own (`clit-deploy profile`); its cores read and write. Prices are examples.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import report
from benchmarks.fleet import SIDES, Times, draw_images, mean_bytes, measure_times

NODES = ("16 cores:0:16:0.60", "L4:2.0:8:0.75", "Orin AGX:1.4:12:0.09")
"""The GPUs' rates: training `clit` on an H100 took 7.6 million pixels a second, inference is
taken as a third of a step, and an L4 and an Orin have 9 and 6 percent of its memory bandwidth.
The Orin's price is that of its purchase over three years, with power."""
COUNTS = (1, 4, 16, 64)


@dataclass(frozen=True)
class Work:
    """What one megapixel of output takes."""

    files: float
    """Seconds of a core for reading and writing."""
    compute: float
    """Seconds of a core for computing."""
    megabytes: float
    """Of files, in and out."""


@dataclass(frozen=True)
class Node:
    """One machine. `megapixels` is the rate of its GPU in megapixels per second, 0 without one."""

    name: str
    megapixels: float
    cores: float
    euros: float

    @classmethod
    def parse(cls, text: str) -> Node:
        """A node from `NAME:MEGAPIXELS:CORES:EUROS`."""
        name, *numbers = text.split(":")
        megapixels, cores, euros = map(float, numbers)
        return cls(name, megapixels, cores, euros)

    def limits(self, work: Work) -> dict[str, float]:
        """Megapixels per second that each part of the node allows."""
        if not self.megapixels:
            return {"computing": self.cores / (work.files + work.compute)}
        return {"computing": self.megapixels, "reading and writing": self.cores / work.files}


def estimate(node: Node, count: int, work: Work, storage: float) -> tuple[float, str]:
    """Megapixels per second of several equal nodes, and what limits them.

    Args:
        node: one of them.
        count: how many.
        work: what a megapixel takes.
        storage: megabytes per second of the storage that all share.
    """
    limits = {name: count * rate for name, rate in node.limits(work).items()}
    limits["storage"] = storage / work.megabytes
    bottleneck = min(limits, key=lambda name: limits[name])
    return limits[bottleneck], bottleneck


def measure_work(model: str, scale: float) -> Work:
    """Measure reading, computing and writing on one thread."""
    megapixels = SIDES[0] * SIDES[1] * scale**2 / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder / "in", 3)
        times: Times = measure_times(folder, model, scale)
        size = mean_bytes(folder / "in") + (folder / "one.png").stat().st_size
    return Work(
        (times.read + times.write) / megapixels, times.compute / megapixels, size / 1e6 / megapixels
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-e", "--engine", default="clit-fast")
    parser.add_argument("--scale", type=float, default=4)
    parser.add_argument("--storage", type=float, default=117, help="MB/s; 117 is 1 Gbit/s")
    parser.add_argument("--images-of", type=float, default=1, help="megapixels of an output image")
    parser.add_argument("--node", type=Node.parse, action="append")
    parser.add_argument("--json")
    args = parser.parse_args()
    work = measure_work(args.engine, args.scale)
    print(work)
    rows = []
    for node in args.node or map(Node.parse, NODES):
        for count in COUNTS:
            rate, bottleneck = estimate(node, count, work, args.storage)
            rows.append(
                {
                    "nodes": f"{count} x {node.name}",
                    "images per second": rate / args.images_of,
                    "euros per million MP": count * node.euros / 3600 / rate * 1e6,
                    "limited by": bottleneck,
                }
            )
    report(f"{args.engine} at x{args.scale:g}, storage {args.storage:g} MB/s", rows, args.json)


if __name__ == "__main__":
    main()
