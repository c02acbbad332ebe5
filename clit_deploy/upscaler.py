"""The Python interface: open a plan, upscale arrays."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from clit_deploy.config import RuntimeName, parse_bytes
from clit_deploy.encoded_image import EncodedImage
from clit_deploy.engines.select import choose_runtime
from clit_deploy.errors import OptionError
from clit_deploy.images.pixels import check_pixels
from clit_deploy.plan.plan_file import Plan
from clit_deploy.render.coordinates import output_of, queries_of
from clit_deploy.render.layout import Job
from clit_deploy.render.renderer import Renderer
from clit_deploy.system import memory
from clit_deploy.zoo.named_models import default_model, find_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.render.layout import Layout
    from clit_deploy.runtimes.protocols import Runtime

log = logging.getLogger(__name__)

MOST_THREADS = 256
"""Every thread holds a chunk in memory; a larger number is almost certainly a typo."""


def load(
    plan: str | Path | Plan | None = None,
    *,
    runtime: str = "auto",
    threads: int | None = None,
    max_memory: str | int | None = None,
    rebuild: bool = True,
    device: str | None = None,
) -> Upscaler:
    """Open a plan; use the result in a `with` statement, or close it.

    Args:
        plan: a `.plan` file, or the name of a model of the package (a file of that name comes
            first); None for the default model.
        runtime: `cpu`, `cuda`, `tensorrt`, `tensorrt-rtx`, `webgpu`, or `auto` for the best one
            available.
        threads: CPU threads, 1 to 256; by default one for each CPU that this process may use.
        max_memory: bytes that the process may hold, as a number or like `2GB`.
        rebuild: build engines if those of the plan are missing or built for another device.
        device: number or part of the name of a WebGPU adapter, which `auto` then uses.

    Raises:
        MissingFileError, PlanError: the plan cannot be read.
        RuntimeUnavailableError: the runtime is not available.
        EngineError, BuildError: engines that do not fit and may not or cannot be rebuilt.
        OptionError: an unknown runtime, an empty path, or threads or a memory size out of range.
    """
    return Upscaler(
        plan,
        runtime=runtime,
        threads=threads,
        max_memory=max_memory,
        rebuild=rebuild,
        device=device,
    )


class Upscaler:
    """A plan on a runtime. See `load`; `layout` overrides the choice of tile and block, and
    `runtime` may be one that is already open.

    Several threads may use it at once. Closing it waits for the step in progress; whatever is
    unfinished then, and every later call, raises `ClosedError`. So does a process that was forked
    after loading: load the plan there.
    """

    def __init__(
        self,
        plan: str | Path | Plan | None = None,
        *,
        runtime: str | Runtime = "auto",
        threads: int | None = None,
        max_memory: str | int | None = None,
        layout: Layout | None = None,
        rebuild: bool = True,
        device: str | None = None,
    ) -> None:
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise OptionError(f"threads is {threads}; a number from 1 to {MOST_THREADS} is needed.")
        allowed = None if max_memory is None else parse_bytes(max_memory)
        if not isinstance(runtime, str) and not hasattr(runtime, "runner"):
            known = ", ".join(name.value for name in RuntimeName)
            raise OptionError(f"runtime is {runtime!r:.80}; use one of {known}.")
        opened = _opened(plan)
        if allowed is not None:
            memory.return_freed_blocks()
        if isinstance(runtime, str):
            opened, runtime = choose_runtime(
                opened, runtime, threads=threads, rebuild=rebuild, device=device
            )
        self._renderer = Renderer(opened, runtime, allowed, layout)

    def __enter__(self) -> Upscaler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._renderer.closed else ""
        return f"<Upscaler of {self.plan.name} on {self.runtime.name}{state}>"

    def close(self) -> None:
        """Wait for the step in progress, then release the runtime's threads and graphs."""
        self._renderer.close()

    @property
    def plan(self) -> Plan:
        """The plan, including engines that were built for this run."""
        return self._renderer.plan

    @property
    def runtime(self) -> Runtime:
        """The runtime that the plan runs on."""
        return self._renderer.runtime

    @property
    def max_memory(self) -> int | None:
        """Bytes that the process may hold; None takes what the machine has available."""
        return self._renderer.max_memory

    @property
    def renderer(self) -> Renderer:
        """The object that renders, for the commands of this package; not a public interface."""
        return self._renderer

    def upscale(
        self,
        image: NDArray[np.generic],
        *,
        scale: float | None = None,
        size: Size | None = None,
        clip: bool = True,
    ) -> NDArray[np.float32]:
        """Upscale one image.

        Args:
            image: uint8, uint16 or float32 (0 to 1), `[h, w, 3]`.
            scale: factor of both sides, at least 1; or
            size: height and width of the output in pixels.
            clip: cut the result to 0..1.

        Returns: float32 `[H, W, 3]`, 0 to 1 if clipped.

        Raises:
            ImageError: another shape or type, or values that are not finite.
            SizeError: an invalid scale or size.
            MemoryBudgetError: it does not fit into the memory allowed.
            NonFiniteError: a stage of the model computed NaN or infinite values.
            ClosedError: the upscaler is closed, or the process was forked.
        """
        job = self._renderer.job(image, scale=scale, size=size)
        return self._renderer.prepare(job, held_per_pixel=12).array(image, clip=clip)

    def encode(
        self,
        image: NDArray[np.generic],
        *,
        cache: str | int = "256MB",
        half: bool = False,
    ) -> EncodedImage:
        """Keep an image's features, to render any part of it at any zoom.

        Args:
            image: uint8, uint16 or float32 (0 to 1), `[h, w, 3]`. It is not copied.
            cache: bytes of features to keep, as a number or like `1GB`; what was not read for the
                longest time goes first.
            half: keep them as float16: twice as many, and colors differ by about 1e-3.

        Raises:
            ImageError: another shape or type, or values that are not finite.
            OptionError: the cache is not a size, or does not hold one tile of features; or `half`
                on a device.
            ClosedError: the upscaler is closed, or the process was forked.
        """
        self._renderer.job(image, scale=1.0)
        return EncodedImage(self._renderer, image, parse_bytes(cache), half=half)

    def query(
        self,
        image: NDArray[np.generic],
        coords: NDArray[np.float64],
        cell: NDArray[np.float64] | None = None,
        *,
        scale: float | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.float32]:
        """The image's colors at any coordinates, straight from the network.

        Args:
            image: uint8, uint16 or float32 (0 to 1), `[h, w, 3]`.
            coords: float64 `[q, 2]`, row and column; -1 and 1 are the image's edges.
            cell: height and width of the queried pixels in the same units, `[2]` or `[q, 2]`; by
                default the spacing if `coords` are a regular grid, otherwise a quarter of an image
                pixel.
            scale: decides how many stages of a cascade run; by default the scale of `cell`.
            progress: called with the part that is done, 0 to 1.

        Returns: float32 `[q, 3]`, not clipped; at the centers of a grid the same as `upscale`.

        Raises:
            ImageError: the image has another shape or type, or values that are not finite.
            CoordinateError: coordinates or cells of another shape, outside their range, or NaN.
            SizeError: an invalid scale.
            MemoryBudgetError: it does not fit into the memory allowed.
            NonFiniteError: a stage of the model computed NaN or infinite values.
            ClosedError: the upscaler is closed, or the process was forked.
        """
        check_pixels(image)
        shape = image.shape[0], image.shape[1]
        queries = queries_of(coords, cell, shape)
        job = Job(shape, *output_of(queries, shape, scale))
        return self._renderer.answer(image, job, queries, progress)

    def attention(
        self,
        image: NDArray[np.generic],
        at: tuple[int, int],
        *,
        scale: float | None = None,
        size: Size | None = None,
    ) -> list[NDArray[np.float32]]:
        """The attention weights of one output pixel: of every head, for every stage that runs.

        Args:
            image: uint8, uint16 or float32 (0 to 1), `[h, w, 3]`.
            at: row and column of the output pixel.
            scale: factor of both sides, at least 1; or
            size: height and width of the output in pixels.

        Returns: a list of float32 `[heads, 2r + 1, 2r + 1]` (rows, columns of the window on the
            stage's grid); each window sums to 1.

        Raises:
            ImageError, SizeError, MemoryBudgetError, NonFiniteError, ClosedError: see `upscale`.
            UnsupportedModelError: the plan's model has no attention.
            CoordinateError: `at` is outside the output.
        """
        job = self._renderer.job(image, scale=scale, size=size)
        return self._renderer.attention(image, job, at)


def _opened(plan: str | Path | Plan | None) -> Plan:
    if isinstance(plan, Plan):
        return plan
    if plan is None:
        return Plan.open(default_plan())
    if not plan:
        raise OptionError("The plan's path is empty; name a .plan file, or None for the default.")
    return Plan.open(find_plan(plan))


def default_plan() -> Path:
    """The plan of the default model; the first use logs a warning."""
    global _said
    model = default_model()
    if not _said:
        log.warning("no plan is named, so the default model is used (%s)", model.name)
        _said = True
    return model.plan


_said = False
