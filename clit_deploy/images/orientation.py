"""Turning an array to how its image is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

_TURNS: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def turned(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """A view of `pixels [h, w, c]` as it is shown, by its EXIF orientation, 1 to 8."""
    return _TURNS[orientation](pixels) if orientation in _TURNS else pixels


def is_sideways(orientation: int) -> bool:
    """Whether height and width change places."""
    return orientation >= 5


def turned_size(size: Size, orientation: int) -> Size:
    """Height and width as they are shown."""
    return (size[1], size[0]) if is_sideways(orientation) else size
