"""Random changes of plans, with right digests where those would hide what comes after.

    python -m tests.security.fuzz HONEST.plan [TRIES] [SEED]

prints how many tries were refused, the most memory that a try took, and the longest try. A try
that ends in anything but success or an error of this package is a failure; its seed is printed.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

import clit_deploy
from clit_deploy.errors import ClitDeployError, error_message
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.parity import stored_samples
from clit_deploy.system import memory
from tests.security.hostile import members_of, write

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 3, 2**31, 2**63, 10**30, 0.5, -1e300, "", "x", "\x1b[2J", "\ud800",
    "é" * 999, [], [[]], {}, {"": 0}, "encoder.onnx", "tables.npz", "../../x",
)  # fmt: skip


@dataclass
class Result:
    """What many tries did."""

    tries: int = 0
    refused: int = 0
    most_memory: int = 0
    most_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def bent(content: bytes, random: random.Random) -> bytes:
    """Bytes with some of them changed, removed, repeated or cut off."""
    made = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5))):
        at, length = random.randrange(len(made) or 1), random.choice((1, 1, 2, 8, 100))
        kind = random.randrange(5)
        if kind == 0:
            made[at : at + length] = random.randbytes(length)
        elif kind == 1:
            made[at : at + 1] = bytes([made[at] ^ 1 << random.randrange(8)]) if made else b""
        elif kind == 2:
            del made[at : at + length]
        elif kind == 3:
            made[at:at] = made[at : at + length]
        elif random.random() < 0.2:
            del made[at:]
    return bytes(made)


def places(inside: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all values of a manifest."""
    if not isinstance(inside, (dict, list)):
        return [way]
    items = inside.items() if isinstance(inside, dict) else enumerate(inside)
    return [way, *(place for key, value in items for place in places(value, (*way, key)))]


def bent_manifest(manifest: dict[str, Any], random: random.Random) -> dict[str, Any]:
    """A manifest with a value changed or removed."""
    made: dict[str, Any] = json.loads(json.dumps(manifest))
    *way, last = random.choice([place for place in places(made) if place])
    inside: Any = made
    for step in way:
        inside = inside[step]
    if random.random() < 0.2:
        del inside[last]
    elif isinstance(inside[last], int) and random.random() < 0.5:
        inside[last] = int(inside[last] * random.choice((0.5, 2, 3, 10, 1000))) + random.randrange(
            3
        )
    else:
        inside[last] = random.choice(VALUES)
    return made


def bent_graph(content: bytes, random: random.Random) -> bytes:
    """A graph that is still a graph, with something else in it."""
    model = onnx.load_from_string(content)
    for _ in range(random.choice((1, 1, 3))):
        node = random.choice(model.graph.node)
        _bend_node(node, random)
        if random.random() < 0.3:
            weight = random.choice(model.graph.initializer)
            weight.raw_data = bent(weight.raw_data, random)[: len(weight.raw_data)]
    return model.SerializeToString()


def _bend_node(node: onnx.NodeProto, random: random.Random) -> None:
    kind = random.randrange(5)
    if kind == 0:
        node.op_type = random.choice(
            ("Add", "Conv", "MatMul", "Reshape", "Range", "Concat", "Loop")
        )
    elif kind == 1 and node.attribute:
        attribute = random.choice(node.attribute)
        attribute.i = random.choice((-1, 0, 3, 2**31, -(2**63)))
        attribute.ints[:] = [random.choice((-1, 0, 1, 2, 2**31)) for _ in attribute.ints]
    elif kind == 2 and node.input:
        node.input[random.randrange(len(node.input))] = random.choice(("", "image", "maps", "x"))
    elif kind == 3 and len(node.input) > 1:
        node.input.reverse()
    else:
        node.output[:] = list(reversed(node.output))


class Fuzz:
    """Tries in one folder, from one honest plan."""

    def __init__(self, honest: Path, folder: Path, seed: int) -> None:
        self._honest, self._path, self._seed = honest.read_bytes(), folder / "fuzz.plan", seed
        self._manifest, self._members = members_of(honest)
        self._image = np.random.RandomState(0).randint(0, 255, (8, 9, 3)).astype(np.uint8)
        self.result = Result()

    def one(self, number: int) -> None:
        """Make a plan and use it."""
        chance = random.Random(self._seed * 1_000_003 + number)
        makers: list[Callable[[random.Random], None]] = [
            self._plan_bytes, self._fields, self._arrays, self._graph_bytes, self._graph,
        ]  # fmt: skip
        makers[number % len(makers)](chance)
        with contextlib.suppress(OSError):  # restarts the peak; only Linux has it
            memory.CLEAR_REFS.write_text("5")
        before, start = memory.resident(), time.monotonic()
        try:
            self._use()
        except ClitDeployError as error:
            self.result.refused += 1
            message = error_message(error)
            if not message.replace("\n", "").isprintable() or len(message) > 600:
                self.result.failures.append(f"{self._seed}/{number}: message {message!r}")
        except Exception as error:
            self.result.failures.append(f"{self._seed}/{number}: {error!r:.200}")
        self.result.tries += 1
        self.result.most_seconds = max(self.result.most_seconds, time.monotonic() - start)
        self.result.most_memory = max(self.result.most_memory, memory.peak() - before)

    def _plan_bytes(self, chance: random.Random) -> None:
        self._path.write_bytes(bent(self._honest, chance))

    def _fields(self, chance: random.Random) -> None:
        write(self._path, bent_manifest(self._manifest, chance), self._members)

    def _arrays(self, chance: random.Random) -> None:
        self._replace(chance.choice(("tables.npz", "proof.npz")), chance, bent)

    def _graph_bytes(self, chance: random.Random) -> None:
        self._replace(self._some_graph(chance), chance, bent)

    def _graph(self, chance: random.Random) -> None:
        self._replace(self._some_graph(chance), chance, bent_graph)

    def _some_graph(self, chance: random.Random) -> str:
        return chance.choice([name for name in self._members if name.endswith(".onnx")])

    def _replace(
        self, name: str, chance: random.Random, change: Callable[[bytes, random.Random], bytes]
    ) -> None:
        write(
            self._path, self._manifest, {**self._members, name: change(self._members[name], chance)}
        )

    def _use(self) -> None:
        plan = Plan.open(self._path)
        for member in plan.manifest.digests:
            plan.read(member)
        stored_samples(plan)
        with clit_deploy.load(self._path, runtime="cpu", threads=1) as up:
            up.upscale(self._image, scale=2)
            up.query(self._image, np.array([[0.5, 0.5]]), scale=2)


def main(honest: Path, tries: int = 20_000, seed: int = 1) -> int:
    """Run many tries and print what came of them."""
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(honest, Path(folder), seed)
        for number in range(tries):
            known = len(fuzz.result.failures)
            fuzz.one(number)
            for failure in fuzz.result.failures[known:]:
                print(failure, flush=True)
            if number % 100 == 99:
                shown = fuzz.result
                print(
                    f"{shown.tries} tries, {shown.refused} refused, {len(shown.failures)} failed, "
                    f"{shown.most_memory / 1e6:.0f} MB, {shown.most_seconds:.1f} s",
                    flush=True,
                )
    return len(fuzz.result.failures) > 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
