"""A Ray cluster of two nodes on this machine, each in a network namespace of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD, OTHER = "10.77.0.1", "10.77.0.2"
PORT = 6379
GIVES_UP = "5"
"""Seconds after which Ray takes its head for lost; 60 by default."""


def why_not() -> str | None:
    """Why there can be no cluster here; None if there can."""
    if not sys.platform.startswith("linux") or not hasattr(os, "geteuid") or os.geteuid():
        return "network namespaces need Linux and root"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "ip or unshare is not installed"
    name = f"cd-try{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None if made.returncode == 0 else "network namespaces do not work here"


class Nodes:
    """Two nodes with one CPU each. The folder `hidden` is another one on the second node."""

    def __init__(self, folder: Path) -> None:
        self.hidden = folder / "hidden"
        self.hidden.mkdir()
        self._names = {HEAD: f"cda{os.getpid()}", OTHER: f"cdb{os.getpid()}"}
        # Sockets lie below it, and their paths may have 107 bytes.
        self._temporary = tempfile.mkdtemp(prefix="cdr", dir="/tmp")
        self.address = f"{HEAD}:{PORT}"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",  # a token in the home folder would turn it on
            "RAY_gcs_rpc_server_reconnect_timeout_s": GIVES_UP,
        }

    def connect(self) -> None:
        """Make the namespaces and the wire between them."""
        for name in self._names.values():
            self._ip("netns", "add", name)
        a, b = self._names.values()
        self._ip("-n", a, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", b)
        for address, name in self._names.items():
            self._ip("-n", name, "addr", "add", f"{address}/24", "dev", "wire")
            for link in ("lo", "wire"):
                self._ip("-n", name, "link", "set", link, "up")

    def start(self) -> None:
        """Start Ray on both."""
        common = "--num-cpus 1 --object-store-memory 80000000 --disable-usage-stats"
        ray = f"{sys.executable} -m ray.scripts.scripts start"
        self._start(
            HEAD,
            f"{ray} --head --node-ip-address {HEAD} --port {PORT} --include-dashboard=false "
            f"--temp-dir {self._temporary} {common}",
        )
        hide = f"mount -t tmpfs none {self.hidden}"
        self._start(
            OTHER,
            f"{hide} && {ray} --address {self.address} --node-ip-address {OTHER} {common}",
        )

    def _start(self, address: str, command: str) -> None:
        log = self.hidden.parent / "start.log"  # not a pipe, which the daemons would hold open
        with log.open("w") as said:
            done = subprocess.run(
                [*self.on(address), "unshare", "-m", "sh", "-c", command],
                env=self.environment, cwd=self.hidden.parent, timeout=120, check=False,
                stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        assert done.returncode == 0, log.read_text()[-3000:]

    def on(self, address: str) -> list[str]:
        """What comes before a command that runs on a node."""
        return ["ip", "netns", "exec", self._names[address]]

    def run(self, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """A Python command line on the head."""
        return subprocess.run(
            [*self.on(HEAD), sys.executable, *map(str, arguments)],
            env=self.environment, cwd=self.hidden.parent, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def ray(self, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """`clit-deploy ray` on the head."""
        command = ["-m", "clit_deploy", "ray", "--address", self.address]
        return self.run(*command, *arguments, timeout=timeout)

    def processes(self, address: str) -> dict[int, str]:
        """The command lines of a node by their process number."""
        listed = self._ip("netns", "pids", self._names[address]).split()
        found = {}
        for number in map(int, listed):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ")
                found[number] = line.decode(errors="replace")
        return found

    def kill(self, address: str, *, without: str | None = None) -> None:
        """Kill all processes of a node, but those whose command line has some text."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            left = self.processes(address)
            left = {n: line for n, line in left.items() if not without or without not in line}
            if not left:
                return
            for number in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.1)

    def remove(self) -> None:
        """Leave nothing behind."""
        for address, name in self._names.items():
            with contextlib.suppress(subprocess.CalledProcessError):
                self.kill(address)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _ip(self, *arguments: str) -> str:
        return subprocess.run(
            ["ip", *arguments], capture_output=True, text=True, check=True
        ).stdout  # fmt: skip


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    """The cluster, which is gone after the block."""
    nodes = Nodes(folder)
    try:
        nodes.connect()
        nodes.start()
        yield nodes
    finally:
        nodes.remove()
