"""NumPy scalars in a pickle as plain Python numbers, without calling NumPy.

Training code stores things like `best_psnr` beside a model as NumPy scalars. Stand-ins take the
places of the two globals that such a pickle names, and accept numbers only.
"""

from __future__ import annotations

import pickle
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I",
    "u8": "Q", "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
"""NumPy's codes of numbers and those of `struct`."""


class NumberType:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in FORMATS:
            raise pickle.UnpicklingError(f"Unsupported global: GLOBAL numpy.dtype({code!r:.40})")
        self.format = FORMATS[str(code)]
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        """Take the byte order; the rest of a state is about arrays and structures."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
        self.order = ">" if order == ">" else "<"


def number(kind: object, content: object) -> float | int | bool:
    """Stands for `numpy.core.multiarray.scalar`."""
    if not isinstance(kind, NumberType) or not isinstance(content, bytes):
        raise pickle.UnpicklingError("Unsupported global: GLOBAL numpy.core.multiarray.scalar")
    try:
        value: float | int | bool = struct.unpack(kind.order + kind.format, content)[0]
    except struct.error as error:
        raise pickle.UnpicklingError(f"a NumPy scalar is damaged: {error}") from error
    return value


STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (NumberType, "numpy.dtype"),
    (number, "numpy.core.multiarray.scalar"),
    (number, "numpy._core.multiarray.scalar"),
]
"""For `torch.serialization.safe_globals`."""
