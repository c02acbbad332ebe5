"""Images that no camera takes, made with numpy: drawings, patterns, noise, flat colors.

An encoder that has seen photographs alone may answer them with values that grow without bound (SPAN
reached 1000 on white noise), and people enlarge drawings and screenshots as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Kind = Callable[[int, np.random.Generator], Floats]


def synthetic(side: int, rng: np.random.Generator, kind: str | None = None) -> NDArray[np.uint8]:
    """A square image `[3, side, side]`, the same for the same state of `rng`.

    Args:
        side: its side in pixels.
        rng: where all that is random in it comes from.
        kind: one of `KINDS`; by default each is as likely.
    """
    name = kind or str(rng.choice(list(KINDS)))
    drawn = KINDS[name](side, rng)
    return np.asarray(drawn.round().clip(0, 255), np.uint8)


def _two_colors(cover: Floats, rng: np.random.Generator) -> Floats:
    """A mask `[side, side]`, 0 to 1, in two random colors; half the time in black and white."""
    if rng.random() < 0.5:
        pair = np.array([[255.0] * 3, [0.0] * 3])[:: 1 if rng.random() < 0.7 else -1]
    else:
        pair = rng.uniform(0, 255, (2, 3))
    below, above = (np.asarray(color, np.float32)[:, None, None] for color in pair)
    mixed: Floats = below + (above - below) * cover
    return mixed


def _add_line(
    cover: Floats, start: NDArray[np.float64], stop: NDArray[np.float64], width: float
) -> None:
    """Draw a line with round ends, smooth at its edge, into `cover`."""
    reach = width / 2 + 1
    low = np.floor(np.minimum(start, stop) - reach).astype(int).clip(0)
    high = np.ceil(np.maximum(start, stop) + reach).astype(int) + 1
    part = cover[low[0] : max(high[0], 0), low[1] : max(high[1], 0)]
    if part.size == 0:
        return
    y = np.arange(part.shape[0], dtype=np.float32)[:, None] + float(low[0] - start[0])
    x = np.arange(part.shape[1], dtype=np.float32)[None] + float(low[1] - start[1])
    dy, dx = (float(d) for d in stop - start)
    along = ((y * dy + x * dx) / max(dy * dy + dx * dx, 1e-9)).clip(0, 1)
    distance = np.hypot(y - along * dy, x - along * dx)
    np.maximum(part, (width / 2 + 0.5 - distance).clip(0, 1), out=part)


def line_art(side: int, rng: np.random.Generator) -> Floats:
    """Lines of one width in all directions."""
    cover = np.zeros((side, side), np.float32)
    width = rng.uniform(1, 6)
    for _ in range(rng.integers(3, 12)):
        start, stop = rng.uniform(-0.1, 1.1, (2, 2)) * side
        _add_line(cover, start, stop, width)
    return _two_colors(cover, rng)


def strokes(side: int, rng: np.random.Generator) -> Floats:
    """Rows of small signs of a few strokes each, like text."""
    height = int(rng.integers(7, 25))
    pitch = max(int(height * 0.7), 4)
    signs = []
    for _ in range(10):
        sign = np.zeros((height, pitch), np.float32)
        for _ in range(rng.integers(2, 5)):
            ends = rng.choice([0.15, 0.5, 0.85], (2, 2)) * (height, pitch)
            _add_line(sign, ends[0], ends[1], max(height / 9, 1.0))
        signs.append(sign)
    rows, columns = (-(-side // length) for length in (int(height * 1.3), pitch))
    chosen = rng.integers(len(signs) + 2, size=(rows, columns))  # the last two are blanks
    cover = np.zeros((side + 2 * height, side + pitch), np.float32)
    for (i, j), sign in np.ndenumerate(chosen):
        if sign < len(signs):
            top, left = int(i * int(height * 1.3)), int(j * pitch)
            cover[top : top + height, left : left + pitch] = signs[sign]
    return _two_colors(cover[:side, :side], rng)


def checkerboard(side: int, rng: np.random.Generator) -> Floats:
    """Squares of 1 to 16 pixels; half the time turned by an angle."""
    y, x = np.indices((side, side), dtype=np.float32)
    angle = rng.uniform(0, np.pi / 2) if rng.random() < 0.5 else 0.0
    period = rng.uniform(1.5, 16) if angle else float(rng.integers(1, 17))
    down = np.floor((y * np.cos(angle) + x * np.sin(angle)) / period)
    across = np.floor((x * np.cos(angle) - y * np.sin(angle)) / period)
    return _two_colors(((down + across) % 2).astype(np.float32), rng)


BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 + 1 / 32


def dither(side: int, rng: np.random.Generator) -> Floats:
    """Two colors in an ordered or random pattern that follows a ramp."""
    ramp = gradient(side, rng)[0] / 255
    if rng.random() < 0.5:
        tiles = -(-side // 4)
        threshold = np.tile(BAYER, (tiles, tiles))[:side, :side]
    else:
        threshold = rng.random((side, side))
    return _two_colors((ramp > threshold).astype(np.float32), rng)


def white_noise(side: int, rng: np.random.Generator) -> Floats:
    """Independent squares around a color, of any contrast; a third of the time gray.

    Squares of several pixels are still full of contrast after the reduction.
    """
    channels = 1 if rng.random() < 1 / 3 else 3
    square = int(rng.integers(1, 7))
    count = -(-side // square)
    wave = rng.uniform(-1, 1, (channels, count, count)) * rng.uniform(2, 255)
    wave = wave.repeat(square, axis=1).repeat(square, axis=2)[:, :side, :side]
    return np.asarray(rng.uniform(0, 255, (3, 1, 1)) + wave, np.float32)


def gradient(side: int, rng: np.random.Generator) -> Floats:
    """A ramp between two colors in any direction, often nearly flat."""
    y, x = np.indices((side, side), dtype=np.float32) / max(side - 1, 1)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + (y - 0.5) * np.sin(angle) + (x - 0.5) * np.cos(angle)
    first = rng.uniform(0, 255, (3, 1, 1))
    rise = rng.uniform(-255, 255, (3, 1, 1)) * rng.random() ** 2
    return np.asarray(first + rise * ramp, np.float32)


KINDS: dict[str, Kind] = {
    "line art": line_art,
    "strokes": strokes,
    "checkerboard": checkerboard,
    "dither": dither,
    "white noise": white_noise,
    "gradient": gradient,
}
"""What there is, by name."""
