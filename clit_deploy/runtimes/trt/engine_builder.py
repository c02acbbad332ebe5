"""ONNX graph -> engine, by either flavour of TensorRT."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)

Profile = dict[str, "tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]"]
"""Smallest, usual and largest shape of every input."""


@dataclass(frozen=True)
class BuildOptions:
    """What may differ between builds of the same graphs."""

    capabilities: tuple[str, ...] = ()
    """Compute capabilities to build for (`8.6`), where the flavour builds for others than the
    GPU that is present; none means that GPU, or RTX's own choice."""
    workspace: int | None = None
    """Bytes that the builder may use on the device."""
    timing_cache: bytes | None = None


class EngineBuilder:
    """Builds engines with a flavour of TensorRT. Types are those of the graphs alone."""

    def __init__(self, trt: TensorRT) -> None:
        self._trt, self._api = trt, trt.trt

    def build(
        self, name: str, graph: bytes, profiles: Sequence[Mapping[str, Any]], options: BuildOptions
    ) -> tuple[bytes, list[Profile], bytes | None]:
        """An engine of a typed ONNX graph.

        Args:
            name: the graph, for messages.
            graph: the file's bytes.
            profiles: objects by input with shapes `(least, usual, most)`; None stands for a length
                that the graph fixes. Inputs that the graph does not have are left out.
            options: see `BuildOptions`.

        Returns: the engine, its profiles in full, and the timing cache, where there is one.

        Raises:
            BuildError: the graph is refused; with all that TensorRT says about it.
            RuntimeUnavailableError: TensorRT does not start.
        """
        builder = self._trt.start("Builder")
        network = builder.create_network(self._network_flags())
        parser = self._api.OnnxParser(network, self._trt.logger)
        readable = parser.parse(graph)
        self._trt.resume()
        if not readable:
            found = [parser.get_error(k).desc() for k in range(parser.num_errors)]
            raise BuildError(f"{self._trt.title} cannot read {name}: {'; '.join(found)}")
        config = builder.create_builder_config()
        self._configure(config, options)
        full = [self._profile(builder, config, network, name, shapes) for shapes in profiles]
        made = builder.build_serialized_network(network, config)
        self._trt.resume()
        if made is None:
            more = " Allow more --workspace, or leave it out." if options.workspace else ""
            raise BuildError(
                f"{self._trt.title} cannot build an engine of {name}: {self._trt.said()}{more}"
            )
        cache = None if self._trt.is_rtx else bytes(config.get_timing_cache().serialize())
        return bytes(made), full, cache

    def _network_flags(self) -> int:
        """Types are those of the graph; from TensorRT 11 on there is nothing else."""
        flags = self._api.NetworkDefinitionCreationFlag
        return 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0

    def _configure(self, config: Any, options: BuildOptions) -> None:
        config.profiling_verbosity = self._api.ProfilingVerbosity.DETAILED
        if hasattr(self._api.BuilderFlag, "TF32"):  # or products of FP32 graphs have ten bits
            config.clear_flag(self._api.BuilderFlag.TF32)
        features = getattr(self._api, "PreviewFeature", None)
        resize = getattr(features, "RUNTIME_ACTIVATION_RESIZE_10_10", None)
        if resize is not None:  # smaller chunks then need less working memory
            config.set_preview_feature(resize, True)
        if options.workspace:
            config.set_memory_pool_limit(self._api.MemoryPoolType.WORKSPACE, options.workspace)
        if options.capabilities and not self._trt.is_rtx:
            raise BuildError(
                "TensorRT builds for the GPU that is present alone; leave out "
                "--compute-capability, or build with --runtime tensorrt-rtx."
            )
        if self._trt.is_rtx:
            self._target(config, options.capabilities)
            return  # RTX compiles on the device and keeps a cache there
        cache = config.create_timing_cache(options.timing_cache or b"")
        if not config.set_timing_cache(cache, ignore_mismatch=False):
            log.warning("the timing cache is of another device or version; a new one begins")
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

    def _target(self, config: Any, capabilities: Sequence[str]) -> None:
        known = self._api.ComputeCapability
        for capability in capabilities:
            if not hasattr(known, _sm(capability)):
                offered = sorted(int(n[2:]) for n in dir(known) if n.startswith("SM"))
                listed = ", ".join(f"{n // 10}.{n % 10}" for n in offered)
                raise BuildError(
                    f"{self._trt.title} does not build for compute capability {capability}; "
                    f"it builds for {listed}."
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
                raise BuildError(f"{name} has an input {tensor.name} that no profile speaks of.")
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
            raise BuildError(f"{self._trt.title} refuses the profile of {name}: {self._trt.said()}")
        return full


def _sm(capability: str) -> str:
    return "SM" + capability.replace(".", "")
