"""Limits of control groups and of `ulimit -v`."""

import subprocess
import sys

import pytest

from clit_deploy.system import memory
from clit_deploy.system.memory_limits import free_in_cgroups

UNLIMITED_V1 = 9223372036854771712


def write(folder, **content):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def v2(folder, limit, current, cache=0):
    stat = f"anon 1\ninactive_file {cache}"
    write(folder, memory__max=limit, memory__current=current, memory__stat=stat)


def v1(folder, limit, used, cache=0):
    stat = f"cache 1\ninactive_file 0\ntotal_inactive_file {cache}"
    write(folder, memory__limit_in_bytes=limit, memory__usage_in_bytes=used, memory__stat=stat)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


def test_no_control_groups(root):
    assert free_in_cgroups(root) is None


def test_version_2_in_a_container_that_sees_only_itself(root):
    (root / "proc/self/cgroup").write_text("0::/\n")
    v2(root / "sys/fs/cgroup", 1000, 700, cache=50)
    assert free_in_cgroups(root) == 350


def test_the_least_of_all_ancestors(root):
    (root / "proc/self/cgroup").write_text("0::/user.slice/job:1\n")
    v2(root / "sys/fs/cgroup/user.slice/job:1", "max", 10)
    v2(root / "sys/fs/cgroup/user.slice", 500, 400)
    v2(root / "sys/fs/cgroup", 1000, 500)
    assert free_in_cgroups(root) == 100


def test_version_1_whose_path_is_the_host_s(root):
    (root / "proc/self/cgroup").write_text(
        "12:cpu,cpuacct:/docker/ab\n5:memory:/docker/ab\n1:name=systemd:/docker/ab\n0::/docker/ab\n"
    )
    v1(root / "sys/fs/cgroup/memory", 200, 150, cache=20)
    assert free_in_cgroups(root) == 70


def test_version_1_beside_version_2(root):
    (root / "proc/self/cgroup").write_text("5:memory,hugetlb:/a/b\n0::/a\n")
    v1(root / "sys/fs/cgroup/memory/a/b", 900, 100)
    v1(root / "sys/fs/cgroup/memory/a", 300, 290)
    v1(root / "sys/fs/cgroup/memory", UNLIMITED_V1, 5000)
    v2(root / "sys/fs/cgroup/unified/a", 50, 45)
    assert free_in_cgroups(root) == 5


@pytest.mark.parametrize("limit", ["max", UNLIMITED_V1])
def test_no_limit(root, limit):
    (root / "proc/self/cgroup").write_text("5:memory:/\n0::/\n")
    v1(root / "sys/fs/cgroup/memory", limit, 5000)
    v2(root / "sys/fs/cgroup", limit, 5000)
    assert free_in_cgroups(root) is None


def test_a_group_that_is_full_has_nothing_left(root):
    (root / "proc/self/cgroup").write_text("0::/\n")
    v2(root / "sys/fs/cgroup", 100, 130)
    assert free_in_cgroups(root) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_AS")
def test_ulimit():
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))\n"
        "from clit_deploy.system import memory; print(memory.available())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 2_000_000_000


def test_available_is_the_least(monkeypatch):
    monkeypatch.setattr(memory, "free_in_cgroups", lambda: 30)
    monkeypatch.setattr(memory, "free_address_space", lambda: 20)
    assert memory.available() == 20
    monkeypatch.setattr(memory, "free_address_space", lambda: None)
    assert memory.available() == 30
