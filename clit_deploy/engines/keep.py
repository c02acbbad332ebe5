"""Engines in a plan's file: built under a lock, compared before they are trusted."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import logging
from typing import TYPE_CHECKING

from clit_deploy.bundle import Plan
from clit_deploy.engines.build import build_engines, differences
from clit_deploy.engines.check import check_engines
from clit_deploy.errors import OutputError
from clit_deploy.files import check_writable, locked
from clit_deploy.runtimes.cache import Store
from clit_deploy.runtimes.engine import EngineRuntime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clit_deploy.engines.build import Limits
    from clit_deploy.manifest import EngineSet
    from clit_deploy.runtimes.base import Runtime
    from clit_deploy.runtimes.build import BuildOptions
    from clit_deploy.runtimes.cuda import Cuda
    from clit_deploy.runtimes.trt import TensorRT

log = logging.getLogger(__name__)


def build_into(
    plan: Plan,
    trt: TensorRT,
    options: BuildOptions,
    limits: Limits,
    cuda: Cuda | None,
    *,
    target: Path | None = None,
    timing_cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """Build engines, compare them if a device for them is here, and put them into a plan's file.

    Args:
        plan: a file; it is read again, for another process may have added engines meanwhile.
        trt: what builds.
        options: without their timing cache, which is that of earlier builds.
        limits: how large pieces of work may become.
        cuda: the device that is present, if there is one.
        target: another file to write.
        timing_cache: a file to read and extend; by default one in the user's cache folder.
        progress: is told what is being done.

    Raises:
        BuildError, EngineError: no engines, or wrong ones; the file stays as it was.
        OutputError: it cannot be written, or another process is building into it.
    """
    path = target or plan.path
    if path is None or plan.path is None:
        raise OutputError(errno.ENOENT, "The plan is no file, so it cannot keep engines.")
    device = cuda.gpu.name if cuda else "none"
    store = Store(f"timing-{trt.flavour.value}-{trt.version}-{device}", timing_cache)
    if not trt.is_rtx:
        options = dataclasses.replace(options, timing_cache=store.read())
    with locked(path, "building engines into"):
        check_writable(path, force=True)
        gpu = cuda.gpu if cuda else None
        made, timing = build_engines(
            Plan.open(plan.path), trt, options, limits=limits, gpu=gpu, progress=progress
        )
        if timing is not None:
            store.write(timing)
        if cuda is not None:
            made = compared(made, trt, cuda)
        return Plan.open(made.save(path))


def compared(plan: Plan, trt: TensorRT, cuda: Cuda) -> Plan:
    """The plan with its newest engines compared with ONNX Runtime, if they are for this device.

    Raises:
        EngineError: they compute something else.
    """
    *others, engines = plan.manifest.engines
    if wrong := differences(plan, engines, trt.version, cuda.gpu):
        log.warning("the engines are not compared here: %s", " and ".join(wrong))
        return plan
    error = _error(plan, trt, engines, cuda)
    known = (*others, dataclasses.replace(engines, relative_error=error))
    return plan.replaced({}, engines=known)


def trusted(plan: Plan, trt: TensorRT, engines: EngineSet, cuda: Cuda) -> Runtime:
    """The runtime of engines that fit; those built without this device are compared here once.

    Raises:
        EngineError: they compute something else.
    """
    if engines.relative_error is None:
        members = "".join(plan.manifest.digests[x.member] for x in engines.engines)
        digest = hashlib.sha256(members.encode()).hexdigest()[:32]
        store = Store(f"compared-{digest}-{trt.version}-{cuda.gpu.name}-{cuda.gpu.driver}")
        if not store.read():
            log.warning("the engines are new to this device; they are compared with ONNX Runtime")
            store.write(f"{_error(plan, trt, engines, cuda)}".encode())
    return EngineRuntime(trt, engines, cuda)


def _error(plan: Plan, trt: TensorRT, engines: EngineSet, cuda: Cuda) -> float:
    runtime = EngineRuntime(trt, engines, cuda)
    try:
        return check_engines(plan, runtime)
    finally:
        runtime.close()
