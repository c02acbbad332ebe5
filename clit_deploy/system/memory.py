"""Memory of this process and of this machine, as far as the system tells."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

from clit_deploy.system.proc_files import kilobytes

M_MMAP_THRESHOLD = -3
LARGE_BLOCK = 1 << 20

CLEAR_REFS = Path("/proc/self/clear_refs")
MEMINFO = Path("/proc/meminfo")

GUESS = 200_000_000
"""Bytes that the process is taken to hold where the system does not say."""


def resident() -> int:
    """Bytes of memory that this process holds now (a guess where nothing tells)."""
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


def restart_peak() -> None:
    """Give freed memory back, and let `peak` begin anew from what is held now, where the system
    lets a process do so (Linux). It is the process's own counter; nobody else's."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):
        CLEAR_REFS.write_text("5")


def _status(field: str) -> int | None:
    return kilobytes(Path("/proc/self/status"), field)


def available() -> int | None:
    """Bytes that can still be taken without swapping, or None where nothing tells."""
    limits = [_meminfo(), _cgroup()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def limit(allowed: int | None) -> int | None:
    """The most that this process may hold: `allowed`, or less where the machine has less left.

    Returns: bytes, or None where nothing limits them.
    """
    free = available()
    known = [allowed, None if free is None else resident() + free]
    return min((bound for bound in known if bound is not None), default=None)


def used() -> int | None:
    """Bytes that all of the machine holds now, a Jetson's GPU too; None where nothing tells."""
    total, free = kilobytes(MEMINFO, "MemTotal"), _meminfo()
    return None if total is None or free is None else total - free


def _meminfo() -> int | None:
    return kilobytes(MEMINFO, "MemAvailable")


def _cgroup() -> int | None:
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        cache = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        used = int((root / "memory.current").read_text()) - int(cache.get("inactive_file", 0))
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used, 0)


def return_freed_blocks() -> None:
    """Make glibc give large freed blocks back to the system at once; elsewhere nothing happens.

    By default its heap keeps them, grows with every new size, and holds up to twice the memory
    that is in use. It costs page faults, so it is done only where memory was limited.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
