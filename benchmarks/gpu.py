"""What a GPU does with eager PyTorch, and with the same models as plans.

    python -m benchmarks.gpu --plans FOLDER [--json FILE] [--seconds 300] [--tiny]

Eager PyTorch runs the per-query form that was published: in FP32 (without TF32), with FP16 autocast
and with torch.compile. The plans run on WebGPU and, where they are present, on CUDA and TensorRT.
All compute the same function. Inputs are 480x270 and 1920x1080, cropped at their center until the
output has at most 8.3 megapixels, because whole images are cut into pieces anyway. Decibels are the
agreement with eager FP32. `--tiny` rehearses it on a CPU or a software adapter.

`scripts/gpu-check` carries this to a machine, and runs the tests there before.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import torch

import clit_deploy
from benchmarks.gpu_models import model_of, spec_of
from clit_deploy.errors import ClitDeployError, error_message
from clit_deploy.profile.machine import machine
from clit_deploy.runtimes.webgpu.plugin import found_adapters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

CASES = [("clit", 4), ("clit", 12), ("clit", 30), ("liif", 2), ("liif", 4)]
INPUTS = [(480, 270), (1920, 1080)]
"""Width and height."""
LARGEST = 3840 * 2160
"""Pixels of an output."""
TINY_CASES, TINY_INPUTS = [("liif", 2), ("clit", 5)], [(4, 3)]
RUNS, RUN_SECONDS = 5, 8.0
"""Runs of each row after the first one, and seconds after which no other begins."""


@dataclass(frozen=True)
class Row:
    """One model at one scale, by one contender."""

    model: str
    scale: int
    input: str
    """Width x height of what was measured, after cropping."""
    contender: str
    megapixels_per_second: float | None
    first_seconds: float | None
    """The first run, with all that is compiled or built in it."""
    memory_mb: float | None
    """Device memory in use after the runs, less what was in use before them."""
    psnr: float | None
    """dB against eager FP32, for values from 0 to 1."""
    note: str = ""
    """Why there are no figures."""


Work = tuple["NDArray[np.float32]", int]
"""An image `[h, w, 3]` and a scale."""


@contextlib.contextmanager
def eager(model: torch.nn.Module, device: str, mode: str) -> Iterator[Callable[[Work], Any]]:
    """The model as published: `fp32`, `fp16` or `compile`."""
    model.to(device)
    plain = model.query
    if mode == "compile":
        model.query = torch.compile(plain, dynamic=True)
    half = torch.autocast(device, torch.float16, enabled=mode == "fp16")

    def run(work: Work) -> NDArray[np.float32]:
        image, scale = work
        tensor = torch.from_numpy(image).to(device)
        with half, torch.no_grad():
            found = model.render(tensor, (image.shape[0] * scale, image.shape[1] * scale), scale)
        return found.float().cpu().numpy()  # waits for the device

    try:
        yield run
    finally:
        model.query = plain
        if device == "cuda":
            torch.cuda.empty_cache()


@contextlib.contextmanager
def plan_on(path: Path, runtime: str, device: str | None) -> Iterator[Callable[[Work], Any]]:
    """A plan as `run` uses it."""
    with clit_deploy.load(path, runtime=runtime, device=device) as up:
        yield lambda work: up.upscale(work[0], scale=work[1], clip=False)


def input_of(width: int, height: int, scale: int) -> NDArray[np.float32]:
    """Noise of many sizes, `[h, w, 3]`, cropped until the output is not too large."""
    shrink = min(1.0, math.sqrt(LARGEST / (width * height * scale**2)))
    height, width = max(int(height * shrink), 1), max(int(width * shrink), 1)
    rng = np.random.RandomState(0)
    image = rng.rand(height, width, 3).astype(np.float32)
    coarse = rng.rand(-(-height // 8), -(-width // 8), 3).astype(np.float32)
    return (image + 3 * coarse.repeat(8, 0).repeat(8, 1)[:height, :width]) / 4


def used_memory() -> float:
    """MB of device memory in use by everyone."""
    if not torch.cuda.is_available():
        return 0.0
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 1e6


def measure(run: Callable[[Work], Any], work: Work) -> tuple[float, float, NDArray[np.float32]]:
    """Seconds of the first run, the median of the others, and the output."""
    times, output = [], np.empty(0, np.float32)
    end = time.perf_counter() + RUN_SECONDS
    while len(times) <= RUNS and (len(times) < 2 or time.perf_counter() < end):
        start = time.perf_counter()
        output = run(work)
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:]), output


def agreement(output: NDArray[np.float32], expected: NDArray[np.float32] | None) -> float | None:
    """PSNR in dB; None without something to compare with, or if both are equal."""
    if expected is None:
        return None
    error = float(np.mean((output.astype(np.float64) - expected) ** 2))
    return -10 * math.log10(error) if error else None


def contenders(plans: Path, family: str, model: torch.nn.Module, software: str | None) -> Any:
    """Names and context managers, the reference first."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found: dict[str, Any] = {"eager fp32": lambda: eager(model, device, "fp32")}
    if device == "cuda":
        found["eager fp16"] = lambda: eager(model, device, "fp16")
        found["eager compile"] = lambda: eager(model, device, "compile")
    for path in sorted(plans.glob(f"{family}*.plan")):
        precision = path.stem.partition("-")[2] or "fp32"
        for runtime in ("webgpu", "cuda", "tensorrt"):
            chosen = software if runtime == "webgpu" else None
            found[f"plan {precision} {runtime}"] = lambda p=path, r=runtime, d=chosen: plan_on(
                p, r, d
            )
    return found


def rows_of(plans: Path, seconds: float, software: str | None, *, tiny: bool) -> Iterator[Row]:
    """All rows; what begins after `seconds` has a note instead of figures."""
    end = time.perf_counter() + seconds
    for family, scale in TINY_CASES if tiny else CASES:
        model = model_of(spec_of(family, tiny=tiny))
        for size in TINY_INPUTS if tiny else INPUTS:
            work = input_of(*size, scale), scale
            shown = f"{work[0].shape[1]}x{work[0].shape[0]}"
            expected = None
            for name, opened in contenders(plans, family, model, software).items():
                row = Row(family, scale, shown, name, None, None, None, None, "no time was left")
                if time.perf_counter() < end:
                    row, output = one_row(row, opened, work, expected)
                    expected = output if expected is None else expected
                yield row


def one_row(
    row: Row, opened: Any, work: Work, expected: NDArray[np.float32] | None
) -> tuple[Row, NDArray[np.float32] | None]:
    """A row with its figures, or with the reason why there are none."""
    before = used_memory()
    try:
        with opened() as run:
            first, median, output = measure(run, work)
            memory = used_memory() - before
    except (ClitDeployError, RuntimeError, MemoryError) as error:
        return dataclasses.replace(row, note=error_message(error).splitlines()[0][:200]), None
    pixels = output.shape[0] * output.shape[1] / 1e6
    speed, psnr = pixels / median, agreement(output, expected)
    return Row(row.model, row.scale, row.input, row.contender, speed, first, memory, psnr), output


def table(rows: list[Row]) -> list[str]:
    """The README's table: rows with figures."""
    lines = [
        "| model | input | on | megapixels/s | memory MB | dB against eager FP32 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row.megapixels_per_second is not None:
            psnr = "" if row.psnr is None else f"{row.psnr:.1f}"
            lines.append(
                f"| {row.model.upper()} x{row.scale} | {row.input} | {row.contender} "
                f"| {row.megapixels_per_second:.3g} | {row.memory_mb:.0f} | {psnr} |"
            )
    return lines


def described() -> dict[str, Any]:
    """The machine, its GPU and its adapters."""
    found = dataclasses.asdict(machine(Path("/")))
    found["torch"] = torch.__version__
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    with contextlib.suppress(ClitDeployError):
        found["adapters"] = [dataclasses.asdict(adapter) for adapter in found_adapters()]
    return found


def write(path: Path, about: dict[str, Any], rows: list[Row], tests: Path | None) -> None:
    """One JSON: the machine, the results of the tests and the rows so far."""
    record: dict[str, Any] = {"machine": about}
    if tests is not None and tests.exists():
        (suite,) = ElementTree.parse(tests).getroot().iter("testsuite")  # noqa: S314  (our own)
        record["tests"] = {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")}
    record["rows"] = [dataclasses.asdict(row) for row in rows]
    path.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=Path, required=True, help="folder with the plans")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tests", type=Path, help="JUnit file of the tests, for the record")
    parser.add_argument("--seconds", type=float, default=270)
    parser.add_argument("--device", help="a WebGPU adapter; software ones have to be named")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    about, rows = described(), []
    with contextlib.suppress(KeyboardInterrupt):  # whoever stops it keeps what there is
        for row in rows_of(args.plans, args.seconds, args.device, tiny=args.tiny):
            rows.append(row)
            print(dataclasses.asdict(row), flush=True)
            if args.json:
                write(args.json, about, rows, args.tests)
    print("\n".join(["", about.get("gpu", about["cpu"]), "", *table(rows)]))


if __name__ == "__main__":
    main()
