"""PyTorch reports lack of memory and a full disk as plain RuntimeErrors; here they are named."""

from __future__ import annotations

import contextlib
import errno
import re
from typing import TYPE_CHECKING

from clit_deploy.errors import ClitDeployError, MemoryBudgetError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|Cannot allocate memory|bad_alloc"
)
_NO_DISK = re.compile(r"No space left on device|PytorchStreamWriter failed|disk quota exceeded")


@contextlib.contextmanager
def named_torch_errors(work: str) -> Iterator[None]:
    """Name the errors of memory and disk in what runs inside; others pass unchanged.

    Args:
        work: for the message: `reading m.pth`.

    Raises:
        MemoryBudgetError: memory ran out.
        OutputError: the disk is full.
    """
    try:
        yield
    except ClitDeployError:
        raise
    except (MemoryError, RuntimeError, OSError) as error:
        text = _texts(error)
        if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
            raise MemoryBudgetError(
                f"Memory ran out while {work}. Close other programs, or use a machine with more."
            ) from error
        if _NO_DISK.search(text):
            raise OutputError(
                errno.ENOSPC, f"The disk is full, found while {work}. Free some space."
            ) from error
        raise


def _texts(error: BaseException) -> str:
    """The messages of an error and of those that caused it: the ONNX exporter wraps them."""
    found: list[str] = []
    seen = error
    while len(found) < 10:
        found.append(str(seen))
        cause = seen.__cause__ or seen.__context__
        if cause is None:
            break
        seen = cause
    return "\n".join(found)
