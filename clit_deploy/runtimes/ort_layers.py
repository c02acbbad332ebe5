"""Times of single layers, from the profile that ONNX Runtime writes about a session."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.runtimes.base import LayerTime

if TYPE_CHECKING:
    import onnxruntime as ort

_SUFFIX = "_kernel_time"
"""Of the events that are a layer's own work; others are its fences, or whole runs."""


class LayerTrace:
    """Sessions that write profiles, and what the profiles say."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clit-layers-")
        self._sessions: list[tuple[str, ort.InferenceSession]] = []

    def prepare(self, options: ort.SessionOptions) -> None:
        """Make a session that is opened with these options write a profile."""
        options.enable_profiling = True
        # The name that ONNX Runtime makes has the time in milliseconds: sessions could share it.
        prefix = Path(self._folder.name) / str(len(self._sessions))
        options.profile_file_prefix = str(prefix)

    def add(self, member: str, session: ort.InferenceSession) -> None:
        """Remember a session of a graph."""
        self._sessions.append((member, session))

    def take(self) -> list[LayerTime]:
        """End all profiles; the layers of every graph, the slowest first."""
        runs: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        with self._folder:
            for member, session in self._sessions:
                for event in json.loads(Path(session.end_profiling()).read_text()):
                    if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
                        layer = event["name"].removesuffix(_SUFFIX)
                        key = member, layer, event["args"]["op_name"]
                        runs[key].append(event["dur"] / 1000)
        self._sessions.clear()
        found = [LayerTime(*key, len(times), sum(times)) for key, times in runs.items()]
        return sorted(found, key=lambda layer: -layer.ms)
