"""Megapixels a second: eager PyTorch, the point decoder on ONNX Runtime, and the plan.

    python -m benchmarks.speed [--threads 2] [--runs 5] [--only clit] [--json FILE]

All three compute the same function with the same number of threads in one run and take turns;
figures are medians. (a) is our PyTorch model in the per-query form of the papers, 30,000 queries
at a time; (b) the point graphs; (c) the plan as `run` uses it. The machine's float32 speed is
measured in the same run as one large matrix product in PyTorch.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import clit_deploy
from benchmarks.common import alternate, clit_spec, liif_spec, random_plan, report
from clit_deploy.grid.cascade import grids
from clit_deploy.grid.geometry import Axis, GroupedOutputs, Span
from clit_deploy.plan.plan_file import Plan

if TYPE_CHECKING:
    from pathlib import Path

CASES = [("clit", 4, 48), ("clit", 12, 20), ("clit", 30, 8), ("liif", 2, 96), ("liif", 4, 48)]
"""Family, scale, side of the square input."""
GOALS = {("clit", 4): 40, ("clit", 12): 35, ("clit", 30): 28, ("liif", 2): 4, ("liif", 4): 4}
"""How many times the speed of eager PyTorch."""


def gemm_speed(seconds: float = 1.0) -> float:
    """Multiply-adds a second of a large float32 matrix product."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    return 2048**3 / float(np.median(times))


def multiply_adds(plan: Plan, side: int, scale: float) -> float:
    """Multiply-adds that the plan does for a square image, repeated queries included."""
    out = round(side * scale)
    total = side * side * weights_of(plan, plan.manifest.encoder.graph)
    args = plan.manifest.hyperparameters
    for index, (grid, _) in enumerate(
        grids((side, side), (out, out), scale, len(plan.manifest.stages))
    ):
        info = plan.manifest.stages[index]
        slots = GroupedOutputs.sort(Axis(grid, out), Span(0, out), info.anchor)
        cells = len(slots.cells) ** 2
        queries = cells * slots.n**2
        if plan.manifest.family == "liif":
            total += cells * weights_of(plan, info.project)
            total += queries * 4 * 3 * 256 * 256
        else:
            dim, heads, area = args["base_dim"], args["head"], (2 * args["r"] + 1) ** 2
            pixels = cells if index == 0 else side * side
            total += pixels * weights_of(plan, info.project)
            total += cells * area * dim * dim + queries * (area * heads * (dim + 9) + 3 * dim * dim)
    return float(total)


def weights_of(plan: Plan, member: str) -> int:
    """Weights of a graph's convolutions and products: multiply-adds a pixel."""
    import onnx

    graph = onnx.load_from_string(plan.read(member)).graph
    sizes = {init.name: int(np.prod(init.dims)) for init in graph.initializer if len(init.dims) > 1}
    nodes = [node for node in graph.node if node.op_type in ("Conv", "MatMul")]
    return sum(sizes.get(name, 0) for node in nodes for name in node.input[1:2])


def measure(
    model: Any, path: Path, scale: int, side: int, threads: int, runs: int
) -> dict[str, Any]:
    image = np.random.RandomState(0).rand(side, side, 3).astype(np.float32)
    size = (side * scale, side * scale)
    plan = Plan.open(path)
    axis = (np.arange(size[0]) * 2 + 1) / size[0] - 1
    coords = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    tensor = torch.from_numpy(image)
    with clit_deploy.load(path, runtime="cpu", threads=threads) as up:
        seconds = alternate(
            {
                "eager": lambda: model.render(tensor, size, scale),
                "points": lambda: up.query(image, coords, scale=scale),
                "plan": lambda: up.upscale(image, scale=scale),
            },
            {"eager": max(runs // 2, 1), "points": max(runs // 2, 1), "plan": runs},
        )
    pixels = size[0] * size[1] / 1e6
    work = multiply_adds(plan, side, scale)
    return {
        "model": plan.manifest.family,
        "scale": scale,
        "output": f"{size[1]}x{size[0]}",
        "eager MP/s": pixels / seconds["eager"],
        "points MP/s": pixels / seconds["points"],
        "plan MP/s": pixels / seconds["plan"],
        "plan/eager": seconds["eager"] / seconds["plan"],
        "goal": GOALS[plan.manifest.family, scale],
        "plan/points": seconds["points"] / seconds["plan"],
        "GMAC/s": work / seconds["plan"] / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["clit", "liif"])
    parser.add_argument("--scales", type=int, nargs="*")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cases = [c for c in CASES if args.only in (None, c[0])]
    cases = [c for c in cases if not args.scales or c[1] in args.scales]
    made = {
        family: random_plan(clit_spec() if family == "clit" else liif_spec())
        for family in {case[0] for case in cases}
    }
    rows = []
    for family, scale, side in cases:
        peak = gemm_speed()
        row = measure(*made[family], scale, side, args.threads, args.runs)
        rows.append({**row, "of GEMM speed": row["GMAC/s"] * 1e9 / peak})
        print(rows[-1], flush=True)
    report(f"Speed, {args.threads} threads, medians", rows, args.json)


if __name__ == "__main__":
    main()
