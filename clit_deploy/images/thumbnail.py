"""A small picture of an image, for notebooks."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

from clit_deploy.images.pixels import to_bytes
from clit_deploy.images.png import PngWriter
from clit_deploy.images.resample import resize_bicubic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 256
"""Pixels of its longer side."""


def html_thumbnail(image: NDArray[np.generic], caption: str) -> str:
    """An HTML figure that holds the picture itself.

    Args:
        image: `[h, w, 3]` of any type of `images.pixels`.
        caption: plain text.
    """
    step = max(
        max(image.shape[:2]) // (4 * LONGEST), 1
    )  # a large image is not converted as a whole
    near = to_bytes(image[::step, ::step])
    part = min(LONGEST / max(near.shape[:2]), 1)
    height, width = (max(round(side * part), 1) for side in near.shape[:2])
    file = io.BytesIO()
    with PngWriter(file, width, height, 3) as writer:
        writer.write(resize_bicubic(near, (height, width)))
    data = base64.b64encode(file.getvalue()).decode()
    text = html.escape(caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{text}" width="{width}" '
        f'height="{height}"><figcaption>{text}</figcaption></figure>'
    )
