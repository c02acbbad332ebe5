"""`Upscaler`: a callable class for Ray Data's `Dataset.map_batches`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import (
    ClitDeployError,
    ImageError,
    MissingFileError,
    OptionError,
    error_message,
)
from clit_deploy.images.image_options import DEFAULT, ImageOptions
from clit_deploy.images.pixels import check_pixels, to_depth
from clit_deploy.ray.actor_share import node_name, running_settings
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.result_format import result_suffix
from clit_deploy.tasks.upscale_file import upscale_file
from clit_deploy.upscaler import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan

COLUMNS = ("bytes", "image")
"""What a batch holds: files of images, or their pixels."""


class Upscaler:
    """Upscales the rows of a batch; one plan for each actor.

        dataset.map_batches(
            clit_deploy.ray.Upscaler,
            fn_constructor_kwargs={"plan": clit_deploy.ray.ship("clit.plan"), "scale": 4},
            batch_size=8, num_gpus=0.5, compute=ray.data.ActorPoolStrategy(size=2),
        )

    A row has a column `bytes`, the content of an image file, which becomes that of the result as
    `clit-deploy run` writes it; or a column `image`, uint8, uint16 or float32 `[h, w, 3]`, which
    becomes `[H, W, 3]` of the same type. Other columns stay. The new column `error` is None, or
    says why a row failed; its `bytes` are then empty, or its `image` has no pixels.

    Args:
        plan: what `ship` returns, a path that every node has, or the name of a model of the
            package; None for the default model.
        options: how files are written.
        runtime: as in `clit_deploy.load`; `auto` takes the CPU where Ray gives the actor no GPU.
        threads: CPU threads; None takes as many as Ray gives the actor CPUs (`num_cpus`).
        max_memory: bytes that the actor may hold; None takes its share of the node.
        size: one of `scale`, `factors`, `size`, `width`, `height`, `longest`, `shortest`, `fit`
            and `fill`; see `clit-deploy run`. Sizes and factors are height, then width.

    Raises:
        OptionError: an invalid size or option, which ends the job, because every row would fail.
        MissingFileError: the plan is not on this node, which the message names with the path.
        ClitDeployError: see `clit_deploy.load`.
    """

    def __init__(
        self,
        plan: str | Path | Plan | None = None,
        *,
        options: ImageOptions = DEFAULT,
        runtime: str = "auto",
        threads: int | None = None,
        max_memory: str | int | None = None,
        **size: Any,
    ) -> None:
        self._wanted, self._options = _wanted(size), options
        try:
            self._up = load(plan, **running_settings(runtime, threads, max_memory))
        except MissingFileError as error:
            raise MissingFileError(
                f"On node {node_name()}: {error} Pass clit_deploy.ray.ship({str(plan)!r:.200}) to "
                "send the plan along, or copy it to every node."
            ) from error

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, Any]:
        """Upscale every row of a batch in Ray's default format, a dict of NumPy arrays.

        Raises:
            OptionError: another format, or a batch without a column of images.
        """
        column = _column(batch)
        done = [self._attempt(column, row) for row in batch[column]]
        made = np.empty(len(done), object)
        made[:] = [result for result, _ in done]
        return {**batch, column: made, "error": np.array([error for _, error in done], object)}

    def _attempt(self, column: str, row: Any) -> tuple[Any, str | None]:
        """The result of a row and why it failed; exactly one of them is nothing."""
        try:
            return self._file(row) if column == "bytes" else self._pixels(row), None
        except Exception as error:  # any failure: the other rows must go on
            kind = getattr(row, "dtype", np.dtype(np.uint8))
            nothing = b"" if column == "bytes" else np.zeros((0, 0, 3), kind)
            return nothing, error_message(error)

    def _file(self, content: Any) -> bytes:
        if not isinstance(content, bytes):
            raise ImageError(f"The row holds {type(content).__name__} instead of bytes.")
        with tempfile.TemporaryDirectory(prefix="clit-deploy-") as folder:
            source = Path(folder) / "image"
            source.write_bytes(content)
            suffix = result_suffix(source, [self._wanted], self._options)
            target = Path(folder) / f"result{suffix}"
            try:
                upscale_file(self._up, source, target, self._wanted, options=self._options)
            except ClitDeployError as error:  # the row has no file that a user knows
                shown = error_message(error).replace(str(source), "The image")
                raise ImageError(shown) from error
            return target.read_bytes()

    def _pixels(self, image: Any) -> NDArray[Any]:
        check_pixels(image)
        renderer = self._up.renderer
        job = self._wanted.job(renderer, (image.shape[0], image.shape[1]))
        made = renderer.prepare(job, held_per_pixel=12 + image.dtype.itemsize)
        kind = image.dtype if image.dtype.kind == "u" else np.dtype(np.float32)
        return to_depth(made.array(image, clip=True), kind)


def _wanted(size: dict[str, Any]) -> OutputSize:
    known = OutputSize.__dataclass_fields__.keys() - {"region"}
    if unknown := size.keys() - known:
        raise OptionError(
            f"'{min(unknown):.200}' is not an option of Upscaler; a size is one of "
            f"{', '.join(sorted(known))}."
        )
    wanted = OutputSize(**size)
    wanted.check()
    return wanted


def _column(batch: Any) -> str:
    found = [name for name in COLUMNS if isinstance(batch, dict) and name in batch]
    if len(found) != 1:
        held = ", ".join(map(str, batch))[:200] if isinstance(batch, dict) else type(batch).__name__
        raise OptionError(
            "A batch needs one column, 'bytes' or 'image', in Ray's default batch format; this one "
            f"holds {held}."
        )
    return found[0]
