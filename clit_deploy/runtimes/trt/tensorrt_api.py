"""TensorRT and TensorRT-RTX behind one face: what differs between flavours and versions is here.

Both have the same Python calls, less those that came and went from 10.3 (JetPack 6) to 11.x; every
return value is checked, for the bindings return None or False and write to the logger.
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
from clit_deploy.system.extras import install_command

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)

OLDEST = (10, 3)
"""Version of TensorRT that JetPack 6.1 brings; older ones have no strongly typed networks."""

OUT_OF_MEMORY = re.compile(
    r"out of (device |gpu )?memory|OutOfMemory|MemoryAllocation|ALLOC_FAILED"
    r"|memory.{0,40} could not be allocated|(cannot|could not|failed to|unable to) allocate",
    re.IGNORECASE,
)
"""What TensorRT and the CUDA libraries under it say where room is all that lacks. An illegal
access, after which the device answers nothing, speaks of memory too."""


class Flavour(str, Enum):
    """The two libraries; the value is what `--runtime` calls them."""

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
    """numpy's name of the type."""
    is_input: bool
    shape: tuple[int, ...]


@dataclass
class Kernels:
    """Where TensorRT-RTX has its kernels from, which it compiles on the device."""

    cache: Any = None
    """The store of those that it has; None for TensorRT."""
    eager: bool = False
    """Whether a new shape waits for kernels of its own. By default it runs on others meanwhile, so
    what is compared would not be what runs later."""


class TensorRT:
    """One flavour, imported. Made by `load_tensorrt`."""

    def __init__(self, flavour: Flavour, module: Any) -> None:
        self.flavour = flavour
        self.version = str(module.__version__)
        self.trt = module
        self.messages: list[str] = []
        self.logger = _logger(module, self.messages)
        self._runtime: Any = None

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX."""
        return self.flavour is Flavour.RTX

    @property
    def title(self) -> str:
        """Flavour and version, for people."""
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"

    def deserialize(self, engine: bytes, name: str) -> Any:
        """An engine ready for contexts.

        Raises:
            UnfitEngineError: it is damaged, or not for this library, version or GPU.
        """
        self.messages.clear()
        if self._runtime is None:
            self._runtime = self.start("Runtime")
        made = self._runtime.deserialize_cuda_engine(engine)
        if made is None:
            raise self.failed(UnfitEngineError, f"{self.title} cannot load the engine of {name}")
        return made

    def start(self, part: str) -> Any:
        """A `Builder` or a `Runtime`.

        Raises:
            RuntimeUnavailableError: CUDA does not start; the bindings raise TypeError then.
        """
        self.messages.clear()
        try:
            return getattr(self.trt, part)(self.logger)
        except Exception as error:
            raise RuntimeUnavailableError(
                f"{self.title} does not start: {self.said()} ({error}). Is the NVIDIA driver new "
                "enough for it? Otherwise use --runtime cpu."
            ) from error

    def resume(self) -> None:
        """Raise what a signal raised within TensorRT, which lets no exception through."""
        stopped, self.logger.stopped = self.logger.stopped, None
        if stopped is not None:
            raise stopped

    def tensors(self, engine: Any) -> list[Tensor]:
        """Inputs and outputs."""
        found = []
        for k in range(engine.num_io_tensors):
            name = engine.get_tensor_name(k)
            is_input = engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT
            kind = _TYPES[engine.get_tensor_dtype(name).name]
            found.append(Tensor(name, kind, is_input, tuple(engine.get_tensor_shape(name))))
        return found

    def context(self, engine: Any, kernels: Kernels) -> Any:
        """An execution context whose working memory the caller gives it."""
        strategy = self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self.is_rtx:
            made = engine.create_execution_context(strategy)
        else:
            config = engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            # Its own recording would hold up, or record, what other threads enqueue on the stream.
            config.cuda_graph_strategy = self.trt.CudaGraphStrategy.DISABLED
            if kernels.eager:
                kinds = self.trt.DynamicShapesKernelSpecializationStrategy
                config.dynamic_shapes_kernel_specialization_strategy = kinds.EAGER
            if kernels.cache is not None:
                config.set_runtime_cache(kernels.cache)
            made = engine.create_execution_context(config)
        if made is None:
            raise self.failed(EngineError, f"{self.title} makes no execution context")
        return made

    def runtime_cache(self, engine: Any, content: bytes) -> Any:
        """RTX's store of kernels that it compiled on this device; None for TensorRT."""
        if not self.is_rtx:
            return None
        cache = engine.create_runtime_config().create_runtime_cache()
        if content and not cache.deserialize(content):
            log.info("the runtime cache is not of this device and version; it begins anew")
        return cache

    @staticmethod
    def working_memory(engine: Any, context: Any) -> int:
        """Bytes that a context needs for the shapes that it was given; for the largest ones where
        it fails to tell, which it does by answering 0."""
        return int(context.update_device_memory_size_for_shapes() or engine.device_memory_size_v2)

    def lend(self, context: Any, pointer: int, size: int, name: str) -> None:
        """Give a context its working memory.

        Raises:
            EngineError: it refuses, which only the log tells.
        """
        self.messages.clear()
        context.set_device_memory(pointer, size)
        if self.messages:
            raise self.failed(EngineError, f"{name} refuses {size} bytes of working memory")

    def failed(self, kind: type[ClitDeployError], what: str) -> ClitDeployError:
        """The error of a call that failed; lack of memory has its own."""
        why = self.said()
        if OUT_OF_MEMORY.search(why):
            return DeviceMemoryError(
                f"Out of device memory: {what} ({why}). Build engines for smaller pieces "
                "('clit-deploy build --tile, --chunk'), or close other programs."
            )
        return kind(f"{what}: {why}")

    def said(self) -> str:
        """The errors that the library logged since the last call, in one line."""
        text = "; ".join(self.messages) or "it does not say why."
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
    """Import a flavour; once, for its logger is one for the process.

    Raises:
        RuntimeUnavailableError: it is not installed, broken or too old.
    """
    if flavour not in _LOADED:
        _LOADED[flavour] = TensorRT(flavour, _module(flavour))
    return _LOADED[flavour]


_LOADED: dict[Flavour, TensorRT] = {}


def _module(flavour: Flavour) -> ModuleType:
    try:
        module = importlib.import_module(flavour.module)
        version = tuple(int(part) for part in module.__version__.split(".")[:2])
    except Exception as error:  # missing, or there without its libraries
        raise RuntimeUnavailableError(
            f"Python has no working module {flavour.module} ({error}). {_repair(flavour)}"
        ) from error
    if flavour is Flavour.TENSORRT and version < OLDEST:
        raise RuntimeUnavailableError(
            f"TensorRT {module.__version__} has no strongly typed networks; 10.3 (JetPack 6.1) is "
            "the oldest that will do. Use --runtime cpu or cuda here."
        )
    return module


def _repair(flavour: Flavour) -> str:
    from clit_deploy.system.jetson import jetson

    if flavour is Flavour.RTX:
        return f"Install it with {install_command('rtx')} (x86-64; there is none for Jetson)."
    if jetson() is not None:
        return (
            "On a Jetson it belongs to the system's Python: make the virtual environment again "
            "with python3 -m venv --system-site-packages (and apt install python3-libnvinfer)."
        )
    command = install_command("tensorrt-cu12")
    if "tensorrt" not in command:
        return "There is no package of it for this machine; use --runtime cpu or cuda."
    return (
        f"Install it with {command} for a driver of CUDA 12, or with "
        f"{install_command('tensorrt-cu13')}."
    )


def _logger(module: Any, messages: list[str]) -> Any:
    """TensorRT's logger is one for the process; this one keeps errors and passes all on."""

    class Logger(module.ILogger):  # type: ignore[misc]  # the bindings have no types
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.stopped: BaseException | None = None

        def log(self, severity: Any, message: str) -> None:
            try:
                if severity <= module.ILogger.ERROR:
                    messages.append(message)
                log.log(_LEVELS.get(severity.name, logging.DEBUG), "%s", message)
            except BaseException as error:  # a signal's; TensorRT would drop it
                self.stopped = error

    return Logger()


_LEVELS = {"INTERNAL_ERROR": logging.INFO, "ERROR": logging.INFO, "WARNING": logging.INFO}
"""Errors become exceptions, so nothing is more than information here."""
