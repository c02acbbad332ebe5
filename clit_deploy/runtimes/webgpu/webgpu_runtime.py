"""ONNX Runtime on WebGPU.

Tensors travel between the host and the GPU with every run: the plugin has device tensors, but no
views and no copies of their parts, which the scheduler needs to cut maps into chunks.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from typing import TYPE_CHECKING

import onnxruntime as ort

from clit_deploy.config import Precision
from clit_deploy.errors import DeviceMemoryError, RuntimeUnavailableError
from clit_deploy.runtimes.ort.ort_runners import OrtRunner
from clit_deploy.runtimes.ort.ort_runtime import OrtRuntime
from clit_deploy.runtimes.protocols import ON_DEVICE, WorkLimits
from clit_deploy.runtimes.webgpu.adapters import choose_adapter, software_is_allowed
from clit_deploy.runtimes.webgpu.plugin import (
    check_installed,
    found_adapters,
    provider_options,
    registered,
    tried,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from clit_deploy.plan.manifest import Manifest
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Array
    from clit_deploy.runtimes.usage import Usage
    from clit_deploy.runtimes.webgpu.adapters import Adapter

log = logging.getLogger(__name__)

SMALLEST_TILE = 16
"""Pixels; an adapter must hold at least a tile of this side and one cell."""

_USED: list[Adapter] = []
"""The adapter of this process: the plugin keeps the first one that it opens."""
_OPENING = threading.Lock()


def open_webgpu(
    plan: Plan, device: str | None = None, *, software: bool | None = None
) -> WebGpuRuntime:
    """Open WebGPU for a plan.

    Args:
        plan: its precision and the size of its tensors must suit the adapter.
        device: the adapter's number or a part of its name; None chooses the fastest GPU.
        software: whether a software adapter that is not named will do; None asks the plugin's own
            switch.

    Raises:
        OptionError: no adapter has this number or name.
        RuntimeUnavailableError: the plugin is missing or fails, there is no adapter for this plan,
            or this process uses another one already.
    """
    check_installed()
    with _OPENING:
        allowed = software_is_allowed() if software is None else software
        adapter = choose_adapter(found_adapters(), device, software=allowed)
        check_precision(plan.manifest.precision, adapter)
        limits = work_limits_of(plan.manifest, adapter)
        if _USED and _USED[0] != adapter:
            raise RuntimeUnavailableError(
                f"This process uses the WebGPU adapter {_USED[0].name} already, and the plugin "
                f"keeps it; start another process for {adapter.name}."
            )
        registered()
        _USED[:] = [adapter]
    log.info("WebGPU on %s, driver %s", adapter.name, adapter.driver)
    return WebGpuRuntime(adapter, limits)


def check_precision(precision: str, adapter: Adapter) -> None:
    """Refuse a plan whose types the adapter does not compute.

    Raises:
        RuntimeUnavailableError: INT8, or FP16 without shaders for it; or the adapter fails.
    """
    if precision in (Precision.INT8, Precision.INT8_FP16):
        raise RuntimeUnavailableError(
            f"WebGPU does not run {precision} plans; use the FP32 or FP16 plan of the model, or "
            "--runtime cpu."
        )
    if not tried(adapter).fp16 and precision == Precision.FP16:
        raise RuntimeUnavailableError(
            f"The WebGPU adapter {adapter.name} does not compute in FP16 (shader-f16); use the "
            "FP32 plan, or --runtime cpu."
        )


def work_limits_of(manifest: Manifest, adapter: Adapter) -> WorkLimits:
    """Tiles and chunks whose tensors fit into the adapter's largest storage buffer.

    The manifest estimates the memory of a whole run, so the largest tensor of a run is smaller.

    Raises:
        RuntimeUnavailableError: not even the smallest pieces fit.
    """
    limits = WorkLimits(chunk_factor=ON_DEVICE.chunk_factor, dedicated_memory=False)
    most = adapter.storage_bytes
    if most is None:
        return limits
    tile = math.isqrt(most // max(manifest.encoder.bytes_per_pixel, 1))
    chunks = [
        max(
            stage.chunk_queries * stage.query_bytes + stage.chunk_cells * stage.cell_bytes,
            stage.cell_bytes + stage.query_bytes,
        )
        for stage in manifest.stages
    ]
    factor = min(limits.chunk_factor, most // max(chunks))
    if tile < SMALLEST_TILE or factor < 1:
        raise RuntimeUnavailableError(
            f"The WebGPU adapter {adapter.name} holds tensors up to {most / 1e6:.3g} MB, which is "
            "too small for this plan; use --runtime cpu."
        )
    multiple = manifest.encoder.multiple
    tile = max(tile // multiple * multiple, multiple)
    return dataclasses.replace(limits, chunk_factor=factor, max_tile=tile)


class WebGpuRuntime(OrtRuntime):
    """Sessions on one adapter; see `OrtRuntime`. Runs come one after another."""

    def __init__(self, adapter: Adapter, limits: WorkLimits) -> None:
        super().__init__(cuda=False, threads=1)
        self.adapter = adapter
        self.name = f"onnxruntime {ort.__version__} (WebGPU, {adapter.name})"
        self.work_limits = limits
        self.on_device = adapter.is_gpu
        self._turn = threading.Lock()

    def _session(
        self, graph: bytes, options: ort.SessionOptions, disabled: list[str] | None
    ) -> ort.InferenceSession:
        # Placement is recorded for the tests; it costs nothing else.
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options.add_provider_for_devices([registered()], provider_options(self.adapter.preference))
        return ort.InferenceSession(graph, options, disabled_optimizers=disabled)

    def _runner(self, session: ort.InferenceSession) -> OrtRunner:
        shared = self._run_options, self._usage, self._turn, self.adapter.storage_bytes
        return _WebGpuRunner(session, *shared)


class _WebGpuRunner(OrtRunner):
    """A session whose runs wait for those of all others: they share one queue of the device."""

    memory_error = DeviceMemoryError

    def __init__(
        self,
        session: ort.InferenceSession,
        options: ort.RunOptions,
        usage: Usage,
        turn: threading.Lock,
        room: int | None,
    ) -> None:
        super().__init__(session, options, usage)
        self._turn, self._room = turn, room

    def run(self, feeds: Mapping[str, Array]) -> NDArray[np.generic]:
        """See `OrtRunner.run`.

        Raises:
            DeviceMemoryError: the GPU is out of memory, or a tensor is too large for it.
            DeviceError: the GPU was lost.
        """
        try:
            with self._turn:
                return super().run(feeds)
        except DeviceMemoryError as error:
            raise DeviceMemoryError(str(error), self._room) from error
