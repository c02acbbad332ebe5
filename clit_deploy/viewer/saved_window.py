"""A part of an image as a file, made as `run` makes it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.errors import CancelledError, OptionError
from clit_deploy.images.image_formats import named_suffix
from clit_deploy.images.image_options import ImageOptions
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file

if TYPE_CHECKING:
    import threading
    from typing import Any

    from clit_deploy.render.region import Rectangle
    from clit_deploy.upscaler import Upscaler


@dataclass(frozen=True)
class SavedWindow:
    """What is to be saved of an image."""

    region: Rectangle
    scale: float
    format: str

    @classmethod
    def parse(cls, content: Any) -> SavedWindow:
        """From JSON: `region`, `scale` and `format`.

        Raises:
            OptionError: one is missing, or of another type.
        """
        try:
            left, top, width, height = map(float, content["region"])
            found = cls((left, top, width, height), float(content["scale"]), content["format"])
            named_suffix(found.format)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, OptionError):
                raise
            raise OptionError("The region, the scale or the format is missing.") from error
        return found

    def name(self, image: str) -> str:
        """A name for the file."""
        return f"{Path(image).stem}_x{self.scale:g}{named_suffix(self.format)}"

    def content(self, up: Upscaler, source: Path, cancel: threading.Event) -> bytes:
        """The bytes of the file.

        Raises:
            CancelledError: `cancel` was set.
            ClitDeployError: see `upscale_file`.
        """

        def progress(_: float) -> None:
            if cancel.is_set():
                raise CancelledError("Nobody waits for the file.")

        wanted = OutputSize(scale=self.scale, region=self.region)
        options = ImageOptions(format=self.format, srgb=True)
        with tempfile.TemporaryDirectory(prefix="clit-deploy-") as folder:
            target = Path(folder) / f"out{named_suffix(self.format)}"
            upscale_file(up, source, target, wanted, options=options, progress=progress)
            return target.read_bytes()
