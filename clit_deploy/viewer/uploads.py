"""Images that the page sends, if it may: bounded, and removed with the viewer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes
from clit_deploy.errors import ImageError, UploadError, printable
from clit_deploy.images.image_files import open_image
from clit_deploy.system.interrupts import leftover
from clit_deploy.viewer.gallery import ShownImage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clit_deploy.viewer.gallery import Gallery
    from clit_deploy.viewer.viewer_settings import ViewerSettings

LONGEST_NAME = 80


class Uploads:
    """Temporary files of the images that were sent.

    Args:
        gallery: takes them in.
        settings: the limits.
    """

    def __init__(self, gallery: Gallery, settings: ViewerSettings) -> None:
        self._gallery, self._settings = gallery, settings
        self._kept: OrderedDict[int, contextlib.ExitStack] = OrderedDict()

    def close(self) -> None:
        """Remove all files."""
        while self._kept:
            self._remove_oldest()

    async def receive(self, name: str, parts: AsyncIterator[bytes]) -> int:
        """Take in an image, and give its number.

        Args:
            name: what its sender calls it.
            parts: the bytes of its file.

        Raises:
            UploadError: it is not allowed, or too large.
            ImageError: it is not an image.
        """
        settings = self._settings
        if not settings.allow_upload:
            raise UploadError("This viewer takes no images; start it with --allow-upload.")
        shown = printable(Path(name).name)[:LONGEST_NAME] or "image"
        with contextlib.ExitStack() as stack:
            handle, path = tempfile.mkstemp(prefix="clit-deploy-", suffix=".image")
            stack.enter_context(leftover(Path(path)))
            with os.fdopen(handle, "wb") as file:
                size = 0
                async for part in parts:
                    size += len(part)
                    if size > settings.upload_bytes:
                        raise UploadError(
                            f"{shown} has more than {show_bytes(settings.upload_bytes)}, the "
                            "limit for images that are sent."
                        )
                    file.write(part)
            image = await asyncio.to_thread(self._checked, Path(path), shown)
            while len(self._kept) >= settings.uploads:
                self._remove_oldest()
            number = self._gallery.add(image)
            self._kept[number] = stack.pop_all()
        return number

    def _checked(self, path: Path, name: str) -> ShownImage:
        try:
            with open_image(path) as file:
                height, width = file.header.size
        except ImageError as error:
            raise ImageError(str(error).replace(str(path), name)) from None
        if height * width > self._settings.upload_pixels:
            raise UploadError(
                f"{name} has {width}x{height} pixels; images that are sent may have "
                f"{self._settings.upload_pixels / 1e6:g} megapixels."
            )
        return ShownImage.of(path, name, temporary=True)

    def _remove_oldest(self) -> None:
        number, files = self._kept.popitem(last=False)
        self._gallery.remove(number)
        files.close()
