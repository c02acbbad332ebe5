"""Colors of an image that libvips has opened: RGB or gray as they are stored, everything else as
sRGB by way of its profile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyvips import Image

PROFILE = "icc-profile-data"
_KEPT = ("srgb", "rgb", "rgb16", "scrgb", "b-w", "grey16", "multiband", "matrix", "histogram")
"""Interpretations whose channels are RGB or gray."""
_SPACES = {1: b"GRAY", 3: b"RGB "}


def to_rgb_or_gray(image: Image, *, srgb: bool = False) -> tuple[Image, bool]:
    """Convert what is neither RGB nor gray to sRGB; alpha stays.

    Args:
        image: as it was loaded.
        srgb: convert RGB and gray with a profile, too.

    Returns: the image, and whether its colors became sRGB.
    """
    if image.interpretation not in _KEPT:
        return _converted(image), True
    if srgb and has_profile(image):
        channels = channels_of(image)
        image = _converted(image)
        if channels == 1:  # a gray profile gives three equal channels
            alpha = image[3] if image.bands == 4 else None
            image = image[0] if alpha is None else image[0].bandjoin(alpha)
        return image, True
    return image, False


def channels_of(image: Image) -> int:
    """Channels of color: 1 or 3, or 4 with CMYK."""
    return int(image.bands) - bool(image.hasalpha())


def has_profile(image: Image) -> bool:
    """Whether it has a profile for its own channels."""
    return fitting_profile(image) is not None


def fitting_profile(image: Image) -> bytes | None:
    """The profile, if it is for as many channels as the image has: some files carry another's."""
    if not image.get_typeof(PROFILE):
        return None
    profile: bytes = image.get(PROFILE)
    return profile if profile[16:20] == _SPACES.get(channels_of(image), b"CMYK") else None


def _converted(image: Image) -> Image:
    """Pixels in sRGB, with as many bits as before."""
    deep = image.format not in ("uchar", "char")
    depth = 16 if deep else 8
    if has_profile(image):
        return image.icc_transform("srgb", embedded=True, depth=depth, intent="perceptual")
    if image.interpretation == "cmyk":  # the one that libvips has
        return image.icc_transform("srgb", input_profile="cmyk", depth=depth)
    return image.colourspace("rgb16" if deep else "srgb")
