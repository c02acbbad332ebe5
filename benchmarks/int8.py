"""INT8 against FP32 on this machine: speed in one run, and where a decoder's time goes.

    python -m benchmarks.int8 FLOAT.plan INT8.plan [--scales 2 4 12] [--side 48] [--threads 2]
    python -m benchmarks.int8 FLOAT.plan INT8.plan --profile [--scales 4]

The two plans take turns on one image; figures are medians, of wall-clock time and of the
process's own processor time, which other work on the machine disturbs less. `--profile` runs the
first stage's decode graph alone, on one thread, on a chunk as the scheduler cuts it, and adds up
ONNX Runtime's own times by operator.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import clit_deploy
from benchmarks.common import report
from clit_deploy.plan.plan_file import Plan
from clit_deploy.render.layout import cells_at_once
from clit_deploy.runtimes.ort.sessions import session_options
from clit_deploy.runtimes.protocols import WorkLimits

RUNS = 30


def speed(plans: list[Path], scale: float, side: int, threads: int, runs: int) -> dict[str, Any]:
    image = np.random.RandomState(0).rand(side, side, 3).astype(np.float32)
    clocks = (time.perf_counter, time.process_time)
    times: list[list[list[float]]] = [[[], []] for _ in plans]
    with contextlib.ExitStack() as stack:
        ups = [
            stack.enter_context(clit_deploy.load(p, runtime="cpu", threads=threads)) for p in plans
        ]
        for turn in range(runs + 1):
            for up, found in zip(ups, times, strict=True):
                start = [clock() for clock in clocks]
                up.upscale(image, scale=scale)
                if turn:  # the first loads the graphs
                    for clock, begun, kept in zip(clocks, start, found, strict=True):
                        kept.append(clock() - begun)
    (wall, cpu), (wall8, cpu8) = [[statistics.median(kept) for kept in found] for found in times]
    pixels = (side * scale) ** 2 / 1e6
    return {
        "scale": scale,
        "threads": threads,
        "float MP/s": pixels / wall,
        "int8 MP/s": pixels / wall8,
        "times as fast": wall / wall8,
        "by processor time": cpu / cpu8,
    }


def profile(path: Path, scale: float) -> list[dict[str, Any]]:
    """Milliseconds a run of each kind of operator of the first stage's decode graph."""
    plan = Plan.open(path)
    info, n = plan.manifest.stages[0], round(scale)
    cells = cells_at_once(info, n * n, WorkLimits())
    options, disabled = session_options(plan.manifest.precision, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = ort.InferenceSession(
            plan.read(info.decode),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=disabled,
        )
        sizes = {"rows": 1, "cols": cells, "padded_cols": cells + info.before + info.after}
        sizes |= {"ny": n, "nx": n}
        random = np.random.RandomState(0)
        feeds = {
            v.name: random.uniform(-1, 1, [sizes.get(d, d) for d in v.shape]).astype(np.float32)
            for v in session.get_inputs()
        }
        for _ in range(RUNS):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    times: collections.Counter[str] = collections.Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"]] += event["dur"]
    whole = sum(times.values())
    return [
        {"plan": path.name, "operator": op, "ms": took / RUNS / 1e3, "share": took / whole}
        for op, took in times.most_common(10)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plans", type=Path, nargs=2)
    parser.add_argument("--scales", type=float, nargs="*", default=[2, 4, 12])
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.profile:
        rows = [row for path in args.plans for row in profile(path, args.scales[0])]
        report(f"Decode, x{args.scales[0]:g}, one thread", rows, args.json)
        return
    rows = []
    for scale in args.scales:
        side = max(args.side // max(round(scale / 4), 1), 8)
        rows += [speed(args.plans, scale, side, t, args.runs) for t in args.threads]
    report("INT8 against FP32, medians", rows, args.json)


if __name__ == "__main__":
    main()
