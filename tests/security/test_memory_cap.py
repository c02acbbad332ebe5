"""A graph that doubles a tensor again and again gets one sentence; the system kills nothing."""

from __future__ import annotations

import resource
import subprocess
import sys

import onnx
import pytest
from onnx import helper
from PIL import Image

from clit_deploy.system import gpu_nodes, memory_cap
from tests.helpers import photo
from tests.security.hostile import members_of, write

FREE = 600_000_000
"""Bytes that the machine of the test has left; the slack comes on top."""

MACHINE = f"""
import atexit
from clit_deploy.system import memory, memory_cap
memory.available = lambda: {FREE}
memory_cap.SLACK = 0
atexit.register(lambda: print("peak", memory.peak()))
from clit_deploy.__main__ import main
main()
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has such a limit")


def doubling(content: bytes, times: int) -> bytes:
    """The encoder with features that are repeated 2**times, reduced, and added as zeros."""
    model = onnx.load_from_string(content)
    graph = model.graph
    last = next(node for node in graph.node if "features" in node.output)
    last.output[0] = "grown0"
    for k in range(times):
        graph.node.append(helper.make_node("Concat", [f"grown{k}"] * 2, [f"grown{k + 1}"], axis=1))
    graph.node.append(helper.make_node("ReduceMean", [f"grown{times}"], ["mean"], keepdims=1))
    graph.node.append(helper.make_node("Sub", ["mean", "mean"], ["zero"]))
    graph.node.append(helper.make_node("Add", ["grown0", "zero"], ["features"]))
    onnx.checker.check_model(model)
    return model.SerializeToString()


@linux
@pytest.mark.parametrize("times", [1, 20])
def test_memory_that_the_machine_lacks_is_an_error(honest_plan, tmp_path, times):
    manifest, members = members_of(honest_plan)
    members["encoder.onnx"] = doubling(members["encoder.onnx"], times)
    write(tmp_path / "odd.plan", manifest, members)
    Image.fromarray(photo(48, 48)).save(tmp_path / "image.png")
    command = [sys.executable, "-c", MACHINE, "run", "-e", "odd.plan", "image.png", "-s", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if times == 1:  # the graph is valid, so only its size can be wrong
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1, done.stderr
    assert "Out of memory: ONNX Runtime cannot run a graph" in done.stderr
    assert not (tmp_path / "image_x2.png").exists()
    assert int(done.stdout.split()[-1]) < 2 * FREE


@linux
def test_there_is_no_cap_beside_a_gpu(tmp_path, monkeypatch):
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(gpu_nodes, "NVIDIA_NODES", (tmp_path,))
    assert memory_cap.cap_memory() is None
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@linux
def test_the_cap_is_lifted_for_a_gpu_driver_that_has_no_such_file():
    """That of AMD or Intel, when WebGPU is opened; the user's own limit comes back."""
    code = (
        "import resource; from clit_deploy.system.memory_cap import cap_memory, lift_cap;"
        "data = resource.RLIMIT_DATA; hard = resource.getrlimit(data)[1];"
        "resource.setrlimit(data, (10**15, hard)); cap_memory();"
        "print(resource.getrlimit(data)[0] < 10**15); lift_cap(); lift_cap();"
        "print(resource.getrlimit(data)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", str(10**15)]


@linux
def test_a_cap_leaves_a_tighter_limit_and_never_grows(tmp_path):
    code = (
        "import resource; from clit_deploy.system.memory_cap import cap_memory;"
        "resource.setrlimit(resource.RLIMIT_DATA, (300_000_000, resource.RLIM_INFINITY));"
        "print(cap_memory(), resource.getrlimit(resource.RLIMIT_DATA)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["300000000", "300000000"]
