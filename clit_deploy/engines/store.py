"""Engines in a plan's file: built under a lock, and checked before they are used."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.engines.build import build_engines, differences, with_fitting_engines
from clit_deploy.engines.check import check_engines
from clit_deploy.engines.forms import keep_faster
from clit_deploy.errors import ClitDeployError, OptionError, OutputError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime
from clit_deploy.system.cache import Store
from clit_deploy.system.files import check_writable
from clit_deploy.system.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from clit_deploy.engines.build import EngineLimits
    from clit_deploy.plan.manifest import EngineSet
    from clit_deploy.runtimes.cuda.cuda_api import Cuda
    from clit_deploy.runtimes.protocols import Runtime
    from clit_deploy.runtimes.trt.engine_builder import BuildOptions
    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)


def build_into(
    plan: Plan,
    trt: TensorRT,
    options: BuildOptions,
    limits: EngineLimits,
    cuda: Cuda | None,
    *,
    target: Path | None = None,
    timing_cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """Build engines, check them if this machine has their device, and write them to a plan's file.
    Engines that are there and fit are not built again.

    Args:
        plan: a file. It is read again, as another process may have added engines.
        trt: the library that builds.
        options: of the builder; the timing cache of earlier builds is added.
        limits: the largest tiles, blocks and chunks.
        cuda: the device of this machine, if it has one.
        target: the file to write; None for the plan's own.
        timing_cache: a file to read and extend; None for one in the user's cache folder.
            Not for TensorRT-RTX.
        progress: gets a line of text before each graph.

    Raises:
        OptionError: a timing cache for TensorRT-RTX.
        BuildError, EngineError: the build or the check failed; the file did not change.
        OutputError: the file cannot be written, or another process is building into it.
        Interrupted: a signal stopped the build; the file did not change.
    """
    if trt.is_rtx and timing_cache is not None:
        raise OptionError(
            "--timing-cache is not allowed with TensorRT-RTX, which has no timing cache."
        )
    job = BuildJob(trt, options, limits, cuda, timing_cache, progress)
    with _locked_files(plan, target) as (source, path):
        now = Plan.open(source)
        found = with_fitting_engines(now, trt, options, limits, cuda.gpu if cuda else None)
        if found is None:
            return Plan.open(job.run(now).save(path))
        title = found.manifest.engines[-1].title
        log.warning("%s has engines of %s already; 'strip' removes them", now.name, title)
        if cuda is not None and found.manifest.engines[-1].relative_error is None:
            found = verify_engines(found, trt, cuda)
        return Plan.open(found.save(path))


def strip_engines(plan: Plan, target: Path | None = None) -> Path:
    """Remove all engines from a plan's file.

    Args:
        plan: a file.
        target: the file to write; None for the plan's own.

    Raises:
        OutputError: the file cannot be written, or another process is building into it.
    """
    with _locked_files(plan, target) as (source, path):
        return Plan.open(source).without_engines().save(path)


def build_for_this_run(plan: Plan, job: BuildJob) -> Plan:
    """Build engines for this run, and write them to the plan's file if that is possible.

    Raises:
        BuildError, EngineError: the build or the check failed.
    """
    made: Plan | None = None
    try:
        with _locked_files(plan) as (source, path):
            made = job.run(Plan.open(source))
            return Plan.open(made.save(path))
    except OutputError as error:
        log.warning("the new engines are not stored: %s", error.strerror)
    return made or job.run(plan)


@dataclass(frozen=True)
class BuildJob:
    """What a build needs; see `build_into`."""

    trt: TensorRT
    options: BuildOptions
    limits: EngineLimits
    cuda: Cuda | None
    timing_cache: Path | None = None
    progress: Callable[[str], None] | None = None

    def run(self, plan: Plan) -> Plan:
        """Build engines, and check them if this machine has their device.

        Returns: the plan in memory.
        """
        trt, gpu, options = self.trt, self.cuda.gpu if self.cuda else None, self.options
        device = gpu.name if gpu else "none"
        store = Store(f"timing-{trt.flavour.value}-{trt.version}-{device}", self.timing_cache)
        if not trt.is_rtx:
            options = dataclasses.replace(options, timing_cache=store.read())

        def build(plan: Plan, only: Collection[str] | None = None) -> Plan:
            nonlocal options
            made, timing = build_engines(
                plan,
                trt,
                options,
                limits=self.limits,
                gpu=gpu,
                progress=self.progress,
                only=only,
            )
            options = dataclasses.replace(options, timing_cache=timing)
            return made

        made, forms = build(plan), plan.manifest.float_forms
        if (
            forms
            and self.cuda
            and not differences(made, made.manifest.engines[-1], trt.version, self.cuda.gpu)
        ):
            made = keep_faster(made, trt, self.cuda, lambda floats: build(floats, forms))
        if options.timing_cache is not None:
            store.write(options.timing_cache)
        return verify_engines(made, trt, self.cuda) if self.cuda else made


@contextlib.contextmanager
def _locked_files(plan: Plan, target: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """The file to read and the file to write, locked against other builds.

    Raises:
        OutputError: the file cannot be written, or another process is building into it.
    """
    path = target or plan.path
    if path is None or plan.path is None:
        raise OutputError(
            errno.ENOENT, "The plan is not in a file, so engines cannot be stored in it."
        )
    with locked(path, "building engines into"):
        check_writable(path, force=True)
        yield plan.path, path


def verify_engines(plan: Plan, trt: TensorRT, cuda: Cuda) -> Plan:
    """Compare the plan's newest engines with ONNX Runtime, if they are for this device.

    Returns: the plan, with the error of these engines.

    Raises:
        EngineError: the error is above the tolerance.
    """
    *others, engines = plan.manifest.engines
    if wrong := differences(plan, engines, trt.version, cuda.gpu):
        log.warning("the engines are not checked on this machine: %s", " and ".join(wrong))
        return plan
    error = _error(plan, trt, engines, cuda)
    known = (*others, dataclasses.replace(engines, relative_error=error))
    return plan.replaced({}, engines=known)


def open_verified(plan: Plan, trt: TensorRT, engines: EngineSet, cuda: Cuda) -> Runtime:
    """Open engines that fit. Engines that were built without this device are checked first, once.

    Raises:
        UnfitEngineError: the library cannot load them.
        EngineError: their error is above the tolerance.
    """
    if engines.relative_error is None:
        members = "".join(plan.manifest.digests[x.member] for x in engines.engines)
        digest = hashlib.sha256(members.encode()).hexdigest()[:32]
        store = Store(f"compared-{digest}-{trt.version}-{cuda.gpu.name}-{cuda.gpu.driver}")
        if not store.read():
            log.warning("these engines are new on this device; comparing them with ONNX Runtime")
            store.write(f"{_error(plan, trt, engines, cuda)}".encode())
    return _loaded(plan, trt, engines, cuda)


def _error(plan: Plan, trt: TensorRT, engines: EngineSet, cuda: Cuda) -> float:
    runtime = _loaded(plan, trt, engines, cuda)
    try:
        return check_engines(plan, runtime)
    finally:
        runtime.close()


def _loaded(plan: Plan, trt: TensorRT, engines: EngineSet, cuda: Cuda) -> EngineRuntime:
    runtime = EngineRuntime(trt, engines, cuda)
    try:
        runtime.load(plan)
    except ClitDeployError:
        runtime.close()
        raise
    return runtime
