"""libvips, loaded when the first image is opened, with nothing enabled that is not named here.

Images are a stranger's files. Loaders for vector graphics, documents and programs' own formats are
large and rarely needed, so they are blocked for the whole process.
"""

from __future__ import annotations

import functools
import logging
import threading
from typing import TYPE_CHECKING

from clit_deploy.errors import MissingDependencyError

if TYPE_CHECKING:
    from types import ModuleType

LOADERS = {
    "PNG": "pngload",
    "JPEG": "jpegload",
    "WebP": "webpload",
    "TIFF": "tiffload",
    "GIF": "gifload",
    "AVIF": "heifload",
}
"""The operations that read files, by the kind of the file."""

_ALLOWED = ("Png", "Jpeg", "Webp", "Tiff", "Nsgif", "Heif")
"""Parts of the names of their classes."""


_setting_up = threading.Lock()


def vips() -> ModuleType:
    """The library, set up once.

    Raises:
        MissingDependencyError: it is not installed, or cannot be loaded.
    """
    with _setting_up:  # a second thread would block again what the first one reads with
        return _set_up()


@functools.cache
def _set_up() -> ModuleType:
    # What libvips says on the way to an error is part of the error.
    logging.getLogger("pyvips").setLevel(logging.ERROR)
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            "Images need pyvips and libvips, which cannot be loaded "
            f"({' '.join(str(error).split()):.200}); install them with pip install pyvips "
            "pyvips-binary."
        ) from error
    pyvips.cache_set_max(0)  # every image is decoded once
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _ALLOWED:
        pyvips.operation_block_set(f"VipsForeignLoad{name}", False)
    found: ModuleType = pyvips
    return found
