"""Times of single layers, from the profiles that ONNX Runtime writes about sessions."""

from __future__ import annotations

import json
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import GraphRunError
from clit_deploy.runtimes.protocols import LayerTime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnxruntime as ort

    from clit_deploy.runtimes.protocols import Array, Runner

RUNS = 16
"""Timed runs of a graph. A profile stays in memory until it ends, 1 kB for every node of every run,
and beyond a million nodes ONNX Runtime would drop the rest without an error."""

_SUFFIX = "_kernel_time"
"""Suffix of the events that time a layer's work; other events are its fences."""
_RUN = "model_run"


class LayerTrace:
    """Sessions that write profiles, and the times in these profiles."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clit-layers-")
        self._runners: list[TimedRunner] = []

    def prepare(self, options: ort.SessionOptions) -> None:
        """Make a session that is opened with these options write a profile."""
        options.enable_profiling = True
        # The name that ONNX Runtime makes has the time in milliseconds: sessions could share it.
        prefix = Path(self._folder.name) / str(len(self._runners))
        options.profile_file_prefix = str(prefix)

    def timed(self, member: str, session: ort.InferenceSession, runner: Runner) -> TimedRunner:
        """A runner that times the first runs of a graph with the session's profile."""
        self._runners.append(TimedRunner(member, session, runner))
        return self._runners[-1]

    def take(self) -> list[LayerTime]:
        """End all profiles. The times of all layers, slowest first."""
        spent: dict[tuple[str, str, str, int], float] = defaultdict(float)
        with self._folder:
            for runner in self._runners:
                for layer, kind, ms in runner.layers():
                    spent[runner.member, layer, kind, runner.counted] += ms
        self._runners.clear()
        found = [LayerTime(*key, ms) for key, ms in spent.items()]
        return sorted(found, key=lambda layer: -layer.ms)


class TimedRunner:
    """Runs a graph: `RUNS` times one after the other with its session's profile, then freely."""

    def __init__(self, member: str, session: ort.InferenceSession, inner: Runner) -> None:
        self.member = member
        self.runs = 0
        """How many runs the profile has."""
        self._session, self._inner = session, inner
        self._timing = threading.Lock()
        """Held while a run is timed, so that no other one is under way and adds to the profile."""
        self._profile: Path | None = None

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """See `Runner.run`."""
        with self._timing:
            if self._profile is None:
                return self._timed(feeds)
        return self._inner.run(feeds)

    def layers(self) -> Iterator[tuple[str, str, float]]:
        """End the profile; name, operator and milliseconds of every layer of every run that counts.

        Raises:
            GraphRunError: the profile has fewer runs than there were.
        """
        seen, layers = 0, list[tuple[str, str, float]]()
        with self._ended().open(encoding="utf-8") as lines:
            for event in map(_event, lines):
                if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
                    layer = event["name"].removesuffix(_SUFFIX)
                    layers.append((layer, event["args"]["op_name"], event["dur"] / 1000))
                elif event.get("name") == _RUN:  # comes after its layers
                    seen += 1
                    yield from layers if seen > self.runs - self.counted else ()
                    layers.clear()
        if seen != self.runs:
            raise GraphRunError(
                f"ONNX Runtime's profile of {self.member} has {seen} of {self.runs} runs."
            )

    @property
    def counted(self) -> int:
        """Runs that count: not a session's first, which takes memory."""
        return max(self.runs - 1, 1)

    def _timed(self, feeds: Mapping[str, Array]) -> Array:
        self.runs += 1
        try:
            return self._inner.run(feeds)
        finally:
            if self.runs == RUNS:
                self._ended()

    def _ended(self) -> Path:
        if self._profile is None:
            self._profile = Path(self._session.end_profiling())
        return self._profile


def _event(line: str) -> dict[str, Any]:
    """An event of a profile, which has one on every line: a whole profile would take gigabytes."""
    text = line.strip().rstrip(",")
    return {} if text in ("", "[", "]") else json.loads(text)
