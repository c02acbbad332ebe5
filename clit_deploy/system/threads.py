"""The error of a process that may not start another thread."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from clit_deploy.errors import ThreadLimitError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def thread_limit_explained() -> Iterator[None]:
    """Raise a `ThreadLimitError` where Python cannot start a thread inside the block."""
    try:
        yield
    except RuntimeError as error:  # Python has no narrower type for it
        if "start new thread" not in str(error):
            raise
        raise thread_limit_error() from error


def thread_limit_error() -> ThreadLimitError:
    """What a user can do about it, in one place for Python's threads and those of runtimes."""
    return ThreadLimitError(
        "This process cannot start another thread. Use fewer --threads, or raise the limit on "
        "processes ('ulimit -u', or pids.max of the container)."
    )
