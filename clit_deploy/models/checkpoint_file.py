"""What a checkpoint file holds, read without running code; and what it is if it holds no weights.

Downloads often are something else than they are named: a pointer, a web page, an archive.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from clit_deploy.errors import CheckpointError, ClitDeployError, printable
from clit_deploy.models.numpy_scalars import STAND_INS
from clit_deploy.models.torch_errors import named_torch_errors
from clit_deploy.system.extras import optional_imports

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = "{'model': {'name', 'args', 'sd'}}"

WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
"""Extensions of files that may be checkpoints."""

ARCHIVES = {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR", b"BZh": "bzip2"}
MOST_HEADER = 100_000_000
"""Bytes that a safetensors header may have; the library has the same limit."""


def file_content(path: Path) -> Any:
    """What a checkpoint file holds: containers, plain values and tensors.

    Raises:
        CheckpointError: it is something else, or holds more than that.
        MissingDependencyError: it needs a library that is not installed.
        MemoryBudgetError: memory ran out.
    """
    with path.open("rb") as file:
        start = file.read(1024)
    _refuse_what_has_no_weights(path, start)
    if zipfile.is_zipfile(path):
        try:
            _check_archive(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(
                f"{path.name} is not a PyTorch checkpoint, or it is cut off."
            ) from error
    elif _is_safetensors(start):
        return _safetensors(path)
    return _unpickled(path)


def _refuse_what_has_no_weights(path: Path, start: bytes) -> None:
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path.name} is a Git LFS pointer, not the checkpoint itself; run 'git lfs pull', or "
            "download the file."
        )
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise CheckpointError(
            f"{path.name} is an HTML page, not a checkpoint: the link led to a web page. Download "
            "the file itself."
        )
    for magic, kind in ARCHIVES.items():
        if start.startswith(magic):
            raise CheckpointError(f"{path.name} is a {kind} archive; unpack the checkpoint in it.")


def _check_archive(path: Path) -> None:
    """Refuse a zip that PyTorch did not write, and one with code.

    Raises:
        CheckpointError: it is one; the message says what it holds.
    """
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
    names = [part.filename for part in parts]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(
            f"{path.name} is a TorchScript archive, which holds code, so it was not opened. Save "
            "the weights of the model that it was made from."
        )
    if not any(name.endswith("data.pkl") for name in names):
        inside = [name for name in names if name.lower().endswith(WEIGHTS)]
        holds = f" that holds {printable(inside[0], 100)}" if inside else " without a checkpoint"
        raise CheckpointError(
            f"{path.name} is a zip archive{holds}, not a PyTorch file; "
            f"{'unpack it' if inside else 'name another file'}."
        )
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise CheckpointError(
            f"{path.name} has compressed or overlapping parts, which PyTorch never writes."
        )


def _is_safetensors(start: bytes) -> bool:
    length = int.from_bytes(start[:8], "little")
    return 2 <= length <= MOST_HEADER and start[8:9] == b"{"


def _safetensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, as a state dict, or as a model if its metadata has an
    entry `model` with the name and the args."""
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError(
            f"{path.name} is a safetensors file under another name; rename it to "
            f"{path.stem}.safetensors. Reading it needs the package safetensors."
        )
    with optional_imports("Reading a safetensors file", "export"):
        from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            described = (file.metadata() or {}).get("model")
            spec = json.loads(described) if described is not None else None
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name} is not a valid safetensors file: {printable(error, 150)}."
        ) from error
    return {"model": {**spec, "sd": found}} if isinstance(spec, dict) else found


def _unpickled(path: Path) -> Any:
    try:
        with (
            named_torch_errors(f"reading {path.name}"),
            torch.serialization.safe_globals(STAND_INS),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except ClitDeployError:
        raise
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path) or "global" in str(error).lower():
            raise CheckpointError(
                f"{path.name} holds {_object(error)}, so it was not opened: loading it could run "
                f"code. If you trust the file, save the model alone, as {LAYOUT}."
            ) from error
        raise CheckpointError(f"{path.name} is not a PyTorch checkpoint.") from error
    except Exception as error:  # damaged bytes make the unpickler raise anything
        raise CheckpointError(
            f"{path.name} is not a PyTorch checkpoint, or it is cut off."
        ) from error


def _object(error: Exception) -> str:
    """What a pickle names beside tensors and plain values."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    name = f" ({printable(found[1], 80)})" if found else ""
    return f"an object{name} beside tensors and plain values"
