"""What is installed on a machine, and what a plan runs on there."""

from __future__ import annotations

from clit_deploy.engines import select
from clit_deploy.engines.build import EngineLimits
from clit_deploy.engines.select import choose_runtime
from clit_deploy.engines.store import build_into
from clit_deploy.errors import RuntimeUnavailableError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_builder import BuildOptions

SMALL = EngineLimits(tile=48, block=64, chunk=2)


def offer(monkeypatch, *machines):
    """What is installed on this machine; the device is that of the first."""

    def load(flavour):
        for machine in machines:
            if machine.trt.flavour is flavour:
                return machine.trt
        raise RuntimeUnavailableError(f"There is no {flavour.value}.")

    def device():
        return machines[0].cuda if machines else nothing()

    monkeypatch.setattr(select, "load_tensorrt", load)
    monkeypatch.setattr(select, "open_cuda", device)
    monkeypatch.setattr(select, "check_installed", no_plugin)


def built(path, machine):
    targets = (machine.cuda.gpu.capability,) if machine.trt.is_rtx else ()
    options = BuildOptions(targets, workspace=1 << 25)
    return build_into(Plan.open(path), machine.trt, options, SMALL, machine.cuda)


def chosen(plan, name="auto", **options):
    """The plan, and the name of the runtime; which is closed again."""
    plan, runtime = choose_runtime(plan, name, **options)
    runtime.close()
    return plan, runtime.name


def no_plugin():
    raise RuntimeUnavailableError("There is no WebGPU plugin.")


def nothing():
    raise RuntimeUnavailableError("There is no NVIDIA driver.")
