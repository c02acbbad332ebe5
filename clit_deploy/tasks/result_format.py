"""The format of a result that has no name yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.errors import ClitDeployError
from clit_deploy.images.image_files import open_image
from clit_deploy.images.image_formats import named_suffix, output_suffix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.tasks.output_size import OutputSize


def result_suffix(image: Path, sizes: Sequence[OutputSize], options: ImageOptions) -> str:
    """The extension of the results of an image: its own format, if that can hold all of them.

    An image that cannot be read gets one, too: whoever reads all of it reports what is wrong.

    Args:
        image: the input.
        sizes: the requested sizes.
        options: a format that is named there comes first.

    Raises:
        OptionError: the named format cannot be written.
    """
    if options.format is not None:
        return named_suffix(options.format)
    try:
        with open_image(image) as file:
            made = [wanted.output(file.header.size) for wanted in sizes]
            return output_suffix(image, file.header, max(made, key=max), options)
    except ClitDeployError:
        return ".png"
