"""Cases of the published code, tiny models, and other things that tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

import clit_deploy
from clit_deploy.models import build_model

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CLIT_DEPLOY_DATA", ROOT.parent / "shared" / "data"))

REFERENCE_CASES = (
    "clit1-edsr-x4",
    "clit1-tiny-x2.6",
    "clit1-tiny-x3",
    "clit2-edsr-x12",
    "clit2-tiny-r2-x7",
    "clit2-tiny-x9.7",
    "clit3-edsr-x18",
    "clit3-tiny-x30",
    "liif-edsr-aniso",
    "liif-edsr-x2.7",
    "liif-edsr-x4",
    "liif-noensemble-nounfold-x3",
    "clit1-rdn-x3",
    "clit2-rdn-x6",
    "clit1-swinir-x4",
    "clit3-swinir-x24",
    "lit-tiny-x4",
    "lte-swinir-x2",
    "liif-rdn-x6",
    "lte-edsr-x4",
    "lte-edsr-x12",
    "lte-rdn-x3.4",
)


@dataclass(frozen=True)
class Case:
    """One output of the published code."""

    name: str
    spec: dict[str, Any]
    lr: np.ndarray
    rgb: np.ndarray
    scale: float | None
    seed: int
    gain: float
    rows_tied: np.ndarray
    cols_tied: np.ndarray

    @classmethod
    def read(cls, name: str) -> Case:
        with np.load(DATA / "reference" / f"{name}.npz") as content:
            d = dict(content)
        scale = float(np.prod(d["stage_scales"])) if "stage_scales" in d else None
        return cls(
            name,
            json.loads(str(d["spec"])),
            d["lr"],
            d["rgb"],
            scale,
            int(d["seed"]),
            float(d["gain"]),
            d["rows_tied"],
            d["cols_tied"],
        )

    def request(self) -> dict[str, Any]:
        """Arguments of `upscale`."""
        return {"scale": self.scale} if self.scale else {"size": self.rgb.shape[:2]}

    def error(self, output: np.ndarray) -> float:
        """Largest difference on untied rows and columns, relative to the standard deviation."""
        assert output.shape == self.rgb.shape
        difference = np.abs(output - self.rgb)[~self.rows_tied][:, ~self.cols_tied]
        return float(difference.max() / self.rgb.std())

    def write_checkpoint(self, path: Path) -> Path:
        model = build_model(self.spec)
        save_checkpoint(path, self.spec, ruled_weights(model.state_dict(), self.seed, self.gain))
        return path


def ruled_weights(
    own: dict[str, torch.Tensor], seed: int = 0, gain: float = 1.0
) -> dict[str, torch.Tensor]:
    """Weights by the rule of the reference data."""
    made = {}
    for key, value in own.items():
        fixed = key.startswith(("encoder.sub_mean", "encoder.add_mean")) or "attn_mask" in key
        if fixed or not value.is_floating_point():
            made[key] = value
            continue
        if "bounds." in key:  # of features that are kept within bounds
            made[key] = torch.full_like(value, -0.5 if key.endswith("low") else 0.5)
            continue
        shape = tuple(value.shape)
        state = np.random.RandomState((zlib.crc32(key.encode()) + seed) & 0xFFFFFFFF)
        z = state.standard_normal(shape)
        if value.ndim >= 2 and key.endswith("weight"):
            z = gain * z / np.sqrt(np.prod(shape[1:]))
        elif key.endswith("weight"):
            z = 1 + 0.1 * z
        else:
            z = 0.1 * z
        made[key] = torch.from_numpy(z.astype(np.float32))
    return made


def save_checkpoint(path: Path, spec: dict[str, Any], weights: dict[str, Any]) -> None:
    torch.save({"model": {**spec, "sd": weights}, "epoch": 1}, path)


def mlp(width: int = 24, **changes: Any) -> dict[str, Any]:
    """The spec of an MLP with two hidden layers."""
    return {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [width, width], **changes}}


def tiny_clit(stages: int = 3, r: int = 3, **changes: Any) -> dict[str, Any]:
    """A cascade small enough for any test."""
    posenc = {"posenc_type": "sinusoid", "posenc_scale": 10, "hidden_dims": 64, "enc_dims": 64}
    args = {
        "base_dim": 16,
        "head": 4,
        "r": r,
        "imnet_num": stages,
        "conv_num": stages,
        "encoder_spec": tiny_encoder(),
        "pb_spec": {"name": "posenc", "args": posenc},
        "imnet_spec": mlp(act="gelu"),
    }
    return {"name": "clit", "args": {**args, **changes}}


def tiny_liif(**changes: Any) -> dict[str, Any]:
    args = {"encoder_spec": tiny_encoder(), "imnet_spec": mlp()}
    return {"name": "liif", "args": {**args, **changes}}


def tiny_lte(**changes: Any) -> dict[str, Any]:
    args = {
        "encoder_spec": tiny_encoder(),
        "imnet_spec": mlp(),
        "hidden_dim": 16,
    }
    return {"name": "lte", "args": {**args, **changes}}


def tiny_lit(**changes: Any) -> dict[str, Any]:
    args = {
        "encoder_spec": tiny_encoder(),
        "imnet_spec": mlp(act="gelu"),
        "base_dim": 16,
        "head": 4,
        "pe_spec": posenc("sinusoid", complex_transform=True, posenc_scale=6, enc_dims=16),
        "pb_spec": posenc("sinusoid", posenc_scale=10, enc_dims=32),
    }
    return {"name": "lit", "args": {**args, **changes}}


def posenc(kind: str, **args: Any) -> dict[str, Any]:
    """A published `pb_spec` or `pe_spec`."""
    return {"name": "posenc", "args": {"posenc_type": kind, **args}}


def tiny_encoder(blocks: int = 1, channels: int = 8) -> dict[str, Any]:
    args = {"no_upsampling": True, "n_resblocks": blocks, "n_feats": channels}
    return {"name": "edsr-baseline", "args": args}


def tiny_checkpoint(folder: Path, spec: dict[str, Any], name: str = "tiny.pth") -> Path:
    path = folder / name
    save_checkpoint(path, spec, ruled_weights(build_model(spec).state_dict()))
    return path


def exported_once(folder: Path, spec: dict[str, Any], name: str) -> Path:
    """The plan of a tiny checkpoint, exported by the process that needs it first."""
    plan = folder / f"{name}.plan"
    with FileLock(folder / f"{name}.lock"):
        if not plan.exists():
            clit_deploy.export_checkpoint(tiny_checkpoint(folder, spec, f"{name}.pth"))
    return plan


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random image, uint8 `[height, width, 3]`."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(a * y + b * x + c) for a, b, c in rng.uniform(-0.6, 0.6, (12, 3)) * [1, 1, 9]]
    mixed = np.tensordot(rng.randn(3, 12), np.stack(waves), axes=1).transpose(1, 2, 0)
    return (np.clip(mixed / 8 + 0.5, 0, 1) * 255).astype(np.uint8)


def cli(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the real command line in a process of its own."""
    command = [sys.executable, "-m", "clit_deploy", *map(str, arguments)]
    options.setdefault("cwd", ROOT)
    options.setdefault("env", {**os.environ, "PYTHONPATH": str(ROOT)})
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, **options
    )
