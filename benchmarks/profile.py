"""Can the profiler be believed? Three answers.

    python -m benchmarks.profile [--threads 2] [--rounds 4] [--seconds 6] [--scales 2 4]

(a) Phases: the part of the end-to-end time that they cover. (b) The stopwatch, twice: the command
in another process, whose output file is watched from outside, so that the very same runs are timed
by both; and a process without any profiler that prints a line after each of its runs, in turns with
the command. (c) Cost: runs that are profiled, with the sensors of a recorded Orin NX being read,
and runs that are not, in turns of one, by wall and by CPU time (the sampler's start and end
in each run included); and the same cost counted: what a phase and an observed call take by
themselves, times how many there are in a run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import recorded_tree, report
from clit_deploy.images.image_files import PHOTOGRAPH
from clit_deploy.profile.runs import FileJob
from clit_deploy.profile.sampler import Sampler
from clit_deploy.profile.sensors import find
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.wrappers import TracedRuntime
from clit_deploy.system.phases import Recorder, phase
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Sequence

WATCHED = """
import sys
from pathlib import Path
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file
from clit_deploy.upscaler import Upscaler
image, target, scale, threads = sys.argv[1:]
with Upscaler(runtime="cpu", threads=int(threads)) as up:
    while True:
        upscale_file(up, Path(image), Path(target), OutputSize(float(scale)), force=True)
        print(flush=True)
"""
WARM_UP = 3
"""Lines that do not count, as in the profile."""


def stopwatch(image: Path, scale: float, threads: int, seconds: float) -> list[float]:
    """Milliseconds between the lines of another process."""
    target = image.with_name("watched.png")
    command = [sys.executable, "-c", WATCHED, image, target, scale, threads]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE) as running:
        assert running.stdout is not None  # noqa: S101
        lines = [0.0]
        start = float("inf")
        while lines[-1] < start + seconds:
            if not running.stdout.readline():
                raise SystemExit(f"The watched process ended with {running.wait()}.")
            lines.append(time.perf_counter())
            if len(lines) == WARM_UP + 1:
                start = lines[-1]
        running.kill()
    lines = lines[WARM_UP:]
    return [1000 * (b - a) for a, b in itertools.pairwise(lines)]


def watched(image: Path, scale: float, threads: int, seconds: float) -> tuple[Any, list[float]]:
    """A row of the command's profile, and the milliseconds between its files, seen from outside."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "profile.json"
        command = [sys.executable, "-m", "clit_deploy", "profile", "--image", image]
        command += ["--scale", scale, "--threads", threads, "--duration", f"{seconds}s"]
        command += ["--runtime", "cpu", "-o", saved]
        env = {**os.environ, "TMPDIR": folder}
        seen: list[int] = []
        with subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
        ) as running:
            while running.poll() is None:
                for path in Path(folder).glob("clit-profile-*/output.png"):
                    written = path.stat().st_mtime_ns
                    if not seen or written != seen[-1]:
                        seen.append(written)
                time.sleep(0.002)
        (row,) = json.loads(saved.read_text())["rows"]
    first = 1 + row["loading"]["warm_up_runs"]
    ends = seen[first - 1 : first + len(row["runs"])]
    return row, [(b - a) / 1e6 for a, b in itertools.pairwise(ends)]


def agreement(image: Path, scale: float, args: argparse.Namespace) -> dict[str, Any]:
    """Phases and stopwatches of one scale."""
    inside: list[float] = []
    same: list[float] = []
    apart: list[float] = []
    covers = []
    for _ in range(args.rounds):
        row, gaps = watched(image, scale, args.threads, args.seconds)
        inside += [ms for _, ms in row["runs"]]
        same += gaps
        covers.append(row["phases_cover"])
        apart += stopwatch(image, scale, args.threads, args.seconds)
    ours, outside, plain = map(statistics.median, (inside, same, apart))
    return {
        "scale": scale,
        "runs": len(inside),
        "least phases %": 100 * min(covers),
        "p50 ms": ours,
        "same runs, outside ms": outside,
        "off by %": 100 * (ours / outside - 1),
        "unprofiled process ms": plain,
        "off from it by %": 100 * (ours / plain - 1),
    }


def cost(image: Path, scale: float, args: argparse.Namespace, root: Path) -> dict[str, Any]:
    """What profiling adds to a run: measured in turns, and counted."""
    found = find(root)
    target = image.with_name("cost.png")
    plain, profiled = Clocks(), Clocks()
    with (
        Upscaler(runtime="cpu", threads=args.threads) as bare,
        Upscaler(runtime=TracedRuntime(open_runtime("cpu", args.threads))) as up,
    ):
        assert isinstance(up.runtime, TracedRuntime)  # noqa: S101
        job = FileJob(up, up.runtime, image, target, scale)
        job.run()
        upscale_file(bare, image, target, OutputSize(scale), force=True)
        end = time.perf_counter() + 2 * args.rounds * args.seconds
        while time.perf_counter() < end:
            with plain:
                upscale_file(bare, image, target, OutputSize(scale), force=True)
            with profiled, Sampler(found.sensors):
                run, _ = job.run()
    counted = counted_ms(run.phases, run.calls)
    return {
        "scale": scale,
        "pairs": len(plain.wall),
        "plain ms": statistics.median(plain.wall),
        "profiled ms": statistics.median(profiled.wall),
        "wall %": excess(profiled.wall, plain.wall),
        "CPU %": excess(profiled.cpu, plain.cpu),
        "counted %": 100 * counted / statistics.median(plain.wall),
        "sensors % of a core": 100 * steady_share(found.sensors),
    }


class Clocks:
    """Milliseconds of wall and of CPU time of every block that it is entered for."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def __enter__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall.append(1000 * (time.perf_counter() - self._start[0]))
        self.cpu.append(1000 * (time.process_time() - self._start[1]))


def excess(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Percent by which ours are more, by the median over pairs of neighbors."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return 100 * (statistics.median(pairs) - 1)


def counted_ms(phases: Sequence[Any], calls: Sequence[Any]) -> float:
    """Milliseconds that recording takes in one run, beside the sampler's own thread."""

    class Nothing:
        name, work_limits, arrays = "", None, None

        def runner(self, *_: Any, **__: Any) -> Any:
            return self

        def run(self, _: Any) -> None:
            return None

    def one_phase() -> None:
        with phase("encoder"):
            pass

    observed = TracedRuntime(Nothing())  # type: ignore[arg-type]
    runner = observed.runner(None, "encoder.onnx", parallel=True)  # type: ignore[arg-type]
    with Recorder():
        of_phase = timeit.timeit(one_phase, number=20_000) / 20
    of_call = timeit.timeit(lambda: runner.run({}), number=20_000) / 20
    return len(phases) * of_phase + len(calls) * of_call


def steady_share(sensors: Sequence[Any], seconds: float = 5.0) -> float:
    """Fraction of one CPU core that reading the sensors takes."""
    with Sampler(sensors) as sampler:
        time.sleep(seconds)
    return sampler.cost_s / sampler.elapsed_s


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """The row itself, printed at once because each takes minutes."""
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--scales", type=float, nargs="*", default=[2.0, 4.0])
    parser.add_argument("--json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = recorded_tree("orin-nx-jetpack6", Path(folder) / "root")
        image = Path(shutil.copy(PHOTOGRAPH, folder))
        rows = [shown(agreement(image, scale, args)) for scale in args.scales]
        report(f"Phases and stopwatch, {args.threads} threads", rows, args.json)
        rows = [shown(cost(image, scale, args, root)) for scale in args.scales[:2]]
        report("Cost of profiling", rows, args.json and f"{args.json}.cost")


if __name__ == "__main__":
    main()
