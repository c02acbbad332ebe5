"""Builds engines from ONNX graphs, with either flavour of TensorRT."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import BuildError
from clit_deploy.runtimes.trt.callbacks import make_monitor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)

Profile = dict[str, "tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]"]
"""The min, opt and max shape of every input."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build; the graphs are the same for all of them."""

    capabilities: tuple[str, ...] = ()
    """Compute capabilities to build for, like `8.6` (TensorRT-RTX only). Empty: the GPU of this
    machine for TensorRT, the library's default for RTX."""
    workspace: int | None = None
    """Bytes of device memory that the builder may use; None without a limit."""
    timing_cache: bytes | None = None
    """The content of the timing cache of earlier builds; TensorRT-RTX has none."""


class EngineBuilder:
    """Builds engines with a flavour of TensorRT. The graphs alone decide the types."""

    def __init__(self, trt: TensorRT) -> None:
        self._trt, self._api = trt, trt.trt

    def build(
        self, name: str, graph: bytes, profiles: Sequence[Mapping[str, Any]], options: BuildOptions
    ) -> tuple[bytes, list[Profile], bytes | None]:
        """Build an engine from a typed ONNX graph.

        Args:
            name: of the graph, for messages.
            graph: the bytes of the ONNX file.
            profiles: for each optimization profile, `(min, opt, max)` shapes by input; None stands
                for a length that the graph fixes. Inputs that the graph lacks are ignored.
            options: see `BuildOptions`.

        Returns: the engine, its profiles without None, and the timing cache if there is one.

        Raises:
            BuildError: TensorRT cannot build the graph; the message quotes its errors.
            RuntimeUnavailableError: TensorRT does not start.
            Interrupted: a signal stopped the build.
        """
        self._trt.raise_stopped()
        builder = self._trt.start("Builder")
        network = builder.create_network(self._network_flags())
        parser = self._api.OnnxParser(network, self._trt.logger)
        readable = parser.parse(graph)
        self._trt.raise_stopped()
        if not readable:
            found = [parser.get_error(k).desc() for k in range(parser.num_errors)]
            raise BuildError(f"{self._trt.title} cannot read {name}: {'; '.join(found):.200}")
        config = builder.create_builder_config()
        self._configure(config, options)
        full = [self._profile(builder, config, network, name, shapes) for shapes in profiles]
        monitor = make_monitor(self._api, self._trt.logger)  # TensorRT keeps no reference to it
        if monitor is not None:
            config.progress_monitor = monitor
        made = builder.build_serialized_network(network, config)
        self._trt.raise_stopped()
        if made is None:
            more = " Increase --workspace, or omit it." if options.workspace else ""
            raise BuildError(
                f"{self._trt.title} cannot build an engine of {name}: "
                f"{self._trt.last_errors()}{more}"
            )
        cache = None if self._trt.is_rtx else bytes(config.get_timing_cache().serialize())
        return bytes(made), full, cache

    def _network_flags(self) -> int:
        """Strongly typed networks; from TensorRT 11 on there are no others."""
        flags = self._api.NetworkDefinitionCreationFlag
        return 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0

    def _configure(self, config: Any, options: BuildOptions) -> None:
        config.profiling_verbosity = self._api.ProfilingVerbosity.DETAILED
        if hasattr(
            self._api.BuilderFlag, "TF32"
        ):  # it rounds the products of FP32 graphs to ten bits
            config.clear_flag(self._api.BuilderFlag.TF32)
        features = getattr(self._api, "PreviewFeature", None)
        resize = getattr(features, "RUNTIME_ACTIVATION_RESIZE_10_10", None)
        if resize is not None:  # smaller chunks then need less workspace
            config.set_preview_feature(resize, True)
        if options.workspace:
            config.set_memory_pool_limit(self._api.MemoryPoolType.WORKSPACE, options.workspace)
        if options.capabilities and not self._trt.is_rtx:
            raise BuildError(
                "TensorRT builds only for the GPU of this machine; omit --compute-capability, or "
                "build with --runtime tensorrt-rtx."
            )
        if self._trt.is_rtx:
            self._target(config, options.capabilities)
            return  # RTX compiles on the device, so it has no timing cache
        cache = config.create_timing_cache(options.timing_cache or b"")
        if not config.set_timing_cache(cache, ignore_mismatch=False):
            log.warning("the timing cache is for another device or version; starting a new one")
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

    def _target(self, config: Any, capabilities: Sequence[str]) -> None:
        known = self._api.ComputeCapability
        for capability in capabilities:
            if not hasattr(known, _sm(capability)):
                offered = sorted(int(n[2:]) for n in dir(known) if n.startswith("SM"))
                listed = ", ".join(f"{n // 10}.{n % 10}" for n in offered)
                raise BuildError(
                    f"{self._trt.title} cannot build for compute capability {capability}; "
                    f"it supports {listed}."
                )
        if capabilities:
            config.num_compute_capabilities = len(capabilities)
            for k, capability in enumerate(capabilities):
                config.set_compute_capability(getattr(known, _sm(capability)), k)

    def _profile(
        self, builder: Any, config: Any, network: Any, name: str, shapes: Mapping[str, Any]
    ) -> Profile:
        profile, full = builder.create_optimization_profile(), {}
        for k in range(network.num_inputs):
            tensor = network.get_input(k)
            if tensor.name not in shapes:
                raise BuildError(f"The input {tensor.name} of {name} has no optimization profile.")
            lower, opt, upper = (
                tuple(
                    int(own if own_or_given is None else own_or_given)
                    for own, own_or_given in zip(tensor.shape, shape, strict=True)
                )
                for shape in shapes[tensor.name]
            )
            profile.set_shape(tensor.name, lower, opt, upper)
            full[tensor.name] = (lower, opt, upper)
        if config.add_optimization_profile(profile) < 0:
            raise BuildError(
                f"{self._trt.title} rejects the optimization profile of {name}: "
                f"{self._trt.last_errors()}"
            )
        return full


def _sm(capability: str) -> str:
    return "SM" + capability.replace(".", "")
