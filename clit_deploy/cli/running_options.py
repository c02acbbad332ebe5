"""Options of every command that runs a plan: where it runs, and with how much of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.cli.options import (
    DeviceOption,
    MemoryOption,
    RebuildOption,
    RuntimeOption,
    ThreadsOption,
)
from clit_deploy.config import RuntimeName

if TYPE_CHECKING:
    from pathlib import Path

    from clit_deploy.upscaler import Upscaler


@dataclass(frozen=True)
class RunningOptions:
    """Where to run; the defaults take the best that is present."""

    runtime: RuntimeOption = RuntimeName.AUTO
    threads: ThreadsOption = None
    max_memory: MemoryOption = None
    rebuild: RebuildOption = True
    device: DeviceOption = None

    def load(self, engine: Path | None) -> Upscaler:
        """Open a plan there; None opens the default model.

        Raises:
            ClitDeployError: see `clit_deploy.load`.
        """
        from clit_deploy.upscaler import load

        return load(engine, **vars(self))
