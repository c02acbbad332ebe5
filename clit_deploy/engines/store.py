"""Engines in a plan's file: built under a lock, compared before they are trusted."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.engines.build import build_engines, differences
from clit_deploy.engines.check import check_engines
from clit_deploy.errors import ClitDeployError, OptionError, OutputError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime
from clit_deploy.system.cache import Store
from clit_deploy.system.files import check_writable, locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    """Build engines, compare them if a device for them is here, and put them into a plan's file.

    Args:
        plan: a file; it is read again, for another process may have added engines meanwhile.
        trt: what builds.
        options: without their timing cache, which is that of earlier builds.
        limits: how large pieces of work may become.
        cuda: the device that is present, if there is one.
        target: another file to write.
        timing_cache: a file to read and extend; by default one in the user's cache folder.
            TensorRT-RTX has none.
        progress: is told what is being done.

    Raises:
        OptionError: a timing cache for TensorRT-RTX.
        BuildError, EngineError: no engines, or wrong ones; the file stays as it was.
        OutputError: it cannot be written, or another process is building into it.
    """
    if trt.is_rtx and timing_cache is not None:
        raise OptionError(
            "TensorRT-RTX times nothing while it builds, so it has no timing cache; leave out "
            "--timing-cache."
        )
    job = BuildJob(trt, options, limits, cuda, timing_cache, progress)
    with _place(plan, target) as (source, path):
        return Plan.open(job.run(Plan.open(source)).save(path))


def build_for_this_run(plan: Plan, job: BuildJob) -> Plan:
    """The plan with engines for this run; its file gets them too, where it can be written.

    Raises:
        BuildError, EngineError: no engines, or wrong ones.
    """
    made: Plan | None = None
    try:
        with _place(plan) as (source, path):
            made = job.run(Plan.open(source))
            return Plan.open(made.save(path))
    except OutputError as error:
        log.warning("the new engines are not kept: %s", error.strerror)
    return made or job.run(plan)


@dataclass(frozen=True)
class BuildJob:
    """A build: what makes engines, of what kind, for which device; see `build_into`."""

    trt: TensorRT
    options: BuildOptions
    limits: EngineLimits
    cuda: Cuda | None
    timing_cache: Path | None = None
    progress: Callable[[str], None] | None = None

    def run(self, plan: Plan) -> Plan:
        """The plan in memory with new engines, compared if a device for them is here."""
        trt, gpu, options = self.trt, self.cuda.gpu if self.cuda else None, self.options
        device = gpu.name if gpu else "none"
        store = Store(f"timing-{trt.flavour.value}-{trt.version}-{device}", self.timing_cache)
        if not trt.is_rtx:
            options = dataclasses.replace(options, timing_cache=store.read())
        made, timing = build_engines(
            plan, trt, options, limits=self.limits, gpu=gpu, progress=self.progress
        )
        if timing is not None:
            store.write(timing)
        return verify_engines(made, trt, self.cuda) if self.cuda else made


@contextlib.contextmanager
def _place(plan: Plan, target: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """The file to read and the one to write, kept from other processes that build.

    Raises:
        OutputError: it cannot be written, or another process is building into it.
    """
    path = target or plan.path
    if path is None or plan.path is None:
        raise OutputError(errno.ENOENT, "The plan is no file, so it cannot keep engines.")
    with locked(path, "building engines into"):
        check_writable(path, force=True)
        yield plan.path, path


def verify_engines(plan: Plan, trt: TensorRT, cuda: Cuda) -> Plan:
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


def open_verified(plan: Plan, trt: TensorRT, engines: EngineSet, cuda: Cuda) -> Runtime:
    """The runtime of engines that fit; those built without this device are compared here once.

    Raises:
        UnfitEngineError: the library does not load them.
        EngineError: they compute something else.
    """
    if engines.relative_error is None:
        members = "".join(plan.manifest.digests[x.member] for x in engines.engines)
        digest = hashlib.sha256(members.encode()).hexdigest()[:32]
        store = Store(f"compared-{digest}-{trt.version}-{cuda.gpu.name}-{cuda.gpu.driver}")
        if not store.read():
            log.warning("the engines are new to this device; they are compared with ONNX Runtime")
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
