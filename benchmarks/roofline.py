"""Where the time goes: multiply-adds and bytes of every phase, beside what the machine can do.

    python -m benchmarks.roofline [--threads 2] [--runs 5] [--only clit] [--json FILE]

The arithmetic and the traffic are counted from the shapes that really occur: the inputs of every
run of a graph are recorded, and every product of the graph is counted once for each. Bytes are
those that its products read and write, as if nothing were fused or cached. Times are medians of
the same runs, by phase; they add up to the whole. "At GEMM speed" is what the phase's products
would take as one large matrix product of this machine, measured in the same run.

The second table gives the time of each kind of operator, from a separate pass that times them; so
its sums are larger than the phases.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

import clit_deploy
from benchmarks.common import clit_spec, liif_spec, random_plan, report
from benchmarks.speed import CASES, gemm_speed
from clit_deploy.passes.inner_tensors import session_with
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.wrappers import InputRecorder
from clit_deploy.system.phases import Recorder
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Shapes = tuple[tuple[str, tuple[int, ...]], ...]
    """Names and shapes of a graph's inputs."""

GEMM_GOAL = 0.6
"""Of the speed of one large product, over the whole decode."""
PRODUCTS = ("Conv", "MatMul", "Gemm")


def work_of(model: onnx.ModelProto, shapes: Shapes) -> tuple[float, float]:
    """Multiply-adds and bytes of the products of one run of a graph."""
    nodes = [node for node in model.graph.node if node.op_type in PRODUCTS]
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    wanted = {name for node in nodes for name in (*node.input[:2], node.output[0])}
    inner = sorted(wanted - set(constants) - {i.name for i in model.graph.input})
    feeds = {name: np.zeros(shape, np.float32) for name, shape in shapes}
    session = session_with(model, inner)
    names = [output.name for output in session.get_outputs()]
    found = {**constants, **feeds, **dict(zip(names, session.run(None, feeds), strict=True))}
    adds = moved = 0.0
    for node in nodes:
        first, second = (found[name] for name in node.input[:2])
        result = found[node.output[0]]
        per_value = second[0].size if node.op_type == "Conv" else first.shape[-1]
        adds += result.size * per_value
        moved += 4 * (first.size + second.size + result.size)
    return adds, moved


def recorded(plan: Plan, image: NDArray[np.float32], scale: float, threads: int) -> Counter[Any]:
    """How often each graph runs with which shapes."""
    seen: Counter[Any] = Counter()

    def record(member: str, feeds: Any) -> None:
        seen[member, tuple(sorted((name, array.shape) for name, array in feeds.items()))] += 1

    with Upscaler(plan, runtime=InputRecorder(open_runtime("cpu", threads), record)) as up:
        up.upscale(image, scale=scale)
    return seen


def phases_of(
    plan: Plan, image: NDArray[np.float32], scale: float, threads: int, runs: int
) -> dict[str, float]:
    """Median seconds of each phase, and of what is in none of them."""
    found: dict[str, list[float]] = defaultdict(list)
    with clit_deploy.load(plan, runtime="cpu", threads=threads) as up:
        up.upscale(image, scale=scale)
        for _ in range(runs):
            start = time.perf_counter_ns()
            with Recorder() as recorder:
                up.upscale(image, scale=scale)
            whole = time.perf_counter_ns() - start
            sums: Counter[str] = Counter()
            for phase in recorder.phases:
                sums[phase.name] += phase.stop - phase.start
            sums["other"] = whole - sum(sums.values())
            for name, nanoseconds in sums.items():
                found[name].append(nanoseconds / 1e9)
    return {name: statistics.median(values) for name, values in found.items()}


def operators_of(
    plan: Plan, image: NDArray[np.float32], scale: float, threads: int
) -> dict[str, dict[str, float]]:
    """The part of each operator in the time of each graph."""
    runtime = open_runtime("cpu", threads)
    runtime.start_layers()  # type: ignore[attr-defined]
    with Upscaler(plan, runtime=runtime) as up:
        up.upscale(image, scale=scale)
        layers = runtime.layers()  # type: ignore[attr-defined]
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for layer in layers:
        found[layer.member][layer.kind] += layer.ms
    return {
        member: {kind: ms / kinds.total() for kind, ms in kinds.most_common()}
        for member, kinds in found.items()
    }


def graph_of(plan: Plan, phase: str) -> str | None:
    """The graph that runs in a phase; None for host work."""
    if phase == "encoder":
        return plan.manifest.encoder.graph
    stage, _, part = phase.partition(".")
    if part not in ("project", "decode"):
        return None
    member: str = getattr(plan.manifest.stages[int(stage.removeprefix("stage"))], part)
    return member


def measure(
    path: Path, scale: float, side: int, threads: int, runs: int, gemm: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of both tables for one case."""
    plan = Plan.open(path)
    image = np.random.RandomState(0).rand(side, side, 3).astype(np.float32)
    adds: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    models: dict[str, onnx.ModelProto] = {}
    for (member, shapes), count in recorded(plan, image, scale, threads).items():
        if member not in models:
            models[member] = onnx.load_from_string(plan.read(member))
        some = work_of(models[member], shapes)
        adds[member] += count * some[0]
        moved[member] += count * some[1]
        calls[member] += count
    seconds = phases_of(plan, image, scale, threads, runs)
    case = f"{plan.manifest.family} x{scale:g}"
    rows = []
    for phase, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        member = graph_of(plan, phase)
        work = adds[member] if member else 0.0
        ideal = work / gemm
        rows.append(
            {
                "case": case,
                "phase": phase,
                "ms": spent * 1e3,
                "runs": calls[member] if member else 0,
                "GMAC": work / 1e9,
                "GB": (moved[member] if member else 0) / 1e9,
                "ms at GEMM speed": ideal * 1e3,
                "of GEMM speed": ideal / spent,
                "gap ms": (spent - ideal / GEMM_GOAL) * 1e3 if work else spent * 1e3,
            }
        )
    kinds = operators_of(plan, image, scale, threads)
    operators = [
        {"case": case, "graph": member, "operator": kind, "share": share}
        for member, shares in kinds.items()
        for kind, share in shares.items()
        if share > 0.02
    ]
    return rows, operators


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["clit", "liif"])
    parser.add_argument("--json")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    operators: list[dict[str, Any]] = []
    plans: dict[str, Path] = {}
    for family, scale, side in CASES:
        if args.only not in (None, family):
            continue
        if family not in plans:
            plans[family] = random_plan(clit_spec() if family == "clit" else liif_spec())[1]
        gemm = gemm_speed()
        some = measure(plans[family], scale, side, args.threads, args.runs, gemm)
        rows += some[0]
        operators += some[1]
        graphs = [row for row in some[0] if row["runs"]]
        reached = sum(row["ms at GEMM speed"] for row in graphs) / sum(row["ms"] for row in graphs)
        print(
            f"{family} x{scale}: {sum(row['ms'] for row in some[0]):.0f} ms, {gemm / 1e9:.0f} "
            f"GMAC/s in one product; the graphs reach {reached:.0%} of it, the goal is "
            f"{GEMM_GOAL:.0%}",
            flush=True,
        )
    report(f"Phases, {args.threads} threads, medians", rows, args.json)
    report("Operators of each graph, as a part of its time", operators, None)


if __name__ == "__main__":
    main()
