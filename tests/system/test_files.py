"""Files that appear under their name only when they are complete."""

import errno
import signal
import stat
import subprocess
import sys
import threading

import pytest

from clit_deploy.errors import OutputError
from clit_deploy.system import files
from clit_deploy.system.files import replacing
from clit_deploy.system.locks import locked

KILLED = """
import os, signal, sys
from pathlib import Path
from clit_deploy.system.files import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""

WAITING = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "print(flush=True); input()")

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX locks and modes")


@posix
def test_the_next_run_removes_what_a_killed_one_left(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.png"], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.read_text() == "half"
    with replacing(tmp_path / "b.png") as part:
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


@posix
def test_what_another_process_is_writing_stays(tmp_path):
    command = [sys.executable, "-c", WAITING, tmp_path / "a.png"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
        other.stdout.readline()
        with replacing(tmp_path / "b.png") as part:
            part.write_text("whole")
        assert len(list(tmp_path.iterdir())) == 2
        other.communicate("\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_files_of_others_stay(tmp_path):
    names = [".a.png.0123abcd.part", "a.clit.part", ".a.png.0123abc.clit.part"]
    for name in names:
        (tmp_path / name).touch()
    with replacing(tmp_path / "b.png") as part:
        part.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "b.png"])


def test_a_new_file_that_was_taken_for_an_abandoned_one_is_made_again(tmp_path, monkeypatch):
    taken = []

    def steal(handle):
        if not taken:
            (path,) = tmp_path.iterdir()
            path.unlink()
            taken.append(path)
        return True

    monkeypatch.setattr(files, "try_lock", steal)
    with replacing(tmp_path / "a") as part:
        part.write_text("whole")
    assert taken
    assert (tmp_path / "a").read_text() == "whole"


@posix
def test_links_are_followed_and_modes_stay(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "real.png", tmp_path / "link.png"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with replacing(link) as part:
        assert part.parent == target.parent
        part.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@posix
def test_a_new_file_has_the_mode_of_any_other(tmp_path):
    with replacing(tmp_path / "a") as part:
        part.write_text("new")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_data_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []

    def fsync(handle):
        order.append([path.name for path in tmp_path.iterdir()])

    monkeypatch.setattr(files.os, "fsync", fsync)
    with replacing(tmp_path / "a") as part:
        part.write_text("new")
    assert "a" not in order[0]
    assert order[-1] == ["a"] or sys.platform == "win32"


def fill(part):
    part.write_text("new")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OutputError, match="disk is full"), replacing(tmp_path / "a") as part:
        fill(part)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@posix
def test_a_lock_that_is_a_link_is_refused(tmp_path):
    (tmp_path / ".a.plan.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="lock"), locked(tmp_path / "a.plan", "changing"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@posix
def test_a_link_and_its_target_have_one_lock(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    refused = []

    def other():
        try:
            with locked(tmp_path / "real", "changing"):
                pass
        except OutputError as error:
            refused.append(error)

    with locked(tmp_path / "link", "changing"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
