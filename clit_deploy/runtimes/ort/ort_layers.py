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
"""Of a graph that are timed: a profile is kept in memory until it ends, and takes 1 kB for every
node of every run; beyond a million nodes ONNX Runtime would drop the rest without an error."""

_SUFFIX = "_kernel_time"
"""Of the events that are a layer's own work; others are its fences."""
_RUN = "model_run"


class LayerTrace:
    """Sessions that write profiles, and what the profiles say."""

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
        """A graph's runner, of whose first runs the session's profile tells."""
        self._runners.append(TimedRunner(member, session, runner))
        return self._runners[-1]

    def take(self) -> list[LayerTime]:
        """End all profiles; the layers of every graph, the slowest first."""
        spent: dict[tuple[str, str, str, int], float] = defaultdict(float)
        with self._folder:
            for runner in self._runners:
                for layer, kind, ms in runner.layers():
                    spent[runner.member, layer, kind, runner.counted] += ms
        self._runners.clear()
        found = [LayerTime(*key, ms) for key, ms in spent.items()]
        return sorted(found, key=lambda layer: -layer.ms)


class TimedRunner:
    """Runs a graph, `RUNS` times with its session's profile and from then on without."""

    def __init__(self, member: str, session: ort.InferenceSession, inner: Runner) -> None:
        self.member = member
        self.runs = 0
        """How many the profile has."""
        self._session, self._inner = session, inner
        self._turn = threading.Condition()
        self._under_way = 0
        self._profile: Path | None = None

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """See `Runner.run`."""
        timed = self._begin()
        try:
            return self._inner.run(feeds)
        finally:
            if timed:
                self._end()

    def layers(self) -> Iterator[tuple[str, str, float]]:
        """End the profile; name, operator and milliseconds of every layer of every run that counts.

        Raises:
            GraphRunError: the profile does not tell of every run.
        """
        told, under_way = 0, defaultdict[int, list[tuple[str, str, float]]](list)
        with self._ended().open(encoding="utf-8") as lines:
            for event in map(_event, lines):
                if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
                    layer = event["name"].removesuffix(_SUFFIX)
                    found = layer, event["args"]["op_name"], event["dur"] / 1000
                    under_way[event["tid"]].append(found)
                elif event.get("name") == _RUN:  # comes after its layers
                    told += 1
                    layers = under_way.pop(event["tid"], [])
                    yield from layers if told > self.runs - self.counted else ()
        if told != self.runs:
            raise GraphRunError(
                f"ONNX Runtime's profile of {self.member} has {told} of {self.runs} runs."
            )

    @property
    def counted(self) -> int:
        """Runs that count: not a session's first, which takes memory."""
        return max(self.runs - 1, 1)

    def _begin(self) -> bool:
        """Whether the run is timed. A profile may not end while a timed run is under way, and a
        run that is not timed may not begin before it has ended."""
        with self._turn:
            if self.runs < RUNS:
                self.runs += 1
                self._under_way += 1
                return True
            self._turn.wait_for(lambda: self._profile is not None)
            return False

    def _end(self) -> None:
        with self._turn:
            self._under_way -= 1
            if self.runs == RUNS and not self._under_way:
                self._ended()
                self._turn.notify_all()

    def _ended(self) -> Path:
        if self._profile is None:
            self._profile = Path(self._session.end_profiling())
        return self._profile


def _event(line: str) -> dict[str, Any]:
    """An event of a profile, which has one on every line: a whole profile would take gigabytes."""
    text = line.strip().rstrip(",")
    return {} if text in ("", "[", "]") else json.loads(text)
