"""Limits of the viewer, in one place: the page and the documentation state them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewerSettings:
    """What a viewer may do, and how much of it."""

    allow_upload: bool = False
    """Whether the page may send images."""
    upload_bytes: int = 64_000_000
    """Most bytes of an image that is sent."""
    upload_pixels: int = 64_000_000
    """Most pixels of it."""
    uploads: int = 8
    """Images that were sent and are kept; the oldest one goes first."""
    tile_bytes: int = 64_000_000
    """Bytes of finished tiles that are kept."""
    framed: bool = False
    """Whether a page of this machine, like a notebook, may show the viewer in a frame."""
