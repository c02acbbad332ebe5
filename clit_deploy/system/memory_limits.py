"""Limits that the system sets to this process: control groups (containers) and `ulimit -v`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from clit_deploy.system.proc_files import kilobytes, text_or

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/")

UNLIMITED = 1 << 60
"""Version 1 writes the largest multiple of a page where there is no limit."""


class Files(NamedTuple):
    """Names in one version of control groups."""

    base: str
    limit: str
    used: str
    cache: str
    """Field of `memory.stat`: pages of files, which are given back before a process is killed."""


V2 = Files("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
HYBRID = V2._replace(base="sys/fs/cgroup/unified")
V1 = Files(
    "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)


def free_in_cgroups(root: Path | None = None) -> int | None:
    """Bytes that this process can still take in its control group and all groups around it.

    Returns: None without a limit.
    """
    root = root or ROOT
    free = (_free(folder, files) for files, folder in _groups(root))
    return min((count for count in free if count is not None), default=None)


def free_address_space(root: Path | None = None) -> int | None:
    """Bytes that this process can still map under `ulimit -v`; None without a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    mapped = kilobytes((root or ROOT) / "proc/self/status", "VmSize") or 0
    return max(limit - mapped, 0)


def _groups(root: Path) -> Iterator[tuple[Files, Path]]:
    """Folders of the control groups of this process, from the inside out.

    A container often sees only its own group, as the base folder, beside the path that the host
    has for it; so what does not exist is skipped, and the base is always one of them.
    """
    for line in text_or(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for files in _versions(controllers):
            for depth in range(len(parts), -1, -1):
                yield files, root.joinpath(files.base, *parts[:depth])


def _versions(controllers: str) -> tuple[Files, ...]:
    """The files for a line of `/proc/self/cgroup`; version 2 names no controllers."""
    if not controllers:
        return V2, HYBRID
    return (V1,) if "memory" in controllers.split(",") else ()


def _free(folder: Path, files: Files) -> int | None:
    try:
        limit = int(text_or(folder / files.limit))
        used = int(text_or(folder / files.used))
    except ValueError:  # missing, or "max"
        return None
    if limit >= UNLIMITED:
        return None
    stat = dict(line.split(" ", 1) for line in text_or(folder / "memory.stat").splitlines())
    return max(limit - used + int(stat.get(files.cache, 0)), 0)
