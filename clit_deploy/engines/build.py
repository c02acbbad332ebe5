"""Builds engines of all graphs of a plan, for the shapes that the scheduler needs.

The plan records everything that its engines depend on.
"""

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
    from collections.abc import Callable, Collection, Sequence

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.cuda.cuda_api import Gpu
    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)

RTX_DEFAULTS = ("8.0", "8.6", "8.9", "12.0")
"""Compute capabilities that TensorRT-RTX builds for by default."""


@dataclass(frozen=True)
class EngineLimits:
    """The largest tiles, blocks and chunks that engines are built for."""

    tile: int | None = None
    """Side of an encoder tile, in pixels; None takes a size of which most photographs need few."""
    block: int = 256
    """Side of an output block, in pixels."""
    chunk: int = ON_DEVICE.chunk_factor
    """Decoder chunk size, as a multiple of the CPU chunk size."""


def engine_limits(tile: int | None, chunk: int | None) -> EngineLimits:
    """The limits that options name; None stands for the default."""
    return EngineLimits(tile) if chunk is None else EngineLimits(tile, chunk=chunk)


def build_engines(
    plan: Plan,
    trt: TensorRT,
    options: BuildOptions,
    *,
    limits: EngineLimits | None = None,
    gpu: Gpu | None = None,
    progress: Callable[[str], None] | None = None,
    only: Collection[str] | None = None,
) -> tuple[Plan, bytes | None]:
    """Build engines of all graphs of a plan. Its engines for other devices stay.

    Args:
        plan: its graphs do not change.
        trt: the library that builds.
        options: of the builder.
        limits: the largest tiles, blocks and chunks.
        gpu: the GPU of this machine, if it has one.
        progress: gets a line of text before each graph.
        only: the graphs to build; None for all.

    Returns: the plan in memory, and the timing cache (None for TensorRT-RTX).

    Raises:
        BuildError: TensorRT cannot build a graph; the message quotes its errors.
        SizeError, OptionError: a tile, block or chunk is out of range.
        Interrupted: a signal stopped the build.
    """
    report = progress or (lambda step: log.info("%s", step))
    work_limits = work_limits_of(plan, limits or EngineLimits())
    _check(plan, trt, gpu)
    made = _described(trt, options, work_limits, gpu)
    if options.capabilities:
        options = dataclasses.replace(options, capabilities=made.targets)
    builder, engines, members = EngineBuilder(trt), [], {}
    ranges = shape_ranges(plan, work_limits)
    for member, some in ranges.items() if only is None else ((x, ranges[x]) for x in only):
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


def with_fitting_engines(
    plan: Plan, trt: TensorRT, options: BuildOptions, limits: EngineLimits, gpu: Gpu | None
) -> Plan | None:
    """The plan with its newest engines last that a build with these options would make again.

    Returns: None if there are none, or if one of them is damaged.
    """
    _check(plan, trt, gpu)
    wanted = _described(trt, options, work_limits_of(plan, limits), gpu)
    for engines in reversed(plan.manifest.engines):
        # Another driver runs the same engines.
        same = dataclasses.replace(engines, engines=(), relative_error=None, driver=wanted.driver)
        current = all(plan.manifest.digests.get(x.built_from) == x.digest for x in engines.engines)
        if same == wanted and current and (members := _read(plan, engines)):
            return with_engines(plan, engines, members)
    return None


def _check(plan: Plan, trt: TensorRT, gpu: Gpu | None) -> None:
    refuse_qdq_format(plan.manifest.precision, plan.name)
    if not trt.is_rtx and gpu is None:
        raise BuildError(
            "TensorRT builds only on a machine with a GPU. Build on the machine that will run the "
            "plan, or use --runtime tensorrt-rtx."
        )


def refuse_qdq_format(precision: str, name: str) -> None:
    """Refuse INT8 plans in QDQ format for CPUs.

    Raises:
        BuildError: TensorRT cannot read plans of this precision.
    """
    if precision == Precision.INT8.value:
        raise BuildError(
            f"{name} has INT8 graphs for CPUs, which TensorRT cannot read. Use --precision "
            "int8-fp16 when you export the checkpoint or calibrate the FP32 plan."
        )


def _described(
    trt: TensorRT, options: BuildOptions, work_limits: WorkLimits, gpu: Gpu | None
) -> EngineSet:
    """The record of what the engines depend on, still without engines. The same targets are the
    same record in any order."""
    targets = sorted(set(options.capabilities), key=lambda text: (len(text), text))
    board = jetson()
    here = None if trt.is_rtx else gpu
    return EngineSet(
        flavour=trt.flavour.value,
        version=trt.version,
        targets=tuple(targets) or ((here.capability,) if here else ()),
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
    """The limits in the form that the scheduler uses.

    Raises:
        SizeError: the tile is too small for the encoder, or not a multiple of what it needs.
        OptionError: the chunk or block is too small.
    """
    encoder = plan.manifest.encoder
    least = smallest(encoder.halo, plan.manifest.margin, encoder.multiple)
    tile = limits.tile
    if tile is None:
        sides = (side for side in TILES if side >= 2 * least and side % encoder.multiple == 0)
        tile = min(sides, default=max(least, TILES[0]))
    if tile < least or tile % encoder.multiple:
        raise SizeError(
            f"--tile {tile} is not valid for this encoder; it must be a multiple of "
            f"{encoder.multiple} and at least {least}."
        )
    if limits.chunk < 1 or limits.block < max(ON_DEVICE.cell_classes):
        raise OptionError(
            f"A chunk of {limits.chunk} and a block of {limits.block} are not valid; they must be "
            f"at least 1 and {max(ON_DEVICE.cell_classes)}."
        )
    return WorkLimits(1, limits.chunk, ON_DEVICE.cell_classes, tile, limits.block)


def folder_of(engines: EngineSet) -> str:
    """The folder of a set of engines in the plan."""
    size = engines.processors and f"{engines.processors}SM"
    where = [part for part in (engines.gpu, size, engines.l4t) if part]
    parts = [engines.flavour, engines.version, *engines.targets, *where]
    return ENGINES + re.sub(r"[^\w.-]+", "_", "-".join(parts))


def with_engines(plan: Plan, made: EngineSet, members: dict[str, bytes]) -> Plan:
    """Add a set of engines to a plan. It replaces a set for the same library and targets, and
    damaged sets are dropped."""
    others = [x for x in plan.manifest.engines if folder_of(x) != folder_of(made)]
    whole = [(engines, found) for engines in others if (found := _read(plan, engines))]
    manifest = dataclasses.replace(plan.manifest, engines=(*(x for x, _ in whole), made))
    graphs = [name for name in plan.manifest.digests if not name.startswith(ENGINES)]
    kept = {name: plan.read(name) for name in graphs}
    for _, found in whole:
        kept.update(found)
    return make_plan(manifest, {**kept, **members})


def _read(plan: Plan, engines: EngineSet) -> dict[str, bytes]:
    """The members of a set; empty if one is damaged."""
    try:
        return {engine.member: plan.read(engine.member) for engine in engines.engines}
    except DamageError as error:
        log.warning("the engines of %s are dropped: %s", engines.title, error)
        return {}


def differences(plan: Plan, engines: EngineSet, version: str, gpu: Gpu) -> list[str]:
    """Why a set of engines cannot run on this library and GPU; empty if it can."""
    found = []
    if engines.version != version:
        found.append(f"they were built by version {engines.version}, not {version}")
    targets: Sequence[str] = engines.targets or RTX_DEFAULTS
    if gpu.capability not in targets:
        listed = ", ".join(targets)
        found.append(f"they were built for compute capability {listed}, not {gpu.capability}")
    elif engines.gpu and engines.gpu != gpu.name:
        found.append(f"they were built on a {engines.gpu}, not a {gpu.name}")
    elif engines.processors and engines.processors != gpu.processors:
        found.append(
            f"they were built for {engines.processors} multiprocessors, not {gpu.processors}"
        )
    board = jetson()
    if engines.l4t and board and engines.l4t != board.l4t:
        found.append(f"they were built on L4T {engines.l4t}, not {board.l4t}")
    if any(plan.manifest.digests.get(x.built_from) != x.digest for x in engines.engines):
        found.append("they were built from other graphs than the plan's")
    return found
