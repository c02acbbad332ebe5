"""The viewer inside a notebook, or beside any Python program."""

from __future__ import annotations

import contextlib
import html
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import OptionError
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.pixels import check_pixels, to_depth
from clit_deploy.upscaler import Upscaler, load
from clit_deploy.viewer.gallery import Gallery, ShownImage
from clit_deploy.viewer.service import Service
from clit_deploy.viewer.viewer_settings import ViewerSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.viewer.serving import ViewerServer


class Viewer:
    """A running viewer. A notebook shows it; a browser on this machine opens its `url`.

    It runs until `close`, the end of a `with` block, or the end of the process.
    """

    def __init__(self, server: ViewerServer, height: int, stack: contextlib.ExitStack) -> None:
        self._server, self._height, self._stack = server, height, stack
        server.start()
        stack.callback(server.close)

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Viewer at {self.url}>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{html.escape(self.url)}" title="clit-deploy view" width="100%" '
            f'height="{self._height}" style="border: 0" allow="clipboard-write"></iframe>'
        )

    @property
    def url(self) -> str:
        """The address of the page; it holds a random token."""
        return self._server.url

    def close(self) -> None:
        """Stop the viewer, and remove its files."""
        self._stack.close()


def view(
    image: str | Path | NDArray[np.generic],
    plan: str | Path | Upscaler | None = None,
    *,
    port: int = 0,
    height: int = 600,
) -> Viewer:
    """Zoom into an image in a notebook or a browser.

    Args:
        image: a file, or an array `[h, w, 3]` of uint8, uint16 or float32 (0 to 1).
        plan: a `.plan` file, the name of a model, an upscaler that is already loaded, or None for
            the default model.
        port: to listen on; 0 for a free one.
        height: of the view in a notebook, in pixels.

    Raises:
        ClitDeployError: the image or the plan cannot be read.
        PortError: the port is in use.
        OptionError: the height is not positive.
        MissingDependencyError: the extra `view` is not installed.
    """
    if height < 1:
        raise OptionError(f"The height is {height}; a positive number of pixels is needed.")
    from clit_deploy.viewer.serving import ViewerServer

    with contextlib.ExitStack() as stack:
        if isinstance(image, (str, Path)):
            shown = ShownImage.of(Path(image))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clit-deploy-"))
            shown = ShownImage.of(_file(image, Path(folder)), "array", temporary=True)
        up = plan if isinstance(plan, Upscaler) else stack.enter_context(load(plan))
        gallery = Gallery([up])
        gallery.add(shown)
        name = str(up.plan.path or up.plan.name)
        service = Service(gallery, [name], ViewerSettings(framed=True))
        return Viewer(ViewerServer(service, port), height, stack.pop_all())


def _file(pixels: NDArray[np.generic], folder: Path) -> Path:
    """An array as a lossless file."""
    check_pixels(pixels)
    whole = pixels.dtype.kind == "u"
    path = folder / ("array.png" if whole else "array.tif")
    kind = pixels.dtype.type if whole else np.float32
    with image_writer(path, (pixels.shape[0], pixels.shape[1]), 3, dtype=kind) as append:
        append(to_depth(np.clip(pixels, 0, 1) if not whole else pixels, kind))
    return path
