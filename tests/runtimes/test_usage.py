"""A runtime refuses to work after it was closed, after a fork, and without threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from onnx import TensorProto, helper

import clit_deploy
from clit_deploy.errors import ClosedError, ThreadLimitError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.ort import ort_runtime
from clit_deploy.runtimes.ort.ort_runners import OrtRunner, run_options
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.usage import Usage
from clit_deploy.system import interrupts
from clit_deploy.system.threads import thread_limit_explained
from clit_deploy.upscaler import default_plan
from tests.fakes.machine import Machine
from tests.helpers import ROOT, photo

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


def long_graph() -> bytes:
    """Half a minute of small products, one after the other."""
    nodes = [helper.make_node("MatMul", [f"x{k}", "x0"], [f"x{k + 1}"]) for k in range(3000)]
    x = helper.make_tensor_value_info("x0", TensorProto.FLOAT, [600, 600])
    y = helper.make_tensor_value_info("x3000", TensorProto.FLOAT, [600, 600])
    graph = helper.make_graph(nodes, "long", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture
def work():
    """A runner at work on a thread, the usage of its runtime, and what its run raised."""
    options, raised = run_options(), []

    def stop():
        options.terminate = True

    usage = Usage(stop)
    session = ort_runtime.ort.InferenceSession(long_graph(), providers=["CPUExecutionProvider"])
    runner = OrtRunner(session, options, usage)

    def run():
        try:
            runner.run({"x0": np.zeros((600, 600), np.float32)})
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not usage._under_way and thread.is_alive():
        time.sleep(0.01)
    yield usage, raised
    thread.join()


def test_closing_stops_the_runs_that_are_under_way(work):
    usage, raised = work
    began = time.monotonic()
    assert usage.close()
    assert time.monotonic() - began < 5
    assert not usage.close(), "releasing once is enough"
    while not raised:
        time.sleep(0.01)
    assert isinstance(raised[0], ClosedError)


def test_a_signal_stops_the_runs_that_are_under_way(work, monkeypatch):
    usage, raised = work
    monkeypatch.setattr(interrupts, "_noted", signal.SIGTERM)
    for stop in interrupts._listeners:
        stop()
    while usage._under_way:
        time.sleep(0.01)
    while not raised:
        time.sleep(0.01)
    assert isinstance(raised[0], interrupts.Interrupted)
    assert raised[0].exit_code == 143


def test_a_closed_runtime_neither_opens_nor_runs_a_graph():
    plan, runtime = Plan.open(default_plan()), open_runtime("cpu", 1)
    runner = runtime.runner(plan, plan.manifest.encoder.graph, parallel=True)
    runtime.close()
    runtime.close()
    with pytest.raises(ClosedError, match="closed; load the plan again"):
        runner.run({"image": np.zeros((1, 3, 16, 16), np.float32)})
    with pytest.raises(ClosedError, match="closed; load the plan again"):
        runtime.runner(plan, plan.manifest.encoder.graph, parallel=True)


def test_a_closed_device_neither_opens_nor_runs_an_engine(plans):
    machine = Machine.make()
    plan = machine.built(Plan.open(plans["liif-plain"]))
    runtime = machine.runtime(plan)
    runner = runtime.runner(plan, plan.manifest.encoder.graph, parallel=True)
    runtime.close()
    runtime.close()
    with pytest.raises(ClosedError):
        runner.run({"image": np.zeros((1, 3, 16, 16), np.float32)})
    with pytest.raises(ClosedError):
        runtime.runner(plan, plan.manifest.encoder.graph, parallel=True)


FORK = """
import os, signal, sys
import clit_deploy
from clit_deploy.errors import ClosedError
from tests.helpers import photo

up = clit_deploy.load(runtime="cpu", threads=2)
up.upscale(photo(9, 9), scale=2)
child = os.fork()
if not child:
    signal.alarm(60)  # a child that hangs ends by it
    try:
        up.runtime.runner(up.plan, up.plan.manifest.encoder.graph, parallel=True)
    except ClosedError as error:
        print(error)
    up.runtime.close()
    up.close()
    with clit_deploy.load(runtime="cpu", threads=2) as again:
        again.upscale(photo(9, 9), scale=2)
    del up
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
up.close()
"""


@needs_fork
def test_a_forked_child_gets_an_error_and_ends():
    env = {**os.environ, "PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "opened before the process forked" in done.stdout
    assert done.stdout.endswith("\n7\n")


def test_a_process_without_threads_gets_an_error(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    with clit_deploy.load(runtime="cpu", threads=2) as up:
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(ThreadLimitError, match="Use fewer --threads, or raise the limit"):
            up.upscale(photo(9, 9), scale=2)
    with pytest.raises(RuntimeError, match="another reason"), thread_limit_explained():
        raise RuntimeError("another reason")
