"""One image on its way from a file to a file: checked, cut into pieces, written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from clit_deploy._version import __version__
from clit_deploy.config import show_bytes
from clit_deploy.errors import MemoryBudgetError
from clit_deploy.images.image_formats import check_format, held_per_pixel
from clit_deploy.images.image_writer import image_writer
from clit_deploy.system import memory
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.images.decoded_image import DecodedImage, ImageHeader
    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.render.feature_tiles import FeatureTiles
    from clit_deploy.render.layout import Layout
    from clit_deploy.render.renderer import Rendering
    from clit_deploy.tasks.finished_strips import Result
    from clit_deploy.tasks.output_size import OutputSize
    from clit_deploy.tasks.turns import Turn
    from clit_deploy.upscaler import Upscaler


@dataclass(frozen=True)
class FileRendering:
    """What is made from what."""

    up: Upscaler
    source: Path
    target: Path
    wanted: OutputSize
    options: ImageOptions

    def preparation(
        self, header: ImageHeader, layout: Layout | None, tiles: FeatureTiles | None
    ) -> Callable[[], Rendering]:
        """Check the result from the header; the returned function decides how the work is cut.

        Args:
            header: of the image.
            layout: how to cut the work; None chooses what fits into the memory.
            tiles: features that are kept; they are not used where memory is too small.

        Raises:
            SizeError, CoordinateError, OptionError: this result cannot be made or written.
        """
        job = self.wanted.job(self.up.renderer, header.size)
        check_format(self.target, job.made, alpha=header.alpha, options=self.options)
        prepare = partial(
            self.up.renderer.prepare,
            job,
            held_per_pixel=held_per_pixel(self.target),
            header=header,
            layout=layout,
            planes=2 if header.alpha else 1,
        )

        def prepared() -> Rendering:
            try:
                return prepare(tiles=tiles)
            except MemoryBudgetError:
                if tiles is None:
                    raise
                return prepare()

        return prepared

    def check_continued(self, rendering: Rendering) -> None:
        """Refuse to go on with a run that was cut for more memory than there is now.

        Raises:
            MemoryBudgetError: with what it needs.
        """
        limit, peak = memory.limit(self.up.max_memory), rendering.forecast.peak
        if limit is not None and peak > limit:
            raise MemoryBudgetError(
                f"The run that is continued needs {show_bytes(peak)}, and {show_bytes(limit)} may "
                f"be used; allow more, or delete {self.target.name}.resume to begin again."
            )

    def identity(self, rendering: Rendering, result: Result, image: str) -> dict[str, Any]:
        """Whatever decides the rows of this result, for a journal of them.

        Args:
            rendering: how the work is cut.
            result: what the rows are.
            image: the digest of the image's file.
        """
        job, layout = rendering.job, rendering.forecast.layout
        return {
            "version": __version__,
            "plan": self.up.plan.digest,
            "runtime": self.up.runtime.name,
            "image": image,
            "size": [*job.output, str(job.regions), str(job.window)],
            "rows": [result.channels, str(result.dtype), *result.background, self.options.srgb],
            "layout": [layout.tile, layout.block],
        }

    def write(
        self,
        image: DecodedImage,
        result: Result,
        rendering: Rendering,
        rows: Iterator[NDArray[Any]],
        turn: Turn,
    ) -> None:
        """Write rows as they come; the file appears when all are written.

        Other images compute while the end of this one is encoded.

        Raises:
            OutputError: it cannot be written, or the disk is full.
        """
        made = rendering.job.made
        writer = image_writer(
            self.target,
            made,
            result.channels,
            dtype=result.dtype,
            metadata=image.metadata.for_result(made, strip=self.options.strip),
            options=self.options,
        )
        with writer as append, turn.computing():
            for strip in rows:
                with phase("write"):
                    append(strip)
