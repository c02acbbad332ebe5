"""Engines of all graphs of a plan, built for the shapes that the scheduler will ask for, with all
that they depend on written beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.config import Precision
from clit_deploy.engines.profiles import shape_ranges
from clit_deploy.errors import BuildError, DamageError, OptionError, SizeError
from clit_deploy.grid.tiling import smallest
from clit_deploy.plan.manifest import Engine, EngineSet
from clit_deploy.plan.plan_file import ENGINES, make_plan
from clit_deploy.render.layout import TILES
from clit_deploy.runtimes.protocols import ON_DEVICE, WorkLimits
from clit_deploy.runtimes.trt.engine_builder import BuildOptions, EngineBuilder
from clit_deploy.system.jetson import jetson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.cuda.cuda_api import Gpu
    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)

RTX_DEFAULTS = ("8.0", "8.6", "8.9", "12.0")
"""What TensorRT-RTX builds for where nothing is named."""


@dataclass(frozen=True)
class EngineLimits:
    """The largest pieces of work that engines are built for."""

    tile: int | None = None
    """Side of an encoder tile; by default one that most pictures of a camera need few of."""
    block: int = 256
    chunk: int = ON_DEVICE.chunk_factor
    """Chunks are so many times as large as those of a processor."""


def build_engines(
    plan: Plan,
    trt: TensorRT,
    options: BuildOptions,
    *,
    limits: EngineLimits | None = None,
    gpu: Gpu | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Plan, bytes | None]:
    """A plan with engines of all its graphs, beside those that it has for other devices.

    Args:
        plan: its graphs stay as they are.
        trt: what builds.
        options: for whom, with how much memory.
        limits: how large tiles, blocks and chunks may become.
        gpu: the device that is present, if there is one.
        progress: is told what is being done.

    Returns: the plan in memory, and the builder's timing cache.

    Raises:
        BuildError: a graph is refused; with all that TensorRT says.
        SizeError, OptionError: a tile or chunk out of range.
    """
    report = progress or (lambda step: log.info("%s", step))
    work_limits = work_limits_of(plan, limits or EngineLimits())
    named = sorted(set(options.capabilities), key=lambda text: (len(text), text))
    options = dataclasses.replace(options, capabilities=tuple(named))  # one set has one name
    _check(plan, trt, gpu)
    made = _described(trt, options, work_limits, gpu)
    builder, engines, members = EngineBuilder(trt), [], {}
    for member, some in shape_ranges(plan, work_limits).items():
        report(f"building {member} with {trt.title}")
        graph = plan.read(member)
        shapes = [
            {name: (span.min[name], span.opt[name], span.max[name]) for name in span.max}
            for span in some
        ]
        content, profiles, cache = builder.build(member, graph, shapes, options)
        options = dataclasses.replace(options, timing_cache=cache)
        name = f"{folder_of(made)}/{member.removesuffix('.onnx')}.engine"
        members[name] = content
        listed = [{k: [list(shape) for shape in span] for k, span in p.items()} for p in profiles]
        digest = hashlib.sha256(graph).hexdigest()
        engines.append(Engine(member, name, digest, listed))
    made = dataclasses.replace(made, engines=tuple(engines))
    return with_engines(plan, made, members), options.timing_cache


def _check(plan: Plan, trt: TensorRT, gpu: Gpu | None) -> None:
    refuse_qdq_format(plan.manifest.precision, plan.name)
    if not trt.is_rtx and gpu is None:
        raise BuildError("TensorRT builds on the GPU that is going to run, and there is none here.")


def refuse_qdq_format(precision: str, name: str) -> None:
    """Raises a BuildError if TensorRT cannot read what such plans hold."""
    if precision == Precision.INT8.value:
        raise BuildError(
            f"{name} holds INT8 in the form for processors, which TensorRT refuses; name "
            "--precision int8-fp16 when you export the checkpoint or calibrate the FP32 plan."
        )


def _described(
    trt: TensorRT, options: BuildOptions, work_limits: WorkLimits, gpu: Gpu | None
) -> EngineSet:
    """What engines are going to depend on; they themselves are still missing."""
    board = jetson()
    here = None if trt.is_rtx else gpu
    return EngineSet(
        flavour=trt.flavour.value,
        version=trt.version,
        targets=options.capabilities or ((here.capability,) if here else ()),
        gpu=here.name if here else None,
        processors=here.processors if here else None,
        driver=gpu.driver if gpu else None,
        l4t=board.l4t if board else None,
        tile=work_limits.max_tile or 0,
        block=work_limits.max_block or 0,
        times=work_limits.chunk_factor,
        sides=work_limits.cell_classes,
        workspace=options.workspace,
        engines=(),
    )


def work_limits_of(plan: Plan, limits: EngineLimits) -> WorkLimits:
    """The limits as the scheduler takes them.

    Raises:
        SizeError: a tile too small for the encoder.
        OptionError: a chunk below 1, or blocks that are too small.
    """
    encoder = plan.manifest.encoder
    least = smallest(encoder.halo, plan.manifest.margin, encoder.multiple)
    tile = limits.tile
    if tile is None:
        sides = (side for side in TILES if side >= 2 * least and side % encoder.multiple == 0)
        tile = min(sides, default=max(least, TILES[0]))
    if tile < least or tile % encoder.multiple:
        raise SizeError(
            f"A tile of {tile} does not suit this encoder: at least {least} is needed, a multiple "
            f"of {encoder.multiple}."
        )
    if limits.chunk < 1 or limits.block < max(ON_DEVICE.cell_classes):
        raise OptionError(
            f"Chunks of {limits.chunk} and blocks of {limits.block} make no sense; at least 1 and "
            f"{max(ON_DEVICE.cell_classes)} are needed."
        )
    return WorkLimits(1, limits.chunk, ON_DEVICE.cell_classes, tile, limits.block)


def folder_of(engines: EngineSet) -> str:
    """Where a set's engines are in the plan."""
    size = engines.processors and f"{engines.processors}SM"
    where = [part for part in (engines.gpu, size, engines.l4t) if part]
    parts = [engines.flavour, engines.version, *engines.targets, *where]
    return ENGINES + re.sub(r"[^\w.-]+", "_", "-".join(parts))


def with_engines(plan: Plan, made: EngineSet, members: dict[str, bytes]) -> Plan:
    """The plan with a set of engines; one for the same library and targets is replaced, and ones
    that are damaged are left out."""
    others = [x for x in plan.manifest.engines if folder_of(x) != folder_of(made)]
    whole = [(engines, found) for engines in others if (found := _read(plan, engines))]
    manifest = dataclasses.replace(plan.manifest, engines=(*(x for x, _ in whole), made))
    graphs = [name for name in plan.manifest.digests if not name.startswith(ENGINES)]
    kept = {name: plan.read(name) for name in graphs}
    for _, found in whole:
        kept.update(found)
    return make_plan(manifest, {**kept, **members})


def _read(plan: Plan, engines: EngineSet) -> dict[str, bytes]:
    """The members of a set; nothing where one is damaged."""
    try:
        return {engine.member: plan.read(engine.member) for engine in engines.engines}
    except DamageError as error:
        log.warning("the engines of %s are left out: %s", engines.title, error)
        return {}


def differences(plan: Plan, engines: EngineSet, version: str, gpu: Gpu) -> list[str]:
    """Why a set of engines is not for this library and GPU; empty where it is."""
    found = []
    if engines.version != version:
        found.append(f"they were built by version {engines.version}, here is {version}")
    targets: Sequence[str] = engines.targets or RTX_DEFAULTS
    if gpu.capability not in targets:
        listed = ", ".join(targets)
        found.append(f"they were built for compute capability {listed}, here is {gpu.capability}")
    elif engines.gpu and engines.gpu != gpu.name:
        found.append(f"they were built on a {engines.gpu}, here is a {gpu.name}")
    elif engines.processors and engines.processors != gpu.processors:
        found.append(
            f"they were built for {engines.processors} multiprocessors, here are {gpu.processors}"
        )
    board = jetson()
    if engines.l4t and board and engines.l4t != board.l4t:
        found.append(f"they were built on L4T {engines.l4t}, here is {board.l4t}")
    if any(plan.manifest.digests.get(x.graph) != x.digest for x in engines.engines):
        found.append("the plan's graphs are not those that they were built from")
    return found
