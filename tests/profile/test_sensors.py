"""Every recorded tree gives the right watts, clocks, temperatures and mode."""

from __future__ import annotations

import errno
import re
import shutil
import time
from dataclasses import replace

import pytest

from clit_deploy.profile.conditions import caveats, conditions
from clit_deploy.profile.machine import machine, versions
from clit_deploy.profile.power import idle_watts
from clit_deploy.profile.sampler import Sampler
from clit_deploy.profile.sensors import clocks, find, host_memory, power_monitors, thermal
from clit_deploy.system import proc_files
from tests.helpers import ROOT
from tests.profile.tree import NAMES, powered, read, refuse, sampled, unfold

WATTS = {
    "orin-nx-jetpack6": {"VDD_IN": 9.250304, "VDD_CPU_GPU_CV": 3.18464, "VDD_SOC": 1.870976},
    "agx-orin-jetpack7": {
        "VDD_GPU_SOC": 6.099456,
        "VDD_CPU_CV": 2.889216,
        "VIN_SYS_5V0": 4.729536,
        "VDDQ_VDD2_1V8AO": 1.09296,
    },
    "thor-jetpack7": {
        "VIN": 23.04,
        "VDD_GPU": 2.4,
        "VDD_CPU_SOC_MSS": 6.52,
        "VIN_SYS_5V0": 6.52,
    },
    "x86-desktop": {},
}
TOTAL = {"orin-nx-jetpack6": 9.250304, "agx-orin-jetpack7": 13.718208, "thor-jetpack7": 23.04}
MHZ = {
    "orin-nx-jetpack6": {"cpu0": 1497.6, "cpu4": 1497.6, "gpu": 918},
    "agx-orin-jetpack7": {"cpu0": 729.6, "gpu": 306, "emc": 3199},
    "thor-jetpack7": {"cpu0": 2601, "gpu": 1575, "emc": 4266},
    "x86-desktop": {"cpu0": 4700, "cpu10": 4600},
}
CELSIUS = {
    "orin-nx-jetpack6": {"cpu-thermal": 49.343, "gpu-thermal": 47.812, "tj-thermal": 49.343},
    "agx-orin-jetpack7": {"cpu-thermal": 98.5, "gpu-thermal": 88},
    "thor-jetpack7": {"tj-thermal": 55.1},
    "x86-desktop": {"acpitz": 27.8, "x86_pkg_temp": 41},
}
SETTINGS = {
    "orin-nx-jetpack6": ("36.4.3", "6.2", "25W", "540.4.0"),
    "agx-orin-jetpack7": ("39.2.0", "7.2", "MAXN", "595.45"),
    "thor-jetpack7": ("38.2.0", "7.0", "120W", "580.00"),
    "x86-desktop": (None, None, None, None),
}
MODULES = {
    "orin-nx-jetpack6": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super",
    "agx-orin-jetpack7": "NVIDIA Jetson AGX Orin Developer Kit",
    "thor-jetpack7": "NVIDIA Jetson AGX Thor Developer Kit",
    "x86-desktop": "ASUS System Product Name",
}
STATES = {
    "orin-nx-jetpack6": ("locked", False),
    "agx-orin-jetpack7": ("floating", True),
    "thor-jetpack7": ("locked", None),
    "x86-desktop": ("floating", False),
}


@pytest.fixture(params=NAMES)
def tree(request, tmp_path, monkeypatch):
    return request.param, unfold(request.param, tmp_path, monkeypatch)


def check(name, root):
    """The readings of a tree are what they should be."""
    found = find(root)
    assert read(found, "power") == pytest.approx(WATTS[name])
    total = sum(sensor.read() for sensor in found.of("power") if sensor.total)
    assert total == pytest.approx(TOTAL.get(name, 0))
    assert read(found, "clock") == pytest.approx(MHZ[name])
    assert read(found, "temperature") == pytest.approx(CELSIUS[name])


def test_readings(tree):
    check(*tree)


def test_machine_and_mode(tree):
    name, root = tree
    found = machine(root)
    assert (
        found.l4t,
        found.jetpack,
        found.power_mode,
        found.driver,
    ) == SETTINGS[name]
    assert found.module == MODULES[name]
    for field in ("l4t", "jetpack", "power_mode", "driver"):
        assert (getattr(found, field) is None) == (field in found.unavailable)


def test_the_libraries_that_our_extras_install_are_reported(monkeypatch):
    text = (ROOT / "pyproject.toml").read_text()
    engines = set(re.findall(r'"((?:tensorrt|cuda)[a-z0-9-]*)>=', text))
    assert engines >= {"tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx-cu13"}
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"version of {name}")
    assert engines <= set(versions())


def test_conditions(tree):
    name, root = tree
    found = find(root)
    found.sensors += host_memory.find(root)
    state = conditions(sampled(found), found, None, on_device=True)
    assert (state.clock_state, state.throttled) == STATES[name]
    assert bool(caveats(state)) == (name in ("agx-orin-jetpack7", "x86-desktop"))
    if name == "agx-orin-jetpack7":
        assert state.throttling == ("cooling cpu-throttle-alert",)
    if name == "orin-nx-jetpack6":
        assert state.swap_start == state.swap_end == 2048 * 1024
        assert state.gpu_load == pytest.approx(0.512)
        assert state.absent["emc clock"] == "only root may read it"
        assert "Resource temporarily unavailable" in state.absent["cv0-thermal temperature"]


MISTAKES = [
    ("orin-nx-jetpack6", power_monitors, "MILLI", 1e-6),
    ("orin-nx-jetpack6", power_monitors, "TOTALS", ("VDD_SOC",)),
    ("orin-nx-jetpack6", clocks, "HERTZ", 1e-3),
    ("orin-nx-jetpack6", clocks, "KILOHERTZ", 1e-6),
    ("orin-nx-jetpack6", thermal, "MILLI", 1.0),
    ("agx-orin-jetpack7", power_monitors, "FED_BY", {}),
    ("thor-jetpack7", power_monitors, "MICRO", 1e-3),
    ("thor-jetpack7", power_monitors, "TOTALS", ()),
    ("thor-jetpack7", power_monitors, "TOTALS", ("VIN_SYS_5V0",)),
]


@pytest.mark.parametrize(("name", "module", "constant", "wrong"), MISTAKES)
def test_a_wrong_unit_or_rail_is_noticed(name, module, constant, wrong, tmp_path, monkeypatch):
    root = unfold(name, tmp_path, monkeypatch)
    check(name, root)
    monkeypatch.setattr(module, constant, wrong)
    with pytest.raises(AssertionError):
        check(name, root)


def test_power_of_a_jetson(tmp_path, monkeypatch):
    found = find(unfold("orin-nx-jetpack6", tmp_path, monkeypatch))
    idle = idle_watts(sampled(found))
    amperes = tmp_path / "sys/class/hwmon/hwmon1/curr1_input"
    amperes.write_text("3856\n")
    steady = sampled(found)
    steady.elapsed_s = 5.0  # ten runs of half a second
    figures, why = powered(steady, idle, images=10, megapixels=2.0, worker="cpu")
    assert not why
    watts, rest = 4.984 * 3.856, 4.984 * 1.856
    assert figures.mean_w == pytest.approx(watts)
    assert figures.max_w == pytest.approx(watts)
    assert figures.idle_w == pytest.approx(rest)
    assert figures.joules_per_image == pytest.approx(watts * 0.5)
    assert figures.joules_per_megapixel == pytest.approx(watts * 0.25)
    assert figures.above_idle_joules_per_image == pytest.approx((watts - rest) * 0.5)
    assert figures.images_per_second_per_watt == pytest.approx(2 / watts)
    assert [rail.name for rail in figures.rails if rail.total] == ["VDD_IN"]


def test_a_monitor_that_vanishes_in_mid_run(tmp_path, monkeypatch):
    found = find(unfold("orin-nx-jetpack6", tmp_path, monkeypatch))
    gone = tmp_path / "sys/class/hwmon/hwmon1/in1_input"
    back = tmp_path / "sys/class/thermal/thermal_zone1/temp"
    with Sampler(found.sensors, rate=100) as sampler:
        time.sleep(0.06)
        gone.unlink()
        back.write_text("no number\n")
        time.sleep(0.12)
    figures, why = powered(sampler, {}, images=3, megapixels=1.0, worker="cpu")
    assert figures is None
    assert "VDD_IN answered" in why
    assert "it is missing" in why
    state = conditions(sampler, found, None, on_device=False)
    assert "it is missing" in state.absent["VDD_IN power"]
    assert "it does not hold a number" in state.absent["gpu-thermal temperature"]
    assert {zone.name for zone in state.temperatures} >= {"cpu-thermal", "gpu-thermal"}


def test_a_rail_that_is_no_part_of_the_total_may_vanish(tmp_path, monkeypatch):
    found = find(unfold("orin-nx-jetpack6", tmp_path, monkeypatch))
    with Sampler(found.sensors, rate=100) as sampler:
        (tmp_path / "sys/class/hwmon/hwmon1/in2_input").unlink()
        time.sleep(0.08)
    figures, _ = powered(sampler, {}, images=1, megapixels=1.0, worker="cpu")
    assert figures.mean_w == pytest.approx(9.250304)
    assert [rail.name for rail in figures.rails] == ["VDD_IN", "VDD_SOC"]
    assert figures.idle_w is None
    assert figures.above_idle_joules_per_image is None


def test_rapl_counts_joules_and_starts_again_when_full(tmp_path, monkeypatch):
    found = find(unfold("x86-desktop", tmp_path, monkeypatch))
    names = {sensor.name: sensor.total for sensor in found.of("energy")}
    assert names == {"package-0": True, "core-0": False, "dram-0": True}
    zone = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    package = next(sensor for sensor in found.of("energy") if sensor.name == "package-0")
    start = package.read()
    zone.write_text("262143328850\n")
    assert package.read() - start == pytest.approx(0.001)
    zone.write_text("2000000\n")  # one turn later
    assert package.read() - start == pytest.approx(2.001001)


def test_rapl_gives_watts(tmp_path, monkeypatch):
    found = find(unfold("x86-desktop", tmp_path, monkeypatch))
    zone = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    with Sampler(found.sensors, rate=50) as sampler:
        start, part = time.perf_counter(), tmp_path / "part"
        while time.perf_counter() - start < 0.3:
            part.write_text(f"{(time.perf_counter() - start) * 40e6:.0f}\n")  # 40 W
            part.replace(zone)
            time.sleep(0.002)
    figures, why = powered(sampler, {}, images=1, megapixels=1.0, worker="cpu")
    assert not why
    assert figures.mean_w == pytest.approx(40, rel=0.15)  # the first step is a turn of the counter
    assert {rail.name for rail in figures.rails if rail.total} == {"package-0", "dram-0"}


def test_rapl_that_only_root_may_read_says_so(tmp_path, monkeypatch):
    root = unfold("x86-desktop", tmp_path, monkeypatch)
    zones = (root / "sys/class/powercap").glob("*/energy_uj")
    refuse(dict.fromkeys(zones, errno.EACCES), monkeypatch)
    found = find(root)
    assert not found.of("power", "energy")
    assert found.absent["cpu power"] == "package-0 energy: only root may read it"


def test_monitors_that_say_nothing_give_no_energy(tmp_path, monkeypatch):
    """A virtual machine's counters stand still."""
    found = find(unfold("x86-desktop", tmp_path, monkeypatch))
    figures, why = powered(sampled(found), {}, images=3, megapixels=1.0, worker="cpu")
    assert figures is None
    assert why == "package-0 + dram-0 reported 0 W"


def test_a_board_with_a_rail_that_cannot_be_read_has_no_total(tmp_path, monkeypatch):
    root = unfold("agx-orin-jetpack7", tmp_path, monkeypatch)
    refuse({root / "sys/class/hwmon/hwmon3/curr2_input": errno.EACCES}, monkeypatch)
    found = find(root)
    assert not any(sensor.total for sensor in found.sensors)
    for worker in ("cpu", "gpu"):
        assert powered(sampled(found), {}, images=3, megapixels=1.0, worker=worker)[0] is None
        assert found.absent[f"{worker} power"] == "VDD_CPU_CV power: only root may read it"


def test_platform_energy_is_not_added_to_its_parts(tmp_path, monkeypatch):
    root = unfold("x86-desktop", tmp_path, monkeypatch)
    psys = root / "sys/class/powercap/intel-rapl:1"
    psys.mkdir()
    for name, text in {"name": "psys", "energy_uj": "1", "max_energy_range_uj": "9"}.items():
        (psys / name).write_text(text)
    totals = [sensor.name for sensor in power_monitors.rapl(root).sensors if sensor.total]
    assert totals == ["psys"]


def test_a_machine_without_anything_says_why(tmp_path):
    found = find(tmp_path)
    assert not found.sensors
    assert found.absent == {
        "cpu clock": "this system has no cpufreq",
        "nvml": "there is no NVIDIA driver",
        "cpu power": found.absent["cpu power"],
        "gpu power": "nvml: there is no NVIDIA driver",
    }
    assert "no power monitor was found" in found.absent["cpu power"]
    found = machine(tmp_path)
    assert found.l4t is None
    assert found.unavailable["power_mode"] == "only Jetsons have power modes"


def test_clocks_that_stand_still_but_may_move_float(tmp_path, monkeypatch):
    root = unfold("thor-jetpack7", tmp_path, monkeypatch)
    (root / "sys/class/devfreq/gpu-gpc-0/min_freq").write_text("306000000\n")
    found = find(root)
    state = conditions(sampled(found), found, None, on_device=True)
    assert state.clock_state == "floating"
    assert [c.name for c in state.clocks if c.state == "floating"] == ["gpu"]
    # a run on the processor does not ask what the GPU does
    alone = conditions(sampled(found), found, None, on_device=False)
    assert alone.clock_state == "locked"


def test_work_on_a_gpu_without_a_clock_is_not_locked(tmp_path, monkeypatch):
    root = unfold("orin-nx-jetpack6", tmp_path, monkeypatch)
    shutil.rmtree(root / "sys/class/devfreq")
    found = find(root)
    state = conditions(sampled(found), found, None, on_device=True)
    assert {clock.state for clock in state.clocks} == {"locked"}
    assert state.clock_state == "unknown"
    assert any("count as floating" in text for text in caveats(state))
    alone = conditions(sampled(found), found, None, on_device=False)
    assert alone.clock_state == "locked"


def test_a_clock_that_vanishes_is_not_locked(tmp_path, monkeypatch):
    root = unfold("orin-nx-jetpack6", tmp_path, monkeypatch)
    found = find(root)
    with Sampler(found.sensors, rate=100) as sampler:
        time.sleep(0.03)
        (root / "sys/class/devfreq/17000000.gpu/cur_freq").unlink()
        time.sleep(0.1)
    state = conditions(sampler, found, None, on_device=True)
    assert {c.name: c.state for c in state.clocks}["gpu"] == "unknown"
    assert state.clock_state == "unknown"


def test_the_memory_s_clock_decides_for_processors_too(tmp_path, monkeypatch):
    root = unfold("thor-jetpack7", tmp_path, monkeypatch)
    (root / "sys/class/devfreq/bwmgr/min_freq").write_text("665600000\n")
    found = find(root)
    for on_device in (True, False):
        state = conditions(sampled(found), found, None, on_device=on_device)
        assert state.clock_state == "floating"
        assert "emc" in caveats(state)[0]


def test_a_memory_s_clock_alone_says_nothing(tmp_path, monkeypatch):
    root = unfold("thor-jetpack7", tmp_path, monkeypatch)
    shutil.rmtree(root / "sys/devices/system/cpu/cpufreq")
    found = find(root)
    state = conditions(sampled(found), found, None, on_device=False)
    assert state.clock_state == "unknown"


def test_clocks_that_are_locked_but_moved_float(tmp_path, monkeypatch):
    root = unfold("thor-jetpack7", tmp_path, monkeypatch)
    found = find(root)
    with Sampler(found.sensors, rate=100) as sampler:
        time.sleep(0.03)
        (root / "sys/class/devfreq/gpu-gpc-0/cur_freq").write_text("800000000\n")
        time.sleep(0.1)
    state = conditions(sampler, found, None, on_device=True)
    (gpu,) = [clock for clock in state.clocks if clock.name == "gpu"]
    assert (gpu.state, gpu.min_mhz, gpu.max_mhz) == ("floating", 800, 1575)
    assert any("gpu" in text for text in caveats(state))


def test_swap_and_overcurrent_are_caveats(tmp_path, monkeypatch):
    root = unfold("orin-nx-jetpack6", tmp_path, monkeypatch)
    found = find(root)
    found.sensors += host_memory.find(root)
    with Sampler(found.sensors, rate=100) as sampler:
        time.sleep(0.03)
        (root / "sys/class/hwmon/hwmon2/oc3_event_cnt").write_text("40\n")
        meminfo = root / "proc/meminfo"
        free = re.search(r"SwapFree:\s+(\d+)", meminfo.read_text())[1]
        less = f"SwapFree: {int(free) - (64 << 10)}"
        meminfo.write_text(re.sub(r"SwapFree:\s+\d+", less, meminfo.read_text()))
    state = conditions(sampler, found, None, on_device=True)
    assert state.throttling == ("overcurrent oc3 +3",)
    assert len(caveats(state)) == 2
    assert "67 MB went into swap" in caveats(replace(state, throttled=False))[0]


def test_files_are_only_read(tree, monkeypatch):
    """Nothing is ever set: no file is opened for writing, none changes."""
    _, root = tree
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    opened = []
    really = proc_files.os.open
    monkeypatch.setattr(
        proc_files.os, "open", lambda p, flags: opened.append(flags) or really(p, flags)
    )
    found = find(root)
    machine(root)
    sampled(found, 0.03)
    assert opened
    assert set(opened) == {proc_files.os.O_RDONLY}
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-1e999", "1e30", "9" * 5000, "\x1b[31m", "0x10", ""]
)
def test_a_damaged_reading_is_one_that_is_missing(text, tmp_path, monkeypatch):
    """Wherever it is: the search, the samples and the figures go on without it."""
    root = unfold("orin-nx-jetpack6", tmp_path, monkeypatch)
    files = [path for path in root.rglob("*") if path.is_file()]
    numbers = [path for path in files if re.fullmatch(r"-?[\d.]+\s*", path.read_text())]
    assert len(numbers) >= 30
    found = find(root)
    for path in numbers:
        path.write_text(f"{text}\n")
    (root / "sys/devices/system/cpu/cpufreq/policyX").mkdir()
    (root / "proc/meminfo").write_text(f"MemTotal: {'9' * 5000} kB\nSwapTotal: {text} kB\n")
    assert machine(root).memory_bytes is None
    assert not find(root).of("power", "clock", "temperature", "events")
    steady = sampled(found)
    assert powered(steady, {}, images=1, megapixels=1.0, worker="cpu")[0] is None
    state = conditions(steady, find(root), None, on_device=False)
    assert state.clock_state == "unknown"
    assert "does not hold a number" in state.absent["VDD_IN power"]
    assert all(why.isprintable() and len(why) < 200 for why in state.absent.values())


def test_names_from_files_are_safe_to_print(tmp_path, monkeypatch):
    root = unfold("orin-nx-jetpack6", tmp_path, monkeypatch)
    (root / "sys/class/thermal/thermal_zone0/type").write_text("\x1b[2Jhot\r" + "x" * 10_000)
    (root / "proc/device-tree/model").write_text("Orin\x1b[0m\nNX" + "y" * 10_000)
    names = [one.name for one in find(root).sensors]
    assert all(name.isprintable() and len(name) < 100 for name in names)
    assert any(name.startswith("?[2Jhot xx") for name in names)
    assert len(machine(root).module) < 100
    assert machine(root).module.isprintable()
