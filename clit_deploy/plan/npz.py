"""Arrays of a plan: `.npz` members, bounded by their headers before an array is made."""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import DamageError, PlanError, quote
from clit_deploy.plan.archive import open_archive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAX_BYTES = 32_000_000
"""Of all arrays of one member. Parity samples of the export have 170 kB."""

MAX_NUMBERS = 8_000_000
"""Numbers of one array, which a reader may widen to float64."""

NUMBERS = "biuf"
"""Kinds of NumPy types that are numbers."""


class Arrays(dict[str, "NDArray[np.generic]"]):
    """Arrays by name; a missing name is a `DamageError`."""

    def __missing__(self, name: str) -> NDArray[np.generic]:
        raise DamageError(f"The plan is damaged: it lacks the array {name!r}. Export it again.")


def pack_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Arrays as the bytes of an `.npz` member."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack_arrays(content: bytes) -> Arrays:
    """The arrays of an `.npz` member, read-only.

    Raises:
        PlanError: the content is damaged, too large, or holds something other than finite numbers;
            the message lacks the member's name.
    """
    if len(content) > MAX_BYTES:
        raise PlanError(f"there are more than {MAX_BYTES} bytes.")
    try:
        with open_archive(content) as archive:
            found = {name: _array(archive.read(name)) for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, RuntimeError, OSError, EOFError, SyntaxError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(f"arrays cannot be read ({quote(str(error))}).") from error
    return Arrays({name.removesuffix(".npy"): array for name, array in found.items()})


def _array(content: bytes) -> NDArray[np.generic]:
    """An array from the bytes of an `.npy` file."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of the array format")
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(file)
    count, data = math.prod(shape), memoryview(content)[file.tell() :]
    if kind.kind not in NUMBERS or count > MAX_NUMBERS or min(shape, default=0) < 0:
        raise ValueError(f"an array {shape} of {kind}")
    if count * kind.itemsize != len(data):
        raise ValueError(f"an array {shape} of {kind} in {len(data)} bytes")
    array = np.frombuffer(data, kind).reshape(shape, order="F" if by_columns else "C")
    if not np.isfinite(array).all():
        raise ValueError("an array with numbers that are not finite")
    return array
