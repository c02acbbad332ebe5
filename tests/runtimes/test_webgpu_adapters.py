"""Which adapter is chosen, and what is said where there is none; no GPU is needed."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types

import onnxruntime as ort
import pytest

from clit_deploy.engines import select
from clit_deploy.engines.select import choose_runtime
from clit_deploy.errors import DeviceError, DeviceMemoryError, OptionError, RuntimeUnavailableError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.ort.sessions import ort_errors
from clit_deploy.runtimes.usage import Usage
from clit_deploy.runtimes.webgpu import adapters as adapters_module
from clit_deploy.runtimes.webgpu import plugin, vulkan_devices, webgpu_runtime
from clit_deploy.runtimes.webgpu.adapters import Adapter, adapters, choose_adapter
from clit_deploy.runtimes.webgpu.plugin import Abilities
from clit_deploy.runtimes.webgpu.vulkan_devices import VulkanDevice
from clit_deploy.runtimes.webgpu.webgpu_runtime import open_webgpu, work_limits_of
from clit_deploy.zoo.named_models import default_model


def machine(monkeypatch, *kinds, storage=1 << 30):
    """A Linux machine with these Vulkan devices."""
    found = tuple(VulkanDevice(f"{kind} {k}", kind, "1.0", storage) for k, kind in enumerate(kinds))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(adapters_module, "vulkan_devices", lambda: found)
    return adapters()


@pytest.fixture
def works(monkeypatch):
    """A plugin that is installed and works everywhere."""
    monkeypatch.setattr(plugin, "check_installed", lambda: "0.4.0")
    for module in (select, webgpu_runtime):
        monkeypatch.setattr(module, "check_installed", lambda: "0.4.0")
    monkeypatch.setattr(webgpu_runtime, "registered", object)
    monkeypatch.setattr(webgpu_runtime, "tried", lambda adapter: Abilities(fp16=True))
    monkeypatch.setattr(webgpu_runtime, "_USED", [])
    monkeypatch.delenv(adapters_module.ALLOW_SOFTWARE, raising=False)


@pytest.fixture
def plan():
    return Plan.open(default_model().plan)


# -- the choice ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "chosen", "preferences"),
    [
        (["discrete"], 0, ["high-performance"]),
        (["integrated", "discrete"], 1, ["low-power", "high-performance"]),
        (["software", "integrated"], 1, [None, "high-performance"]),
        (["discrete", "discrete"], 0, ["high-performance", None]),
        (["virtual", "software"], 0, ["high-performance", None]),
    ],
)
def test_the_fastest_gpu_is_chosen(monkeypatch, kinds, chosen, preferences):
    found = machine(monkeypatch, *kinds)
    assert [adapter.preference for adapter in found] == preferences
    assert choose_adapter(found) == found[chosen]


def test_of_two_gpus_each_is_chosen_by_number_or_name(monkeypatch):
    found = machine(monkeypatch, "integrated", "discrete")
    assert choose_adapter(found, "0") == found[0]
    assert choose_adapter(found, "DISCRETE") == found[1]


def test_a_gpu_that_the_plugin_cannot_choose_is_an_error(monkeypatch):
    found = machine(monkeypatch, "discrete", "discrete")
    words = r"cannot choose discrete 1; of the adapters .* it can use 0\. .*VK_DRIVER_FILES"
    with pytest.raises(RuntimeUnavailableError, match=words):
        choose_adapter(found, "1")


@pytest.mark.parametrize("device", ["2", "radeon", "", "99999999999999999999", "-1"])
def test_an_unknown_device_is_answered_with_the_known_ones(monkeypatch, device):
    found = machine(monkeypatch, "integrated", "discrete")
    words = r"is not an adapter; there are 0 \(integrated 0\), 1 \(discrete 1\)\.$"
    with pytest.raises(OptionError, match=words):
        choose_adapter(found, device)


def test_a_software_adapter_must_be_named(monkeypatch):
    found = machine(monkeypatch, "software")
    with pytest.raises(RuntimeUnavailableError, match="only WebGPU adapter is a software one"):
        choose_adapter(found)
    assert choose_adapter(found, "0") == choose_adapter(found, software=True) == found[0]


def test_elsewhere_the_system_chooses(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    first, second = adapters(["Apple M4", "Another"])
    assert choose_adapter([first, second]) == first
    assert (first.storage_bytes, second.preference) == (None, None)


# -- what is missing -----------------------------------------------------------------------------


def test_no_vulkan_loader_is_one_sentence(monkeypatch):
    monkeypatch.setitem(vulkan_devices.LOADERS, "linux", "libvulkan-that-is-missing.so.1")
    vulkan_devices.vulkan_devices.cache_clear()
    with pytest.raises(RuntimeUnavailableError, match=r"no Vulkan loader .*apt install libvulkan1"):
        vulkan_devices.vulkan_devices()


def test_no_adapter_is_one_sentence(monkeypatch):
    with pytest.raises(RuntimeUnavailableError, match=r"no WebGPU adapter.*Vulkan driver"):
        choose_adapter(machine(monkeypatch))


def test_the_plugin_may_be_missing(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(plugin.importlib.metadata, "version", missing)
    with pytest.raises(RuntimeUnavailableError, match=r"needs the package onnxruntime-ep-webgpu"):
        plugin.check_installed()


@pytest.mark.parametrize("version", ["1.19.2", "1.24.3"])
def test_onnx_runtime_may_be_too_old_for_the_plugin(monkeypatch, version):
    monkeypatch.setattr(plugin.importlib.metadata, "version", lambda name: "0.4.0")
    monkeypatch.setattr(ort, "__version__", version)
    words = rf"needs ONNX Runtime 1\.24\.4 or newer, and {version} is installed\. .*pip install -U"
    with pytest.raises(RuntimeUnavailableError, match=words):
        plugin.check_installed()


def ended(code, printed=b"", said=b""):
    return types.SimpleNamespace(returncode=code, stdout=printed, stderr=said)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (ended(-11), r"fails on X \(signal 11\)"),
        (ended(1, said=b"Traceback\n\x1b[1mno device\n"), r"fails on X \(\?\[1mno device\)"),
        (subprocess.TimeoutExpired("python", 1), r"could not be tried \(TimeoutExpired\)"),
    ],
)
def test_a_plugin_that_crashes_is_one_sentence(monkeypatch, result, words):
    """It is tried in another process, so this one goes on."""

    def run(*args, **options):
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(plugin, "check_installed", lambda: "0.4.0")
    monkeypatch.setattr(plugin.subprocess, "run", run)
    with pytest.raises(RuntimeUnavailableError, match=words):
        plugin.tried(Adapter("X", "discrete", "crashing", None, "high-performance"))


def test_what_worked_once_is_not_tried_again(monkeypatch):
    done = ended(0, b'{"fp16": true}\n')
    monkeypatch.setattr(plugin, "check_installed", lambda: "0.4.0")
    monkeypatch.setattr(plugin.subprocess, "run", lambda *args, **options: done)
    adapter = Adapter("Y", "discrete", "2.0", None, "high-performance")
    assert plugin.tried(adapter) == Abilities(fp16=True)
    monkeypatch.setattr(plugin.subprocess, "run", None)
    assert plugin.tried(adapter) == Abilities(fp16=True)


def test_a_library_that_cannot_be_registered_is_one_sentence(monkeypatch):
    def refuse(name, path):
        raise RuntimeError("wrong ABI\nline 2")

    monkeypatch.setattr(plugin, "check_installed", lambda: "0.4.0")
    module = types.SimpleNamespace(get_library_path=lambda: "plugin.so")
    monkeypatch.setitem(sys.modules, plugin.MODULE, module)
    monkeypatch.setattr(ort, "register_execution_provider_library", refuse, raising=False)
    plugin.registered.cache_clear()
    with pytest.raises(RuntimeUnavailableError, match=r"cannot be registered .wrong ABI"):
        plugin.registered()


# -- plans and adapters --------------------------------------------------------------------------


def test_tiles_and_chunks_fit_into_the_storage_buffers(monkeypatch, works, plan):
    (large,) = machine(monkeypatch, "discrete", storage=1 << 31)
    (small,) = machine(monkeypatch, "discrete", storage=1 << 25)
    encoder, stages = plan.manifest.encoder, plan.manifest.stages
    for adapter in (large, small):
        limits = work_limits_of(plan.manifest, adapter)
        assert limits.max_tile**2 * encoder.bytes_per_pixel <= adapter.storage_bytes
        for stage in stages:
            chunk = stage.chunk_queries * stage.query_bytes + stage.chunk_cells * stage.cell_bytes
            assert limits.chunk_factor * chunk <= adapter.storage_bytes
    assert work_limits_of(plan.manifest, large).chunk_factor > limits.chunk_factor
    with pytest.raises(RuntimeUnavailableError, match=r"tensors up to 0.001 MB.*too small"):
        work_limits_of(plan.manifest, machine(monkeypatch, "discrete", storage=1000)[0])


@pytest.mark.parametrize("precision", ["int8", "int8-fp16"])
def test_int8_plans_are_refused(monkeypatch, works, plan, precision):
    machine(monkeypatch, "discrete")
    with pytest.raises(RuntimeUnavailableError, match=f"does not run {precision} plans"):
        open_webgpu(plan.replaced({}, precision=precision))


def test_fp16_needs_shaders_for_it(monkeypatch, works, plan):
    machine(monkeypatch, "discrete")
    half = plan.replaced({}, precision="fp16")
    assert open_webgpu(half).on_device
    monkeypatch.setattr(webgpu_runtime, "tried", lambda adapter: Abilities(fp16=False))
    with pytest.raises(RuntimeUnavailableError, match=r"does not compute in FP16 \(shader-f16\)"):
        open_webgpu(half)
    assert open_webgpu(plan).on_device


def test_a_process_has_one_adapter(monkeypatch, works, plan):
    machine(monkeypatch, "integrated", "discrete")
    open_webgpu(plan, "0")
    open_webgpu(plan, "0")
    with pytest.raises(RuntimeUnavailableError, match="uses the WebGPU adapter integrated 0"):
        open_webgpu(plan)


# -- auto ----------------------------------------------------------------------------------------


def test_auto_takes_a_gpu(monkeypatch, works, plan):
    machine(monkeypatch, "software", "integrated")
    _, runtime = choose_runtime(plan)
    assert runtime.name.endswith("(WebGPU, integrated 1)")


def test_auto_never_takes_a_software_adapter_and_says_so_once(monkeypatch, works, plan, caplog):
    """Not even if the plugin's own switch is set."""
    monkeypatch.setenv(adapters_module.ALLOW_SOFTWARE, "1")
    select._warn_once.cache_clear()
    machine(monkeypatch, "software")
    for _ in range(2):
        assert "CPU" in choose_runtime(plan)[1].name
    assert caplog.text.count("the CPU is used instead of WebGPU: The only") == 1
    assert "WebGPU" in choose_runtime(plan, "webgpu")[1].name


def test_auto_goes_on_where_the_plugin_fails(monkeypatch, works, plan, caplog):
    def crashes(adapter):
        raise RuntimeUnavailableError("The WebGPU plugin fails on it (signal 11).")

    machine(monkeypatch, "discrete")
    monkeypatch.setattr(webgpu_runtime, "tried", crashes)
    select._warn_once.cache_clear()
    assert "CPU" in choose_runtime(plan)[1].name
    assert "instead of WebGPU: The WebGPU plugin fails on it (signal 11)" in caplog.text


def test_a_device_selects_webgpu(monkeypatch, works, plan):
    machine(monkeypatch, "integrated", "software")
    assert "integrated 0" in choose_runtime(plan, device="0")[1].name
    for runtime in ("cpu", "cuda", "tensorrt"):
        with pytest.raises(OptionError, match=f"adapter of WebGPU, not of {runtime}"):
            choose_runtime(plan, runtime, device="0")


# -- errors of runs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Buffer size (9) exceeds the max buffer size limit (8).", DeviceMemoryError),
        ("Out of memory", DeviceMemoryError),
        ("WebGPU device lost (1): GPU was reset", DeviceError),
    ],
)
def test_errors_of_the_device_keep_their_meaning(message, kind):
    with pytest.raises(kind), ort_errors("run", Usage(lambda: None), DeviceMemoryError):
        raise RuntimeError(message)
