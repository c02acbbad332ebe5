"""Unfolds a recorded tree of sysfs and proc into a folder."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import ProfileError
from clit_deploy.profile.power import power
from clit_deploy.profile.sampler import Sampler
from clit_deploy.system import proc_files

if TYPE_CHECKING:
    import pytest

    from clit_deploy.profile.records import Power
    from clit_deploy.profile.sensors.sensor import Quantity, SensorSet

TREES = Path(__file__).parent / "trees"
NAMES = sorted(path.stem for path in TREES.glob("*.txt"))


def unfold(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the files of a tree under `root`.

    A line is `path: content`, with \\n and \\t; the content `!EACCES` is a file that cannot be
    read, for that reason (a test may run as root, who reads everything).
    """
    refused: dict[Path, int] = {}
    for line in (TREES / f"{name}.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        path, content = line.split(": ", 1)
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("!"):
            refused[target] = getattr(errno, content[1:])
        target.write_text(content.replace("\\n", "\n").replace("\\t", "\t") + "\n")
    refuse(refused, monkeypatch)
    return root


def refuse(refused: dict[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reading some files fail with an error number."""
    really = proc_files.text

    def text(path: Path) -> str:
        if path in refused:
            raise OSError(refused[path], os.strerror(refused[path]))
        return really(path)

    monkeypatch.setattr(proc_files, "text", text)


def read(found: SensorSet, quantity: Quantity) -> dict[str, float]:
    """What the sensors of a quantity read now."""
    return {sensor.name: sensor.value() for sensor in found.of(quantity)}


def sampled(found: SensorSet, seconds: float = 0.08) -> Sampler:
    """What all sensors read for a while."""
    with Sampler(found.sensors, rate=100) as sampler:
        time.sleep(seconds)
    return sampler


def powered(*args: Any, **more: Any) -> tuple[Power | None, str]:
    """Power, and why there is none."""
    try:
        return power(*args, **more), ""
    except ProfileError as error:
        return None, str(error)
