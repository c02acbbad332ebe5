"""Says when a compressed photograph meets a model that was trained on clean images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.errors import ClitDeployError
from clit_deploy.images.image_files import open_image
from clit_deploy.zoo.named_models import is_packaged, model_for_compressed_images, named_models

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clit_deploy.plan.plan_file import Plan

VISIBLE_BELOW = 85
"""JPEG quality below which blocks and ringing survive the upscaling by a model for clean images."""


def compression_hint(plan: Plan, images: Sequence[Path]) -> str | None:
    """One sentence if JPEG files of low quality meet a packaged model for clean images.

    Plans that are not part of the package are not judged: nothing says what they were trained on.
    Images that cannot be opened are left to whoever reads them.
    """
    better = model_for_compressed_images()
    if better is None or plan.path is None or not is_packaged(plan.path):
        return None
    model = named_models()[plan.path.stem]
    if model.input != "clean":
        return None
    found = [(path, quality) for path in images if (quality := _quality(path)) < VISIBLE_BELOW]
    if not found:
        return None
    path, quality = min(found, key=lambda pair: pair[1])
    more = f" ({len(found)} such images)" if len(found) > 1 else ""
    return (
        f"{path.name} looks like JPEG quality {quality}{more}, and {model.name} enlarges "
        f"compression artifacts; -e {better.name} removes them."
    )


def _quality(path: Path) -> int:
    try:
        with open_image(path) as image:
            return 100 if image.header.jpeg_quality is None else image.header.jpeg_quality
    except ClitDeployError:
        return 100
