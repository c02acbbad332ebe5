"""Put what the GPU check needs into one file of less than 60 MB.

    python -m benchmarks.gpu_pack FILE.tar.xz [--tiny]

The file holds the source, the tests, the plans, and the packages that a machine with Python 3.12
and PyTorch may lack. The other machine needs no network: unpack it there and run `./go`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.gpu_models import SPECS, export

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 60e6
"""Bytes that the file may have."""
SOURCES = ["pyvips>=2.2.3"]
"""Packages that are published as sources, and are pure Python."""
PACKAGES = ["onnxruntime>=1.24.4", "onnxruntime-ep-webgpu", "typer", "pillow", *SOURCES]
PACKAGES += ["pyvips-binary", "pytest", "filelock", "onnx-graphsurgeon"]
"""With what they need. PyTorch's own needs are there already."""
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 17)]
ALREADY = ("numpy-", "protobuf-", "sympy-", "mpmath-", "onnx-", "ml_dtypes-")
"""Wheels that come with PyTorch, or are not used. The tests need onnx, which is large."""
VULKAN = ["libvulkan1", "libglvnd0", "libegl1", "libglx0", "libgl1"]
"""The loader of Vulkan, and what NVIDIA's driver for it needs; machines for computing lack them."""


def packages(folder: Path) -> None:
    """Download the packages for Python 3.12 on Linux, and unpack each into a folder of its name:
    compressed together they are a quarter smaller than as wheels."""
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", wheels, *SOURCES], check=True)
    command = [*pip, "download", "-q", "-d", str(wheels), "--find-links", str(wheels)]
    command += ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"]
    for platform in [*PLATFORMS, "manylinux2014_x86_64"]:
        command += ["--platform", platform]
    subprocess.run([*command, *PACKAGES], check=True)
    for path in sorted(wheels.iterdir()):
        if not path.name.startswith(ALREADY):
            shutil.unpack_archive(path, folder / path.name.split("-")[0], "zip")
    shutil.rmtree(wheels)


def vulkan(folder: Path) -> None:
    """Download the libraries of Vulkan; needs apt."""
    command = ["apt-get", "download", "-qq", *VULKAN]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"without a Vulkan loader: {done.stderr.strip()[-200:]}")


def pack(target: Path, *, tiny: bool = False) -> int:
    """Write the file; returns its bytes.

    Raises:
        ValueError: it has become too large.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "gpu-check"
        for name in ("packages", "plans"):
            (folder / name).mkdir(parents=True)
        packages(folder / "packages")
        vulkan(folder)
        for family in SPECS:
            export(family, folder / "plans", tiny=tiny)
            (folder / "plans" / f"{family}.pth").unlink()  # it follows from a rule
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "photo.plan", "*.jpg")
        for name in ("clit_deploy", "tests", "benchmarks"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        shutil.copy(ROOT / "pyproject.toml", folder)
        shutil.copy(ROOT / "scripts" / "gpu-go", folder / "go")
        with tarfile.open(target, "w:xz") as archive:
            archive.add(folder, "gpu-check")
    size = target.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{target} has {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}.")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--tiny", action="store_true", help="tiny models, for a rehearsal")
    args = parser.parse_args()
    print(f"{args.target}  {pack(args.target, tiny=args.tiny) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
