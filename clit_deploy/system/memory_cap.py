"""Makes memory that the machine does not have an error of this process.

Linux grants memory that does not exist and later kills a process without a word. A stranger's
graph can need any amount: shapes follow from values that are known only while it runs.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from clit_deploy.system import memory
from clit_deploy.system.gpu_nodes import has_nvidia_node
from clit_deploy.system.proc_files import kilobytes

log = logging.getLogger(__name__)

STATUS = Path("/proc/self/status")
MEMINFO = memory.MEMINFO

SLACK = 500_000_000
"""Bytes that may be reserved and never used: stacks of threads, heaps."""


_BEFORE: list[int] = []
"""The limit that the process began with, while there is a cap."""


def lift_cap() -> None:
    """Take the cap away again, before a GPU driver without such a device file is loaded: that of
    AMD and Intel has `/dev/dri`, which most desktops have, used or not."""
    if sys.platform.startswith("linux"):
        import resource

        while _BEFORE:
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (_BEFORE.pop(), hard))


def cap_memory() -> int | None:
    """Let allocations fail that exceed what the machine has left now; for a whole process.

    A GPU driver reserves memory of the process for its own purposes, so there is no cap beside one.

    Returns: the cap in bytes, of all writable private memory; None where there is none.
    """
    if not sys.platform.startswith("linux") or has_nvidia_node():
        return None
    import resource

    data, free = kilobytes(STATUS, "VmData"), memory.available()
    if data is None or free is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    cap = data + free + (kilobytes(MEMINFO, "SwapFree") or 0) + SLACK
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    cap = min([cap, *known])
    resource.setrlimit(resource.RLIMIT_DATA, (cap, hard))
    _BEFORE[:] = [soft]
    log.debug("memory beyond %.1f GB is refused to this process", cap / 1e9)
    return cap
