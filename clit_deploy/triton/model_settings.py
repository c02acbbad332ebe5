"""How a served model runs: what the command line writes into `config.pbtxt`, and Triton reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clit_deploy.config import RuntimeName, member, parse_bytes
from clit_deploy.errors import OptionError, quote
from clit_deploy.system import memory
from clit_deploy.upscaler import MOST_THREADS

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAN = "model.plan"
"""The name of the plan beside `model.py`."""
AUTO = "auto"
"""The value of a parameter that is decided where the model is served."""
MOST_INSTANCES = 256
LONGEST_QUEUE = 1_000_000
USUAL_PIXELS, MOST_PIXELS = 100_000_000, 1_000_000_000
"""The largest limit that memory sets, and the largest that may be set. Triton holds an answer as a
whole, so larger results belong into files."""
BYTES_PER_PIXEL = 64
"""Memory that allows one pixel. A 16-bit RGBA file and the copies that Triton makes of it take half
of that; the rest is for the work."""


@dataclass(frozen=True)
class ModelSettings:
    """Settings of a model that Triton serves.

    Raises:
        OptionError: a value out of its range.
    """

    runtime: RuntimeName = RuntimeName.AUTO
    threads: int | None = None
    """CPU threads of an instance; None shares those of the machine among the instances."""
    max_memory: str | None = None
    """Memory of an instance; None shares what is free among the instances."""
    rebuild: bool = True
    device: str | None = None
    max_pixels: int | None = None
    """Most pixels of an image that comes in, and of one that goes out; None: as memory allows."""
    instances: int = 1
    """Processes, on each GPU or on the CPU."""
    queue: int = 32
    """Requests that may wait; others are refused at once."""

    def __post_init__(self) -> None:
        _check("instances", self.instances, MOST_INSTANCES)
        _check("the queue", self.queue, LONGEST_QUEUE)
        if self.threads is not None:
            _check("threads", self.threads, MOST_THREADS)
        if self.max_pixels is not None:
            _check("max_pixels", self.max_pixels, MOST_PIXELS)
        if self.max_memory is not None:
            parse_bytes(self.max_memory)

    @property
    def kind(self) -> str:
        """Where Triton starts instances: on the CPU, on each GPU, or on what the machine has."""
        if self.runtime in (RuntimeName.CPU, RuntimeName.WEBGPU):
            return "KIND_CPU"
        return "KIND_AUTO" if self.runtime is RuntimeName.AUTO else "KIND_GPU"

    def parameters(self) -> dict[str, str]:
        """The settings that the model reads when it is loaded, as text."""
        values = {
            "runtime": self.runtime.value,
            "threads": self.threads,
            "max_memory": self.max_memory,
            "rebuild": str(self.rebuild).lower(),
            "device": self.device,
            "max_pixels": self.max_pixels,
        }
        return {name: AUTO if value is None else str(value) for name, value in values.items()}

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> ModelSettings:
        """The settings in a configuration, as Triton gives it to a model.

        Raises:
            OptionError: a parameter is not valid.
        """
        texts = {name: one.get("string_value", "") for name, one in config["parameters"].items()}
        given = {name: text for name, text in texts.items() if text not in ("", AUTO)}
        return cls(
            runtime=member(RuntimeName, given.get("runtime", AUTO), "runtime"),
            threads=_whole(given, "threads"),
            max_memory=given.get("max_memory"),
            rebuild=_flag(given, "rebuild"),
            device=given.get("device"),
            max_pixels=_whole(given, "max_pixels"),
            instances=sum(group["count"] for group in config["instance_group"]),
        )

    def memory_of_instance(self) -> int | None:
        """Bytes that this process may hold: its share, if it is one of several.

        Returns: None for whatever the machine has available.
        """
        if self.max_memory is not None:
            return parse_bytes(self.max_memory)
        free = memory.available()
        if self.instances == 1 or free is None:
            return None
        return memory.resident() + free // self.instances

    def pixel_limit(self, max_memory: int | None) -> int:
        """Most pixels of an image, where an instance may hold so many bytes."""
        if self.max_pixels is not None:
            return self.max_pixels
        allowed = memory.limit(max_memory)
        return USUAL_PIXELS if allowed is None else min(allowed // BYTES_PER_PIXEL, USUAL_PIXELS)


def _check(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise OptionError(f"{name} is {value}; a number from 1 to {most} is needed.")


def _whole(given: Mapping[str, str], name: str) -> int | None:
    if name not in given:
        return None
    try:
        return int(given[name])
    except ValueError:
        raise OptionError(
            f"The parameter {name} is {quote(given[name])}; write a whole number or auto."
        ) from None


def _flag(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "true").lower()
    if value not in ("true", "false"):
        raise OptionError(f"The parameter {name} is {quote(value)}; write true or false.")
    return value == "true"
