"""A real Triton server on the CPU, from the wheel `nvidia-pytriton`.

    python -m benchmarks.triton_server ENVIRONMENT REPOSITORY

serves a model repository until Ctrl-C; tests and measurements use the functions. Only the binaries
of the wheel are used. They need an environment with it, the packages that clit-deploy needs, and
numpy 1:

    python3 -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install 'numpy<2' .
    ENVIRONMENT/bin/pip install --no-deps nvidia-pytriton==0.7.0
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import clit_deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 120
"""Seconds for a start."""
ASK = """
import json, numpy, pathlib, sys, sysconfig
print(json.dumps({
    "packages": sysconfig.get_path("purelib"),
    "libraries": sysconfig.get_config_var("LIBDIR"),
    "library": sysconfig.get_config_var("INSTSONAME"),
    "version": "%d.%d" % sys.version_info[:2],
    "numpy": int(numpy.__version__.split(".")[0]),
}))
"""
STUB = "triton_python_backend_stub"


class NoTritonError(RuntimeError):
    """The environment cannot run Triton's Python backend."""


@dataclass(frozen=True)
class TritonEnvironment:
    """A virtual environment with the wheel."""

    folder: Path
    packages: Path
    libraries: Path
    version: str

    @classmethod
    def of(cls, folder: Path) -> TritonEnvironment:
        """Check an environment.

        Raises:
            NoTritonError: something is missing.
        """
        python = folder / "bin" / "python"
        if not python.exists():
            raise NoTritonError(f"{folder} is not a virtual environment")
        asked = subprocess.run(
            [python, "-c", ASK], capture_output=True, text=True, check=False, cwd=folder
        )
        if asked.returncode:
            raise NoTritonError(f"{folder} lacks a package: {asked.stderr.strip()[-200:]}")
        found = json.loads(asked.stdout)
        made = cls(folder, Path(found["packages"]), Path(found["libraries"]), found["version"])
        if not made.stub.exists():
            raise NoTritonError(f"{folder} has no nvidia-pytriton for Python {made.version}")
        if found["numpy"] > 1:
            raise NoTritonError(f"{folder} has a numpy that Triton 2.51 cannot use")
        if not (made.libraries / found["library"]).exists():
            raise NoTritonError(f"the Python of {folder} has no shared library")
        return made

    @property
    def server(self) -> Path:
        """The folder of Triton in the wheel."""
        return self.packages / "pytriton" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The process that runs a Python model."""
        return self.server / "python_backend_stubs" / self.version / STUB

    def write_backends(self, folder: Path) -> Path:
        """A folder of backends, with the stub, and this clit-deploy on the path of its Python."""
        python = folder / "python"
        shutil.copytree(self.server / "backends" / "python", python)
        shutil.copy(self.stub, python)
        (python / "clit_deploy").symlink_to(Path(clit_deploy.__file__).parent)
        return folder

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of the server. The stub takes its Python from PATH."""
        libraries = f"{self.packages / 'nvidia_pytriton.libs'}:{self.libraries}"
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {**os.environ, "LD_LIBRARY_PATH": libraries, "PATH": path}


@dataclass(frozen=True)
class TritonServer:
    """A server that is ready."""

    http: str
    grpc: str
    metrics: str
    log: Path
    process: subprocess.Popen[bytes]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over its labels, or over those with these values."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        parts = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.split()[-1])
            for line in lines
            if line.startswith(f"{name}{{") and all(part in line for part in parts)
        )

    def instances(self) -> list[int]:
        """The processes of the models."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = [int(child) for child in children.read_text().split()]
        return [pid for pid in found if STUB[:15] in Path(f"/proc/{pid}/comm").read_text()]


@contextlib.contextmanager
def serving(
    environment: TritonEnvironment, repository: Path, work: Path, *options: str
) -> Iterator[TritonServer]:
    """Serve a model repository on free ports of this machine.

    Args:
        environment: with the wheel.
        repository: to serve.
        work: a folder for the log and the backends.
        options: more options of `tritonserver`.

    Raises:
        RuntimeError: it did not start; with the errors of its log.
    """
    backends = work / "backends"
    if not backends.exists():
        environment.write_backends(backends)
    http, grpc, metrics = free_ports(3)
    log = work / "server.log"
    command = [environment.server / "bin" / "tritonserver", f"--model-repository={repository}"]
    command += [f"--backend-directory={backends}", "--exit-timeout-secs=10"]
    command += [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"]
    command += [f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*map(str, command), *options], stdout=file, stderr=file, env=environment.variables
        ) as process,
    ):
        try:
            wait_until_ready(process, http, log)
            addresses = [f"127.0.0.1:{port}" for port in (http, grpc, metrics)]
            yield TritonServer(*addresses, log, process)
        finally:
            process.terminate()


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{port}/v2/health/ready"
            with urllib.request.urlopen(url, timeout=5):
                return
        time.sleep(0.1)
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.lower().startswith("e")]
    raise RuntimeError("\n".join(["Triton did not start:", *errors]))


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("environment", type=Path)
    parser.add_argument("repository", type=Path)
    asked = parser.parse_args()
    environment = TritonEnvironment.of(asked.environment.resolve())
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory() as work,
        serving(environment, asked.repository.resolve(), Path(work)) as server,
    ):
        print(f"HTTP {server.http}, gRPC {server.grpc}, metrics {server.metrics}", flush=True)
        print(f"log {server.log}; Ctrl-C stops the server", flush=True)
        server.process.wait()


if __name__ == "__main__":
    main()
