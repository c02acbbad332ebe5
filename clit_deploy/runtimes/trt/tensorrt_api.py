"""TensorRT and TensorRT-RTX behind one interface, which hides how flavours and versions differ.

Their Python calls are the same, apart from a few that were added or removed between 10.3 (JetPack
6) and 11.x. Every return value is checked: on failure the bindings return None or False, and write
the reason to the logger.
"""

from __future__ import annotations

import importlib
import logging
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import (
    ClitDeployError,
    DeviceMemoryError,
    EngineError,
    RuntimeUnavailableError,
    UnfitEngineError,
)
from clit_deploy.runtimes.trt.callbacks import make_logger
from clit_deploy.system import interrupts
from clit_deploy.system.extras import install_command

if TYPE_CHECKING:
    from types import ModuleType

    from clit_deploy.system.jetson import Jetson

log = logging.getLogger(__name__)

OLDEST = (10, 3)
"""The version of TensorRT in JetPack 6.1. Older ones have no strongly typed networks."""

REPAIRED = 10, 7
"""The version that users of JetPack 6 install where 10.3 computes wrong results."""

OUT_OF_MEMORY = re.compile(
    r"out of (device |gpu )?memory|OutOfMemory|MemoryAllocation|ALLOC_FAILED"
    r"|memory.{0,40} could not be allocated|(cannot|could not|failed to|unable to) allocate",
    re.IGNORECASE,
)
"""Matches the out-of-memory messages of TensorRT and the CUDA libraries, but not "illegal memory
access", after which the device is unusable."""


class Flavour(str, Enum):
    """The two libraries. The values are those of `--runtime`."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt-rtx"

    @property
    def module(self) -> str:
        """The Python module."""
        return "tensorrt" if self is Flavour.TENSORRT else "tensorrt_rtx"


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine."""

    name: str
    dtype: str
    """The type's name in numpy."""
    is_input: bool
    shape: tuple[int, ...]


@dataclass
class Kernels:
    """Kernels of TensorRT-RTX, which compiles them on the device."""

    cache: Any = None
    """The runtime cache of compiled kernels; None for TensorRT."""
    eager: bool = False
    """Whether a new shape waits for its own kernels. By default it runs on generic ones meanwhile,
    so a check would not compare what runs later."""


class TensorRT:
    """One imported flavour; `load_tensorrt` makes it."""

    def __init__(self, flavour: Flavour, module: Any) -> None:
        self.flavour = flavour
        self.version = str(module.__version__)
        self.trt = module
        self.messages: list[str] = []
        self.logger = make_logger(module, self.messages)
        self._runtime: Any = None

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX."""
        return self.flavour is Flavour.RTX

    @property
    def title(self) -> str:
        """Flavour and version, for messages."""
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"

    def repair(self) -> str:
        """What helps where engines compute wrong results."""
        from clit_deploy.system.jetson import jetson

        advice = None if self.is_rtx else newer_release(self.version, jetson())
        return f"Build them again, or use --runtime cpu. {advice or ''}".strip()

    def deserialize(self, engine: bytes, name: str) -> Any:
        """Load a serialized engine.

        Raises:
            UnfitEngineError: it is damaged, or was built for another library, version or GPU.
        """
        self.messages.clear()
        if self._runtime is None:
            self._runtime = self.start("Runtime")
        made = self._runtime.deserialize_cuda_engine(engine)
        if made is None:
            raise self.failed(UnfitEngineError, f"{self.title} cannot load the engine of {name}")
        return made

    def start(self, part: str) -> Any:
        """Make a `Builder` or a `Runtime`.

        Raises:
            RuntimeUnavailableError: CUDA does not start (the bindings raise a TypeError).
        """
        self.messages.clear()
        try:
            return getattr(self.trt, part)(self.logger)
        except Exception as error:
            raise RuntimeUnavailableError(
                f"{self.title} does not start: {self.last_errors()} ({error}). Check that the "
                "NVIDIA driver is new enough for it, or use --runtime cpu."
            ) from error

    def raise_stopped(self) -> None:
        """Raise what stopped a call of TensorRT: a signal, or an exception in a callback."""
        interrupts.check()
        raised, self.logger.raised = self.logger.raised, None
        if raised is not None:
            raise raised

    def tensors(self, engine: Any) -> list[Tensor]:
        """Inputs and outputs of an engine."""
        found = []
        for k in range(engine.num_io_tensors):
            name = engine.get_tensor_name(k)
            is_input = engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT
            kind = _TYPES[engine.get_tensor_dtype(name).name]
            found.append(Tensor(name, kind, is_input, tuple(engine.get_tensor_shape(name))))
        return found

    def context(self, engine: Any, kernels: Kernels) -> Any:
        """Make an execution context without workspace; see `set_workspace`.

        Raises:
            EngineError: the library cannot make one.
            DeviceMemoryError: the device is out of memory.
        """
        strategy = self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self.is_rtx:
            made = engine.create_execution_context(strategy)
        else:
            config = engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            # RTX would capture the stream, and delay or record what other threads enqueue on it.
            config.cuda_graph_strategy = self.trt.CudaGraphStrategy.DISABLED
            if kernels.eager:
                kinds = self.trt.DynamicShapesKernelSpecializationStrategy
                config.dynamic_shapes_kernel_specialization_strategy = kinds.EAGER
            if kernels.cache is not None:
                config.set_runtime_cache(kernels.cache)
            made = engine.create_execution_context(config)
        if made is None:
            raise self.failed(EngineError, f"{self.title} cannot create an execution context")
        return made

    def runtime_cache(self, engine: Any, content: bytes) -> Any:
        """RTX's cache of kernels that it compiled on this device; None for TensorRT."""
        if not self.is_rtx:
            return None
        cache = engine.create_runtime_config().create_runtime_cache()
        if content and not cache.deserialize(content):
            log.info("the runtime cache is for another device or version; starting a new one")
        return cache

    @staticmethod
    def workspace_size(engine: Any, context: Any) -> int:
        """Bytes of workspace that a context needs for its current shapes, or for the largest ones
        if it fails to report them (it returns 0)."""
        return int(context.update_device_memory_size_for_shapes() or engine.device_memory_size_v2)

    def set_workspace(self, context: Any, pointer: int, size: int, name: str) -> None:
        """Give a context its workspace.

        Raises:
            EngineError: the context refuses it. Only the log reports that.
        """
        self.messages.clear()
        context.set_device_memory(pointer, size)
        if self.messages:
            raise self.failed(EngineError, f"{name} refuses {size} bytes of workspace")

    def failed(self, kind: type[ClitDeployError], what: str) -> ClitDeployError:
        """The error of a failed call: `kind`, or a DeviceMemoryError if memory ran out."""
        why = self.last_errors()
        if OUT_OF_MEMORY.search(why):
            return DeviceMemoryError(
                f"Out of device memory: {what} ({why}). Build engines for smaller tiles and "
                "chunks ('clit-deploy build --tile, --chunk'), or close other programs."
            )
        return kind(f"{what}: {why}")

    def last_errors(self) -> str:
        """The errors that the library logged since the last call, in one line of at most 200
        characters."""
        text = "; ".join(self.messages)[:200] or "no reason was logged."
        self.messages.clear()
        return text


_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT32": "int32",
    "INT64": "int64",
    "INT8": "int8",
    "BOOL": "bool",
}


def load_tensorrt(flavour: Flavour) -> TensorRT:
    """Import a flavour, once: a process has one logger of TensorRT.

    Raises:
        RuntimeUnavailableError: it is not installed, is broken or too old.
    """
    if flavour not in _LOADED:
        _LOADED[flavour] = TensorRT(flavour, _module(flavour))
    return _LOADED[flavour]


_LOADED: dict[Flavour, TensorRT] = {}


def _module(flavour: Flavour) -> ModuleType:
    try:
        module = importlib.import_module(flavour.module)
        version = tuple(int(part) for part in module.__version__.split(".")[:2])
    except Exception as error:  # not installed, or without its libraries
        raise RuntimeUnavailableError(
            f"The Python module {flavour.module} cannot be imported ({error}). {_repair(flavour)}"
        ) from error
    if flavour is Flavour.TENSORRT and version < OLDEST:
        raise RuntimeUnavailableError(
            f"TensorRT {module.__version__} has no strongly typed networks; 10.3 (JetPack 6.1) is "
            "the oldest supported version. Use --runtime cpu or cuda."
        )
    return module


def _repair(flavour: Flavour) -> str:
    from clit_deploy.system.jetson import jetson

    if flavour is Flavour.RTX:
        return f"Install it with {install_command('rtx')} (x86-64 only, not Jetson)."
    board = jetson()
    if board is not None:
        packages = f"; or {install_command('tensorrt-cu13')}" if board.has_pip_tensorrt else ""
        return (
            "On a Jetson it is part of the system's Python: create the virtual environment again "
            "with python3 -m venv --system-site-packages (and apt install python3-libnvinfer)"
            f"{packages}."
        )
    drivers = {"tensorrt-cu12": "a CUDA 12 driver", "tensorrt-cu13": "a CUDA 13 driver"}
    commands = [
        f"{command} for {driver}"
        for extra, driver in drivers.items()
        if "tensorrt" in (command := install_command(extra))
    ]
    if not commands:
        return "It has no package for this machine; use --runtime cpu or cuda."
    return f"Install it with {', or with '.join(commands)}."


def newer_release(version: str, board: Jetson | None) -> str | None:
    """Where a newer TensorRT helps against wrong results: the 10.3 of JetPack 6 is known for them.

    Returns: how to get one; None elsewhere.
    """
    if board is None or board.jetpack is None or not board.jetpack.startswith("6"):
        return None
    if tuple(int(part) for part in version.split(".")[:2]) >= REPAIRED:
        return None
    return (
        f"TensorRT {version} of JetPack 6 is known to compute some models wrong: install 10.7 or "
        "newer with NVIDIA's .deb packages, or use NVIDIA's container tensorrt:26.03 (10.16)."
    )
