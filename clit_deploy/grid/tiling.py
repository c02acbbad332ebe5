"""Fixed-shape encoder tiles along one axis, with halos that make tiled equal whole."""

from __future__ import annotations

from dataclasses import dataclass

from clit_deploy.errors import SizeError
from clit_deploy.grid.geometry import Span


@dataclass(frozen=True)
class Tile:
    """One encoder tile: the pixels it reads, and the part of its features that is valid.

    `core` is the part that is taken from this tile; the cores partition the axis.
    """

    seen: Span
    valid: Span
    core: Span


def tiles(length: int, tile: int, halo: int, margin: int = 0, multiple: int = 1) -> list[Tile]:
    """Cover `length` pixels with tiles of `tile` pixels, or with one smaller tile if it fits.

    A tile's features are valid from `halo` pixels inside its edges, and up to the edge where the
    tile ends with the image: there the network pads as it would pad the whole image. So the last
    tile is moved inwards until its edge is the image's edge. `margin` pixels around every core
    are valid as well. Tiles start at multiples of `multiple`; `length` and `tile` must be
    multiples of it too.

    Raises:
        SizeError: `tile` is too small for the halo, or not a multiple of `multiple`.
    """
    if length <= tile:
        whole = Span(0, length)
        return [Tile(whole, whole, whole)]
    least = smallest(halo, margin, multiple)
    if tile < least or tile % multiple:
        raise SizeError(
            f"An encoder tile of {tile} pixels does not suit this encoder: its halo needs at "
            f"least {least}, and its windows need a multiple of {multiple}."
        )
    result: list[Tile] = []
    done = 0
    while done < length:
        start = max(min(done - margin - halo, length - tile), 0) // multiple * multiple
        seen = Span(start, start + tile)
        valid = Span(
            start + (halo if start > 0 else 0),
            seen.stop - (halo if seen.stop < length else 0),
        )
        stop = length if seen.stop == length else valid.stop - margin
        result.append(Tile(seen, valid, Span(done, stop)))
        done = stop
    return result


def smallest(halo: int, margin: int, multiple: int = 1) -> int:
    """The smallest tile that still makes progress: eight pixels of core between two halos."""
    return round_up(2 * (halo + margin) + 8 + multiple - 1, multiple)


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `length`."""
    return -(-length // multiple) * multiple
