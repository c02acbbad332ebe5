"""Memory of this process and of this machine, as far as the system reports it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

from clit_deploy.system.memory_limits import free_address_space, free_in_cgroups
from clit_deploy.system.proc_files import kilobytes

M_MMAP_THRESHOLD = -3
LARGE_BLOCK = 1 << 20

CLEAR_REFS = Path("/proc/self/clear_refs")
MEMINFO = Path("/proc/meminfo")

GUESS = 200_000_000
"""Assumed bytes of the process where the system does not report them."""


def resident() -> int:
    """Bytes of memory that this process holds now (a guess if unknown)."""
    return _status("VmRSS") or peak()


def peak() -> int:
    """The most bytes of memory that this process has held so far."""
    # Not getrusage where it can be helped: on Linux a child inherits its parent's peak.
    found = _status("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError:  # Windows
        return GUESS
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def release_freed() -> None:
    """Give all freed memory back to the system, so that `resident` counts what is in use.

    Only glibc allows this.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def restart_peak() -> None:
    """Give freed memory back to the system, and restart `peak` from what is held now.

    Only Linux allows this. The counter belongs to this process alone.
    """
    release_freed()
    with contextlib.suppress(OSError):
        CLEAR_REFS.write_text("5")


def _status(field: str) -> int | None:
    return kilobytes(Path("/proc/self/status"), field)


def available() -> int | None:
    """Bytes that this process can still take without swapping; None if unknown."""
    limits = [_meminfo(), free_in_cgroups(), free_address_space()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def limit(allowed: int | None) -> int | None:
    """The most that this process may hold: `allowed`, or less if the machine has less left.

    Returns: bytes; None without a limit.
    """
    free = available()
    known = [allowed, None if free is None else resident() + free]
    return min((bound for bound in known if bound is not None), default=None)


def used() -> int | None:
    """Bytes in use on the whole machine, including a Jetson's GPU; None if unknown."""
    total, free = kilobytes(MEMINFO, "MemTotal"), _meminfo()
    return None if total is None or free is None else total - free


def _meminfo() -> int | None:
    return kilobytes(MEMINFO, "MemAvailable")


def return_freed_blocks() -> None:
    """Make glibc give large freed blocks back to the system at once; elsewhere nothing happens.

    By default its heap keeps them, grows with every new size, and holds up to twice the memory in
    use. Giving blocks back costs page faults, so it is done only if memory is limited.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
