"""Files in the user's cache folder, such as kernels that a device compiled."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

from clit_deploy.errors import OutputError
from clit_deploy.system.files import replacing

log = logging.getLogger(__name__)


def folder() -> Path:
    """The cache folder: `CLIT_DEPLOY_CACHE`, or the usual one of the system."""
    if named := os.environ.get("CLIT_DEPLOY_CACHE"):
        return Path(named)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "clit-deploy"


class Store:
    """One file of the cache, or the file `path`. A cache may be missing, so failures are only
    logged."""

    def __init__(self, name: str, path: Path | None = None) -> None:
        self.path = path or folder() / (re.sub(r"[^\w.-]+", "_", name) + ".cache")

    def read(self) -> bytes:
        """The content; empty if the file cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError:
            return b""

    def write(self, content: bytes) -> None:
        """Replace the content."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as part:
                part.write_bytes(content)
        except (OSError, OutputError) as error:
            log.warning("the cache %s cannot be written: %s", self.path, error)
