"""The models of the GPU kit: published sizes, with weights of three values.

Speed does not depend on the values, and such weights compress to a few megabytes, so a kit of less
than 60 MB holds whole plans. A machine without onnx makes the same model again from the rule.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import clit_deploy
from benchmarks.common import clit_spec, liif_spec
from clit_deploy.models import build_model

if TYPE_CHECKING:
    from pathlib import Path

SPECS = {"clit": clit_spec, "liif": liif_spec}


def spec_of(family: str, *, tiny: bool = False) -> dict[str, Any]:
    """The published specification, or one that a CPU can rehearse with."""
    if not tiny:
        return SPECS[family]()
    spec = clit_spec(dim=16, stages=2) if family == "clit" else liif_spec()
    args = spec["args"]
    args["encoder_spec"] = {
        "name": "edsr-baseline",
        "args": {"no_upsampling": True, "n_resblocks": 1, "n_feats": 8},
    }
    args["imnet_spec"] = {
        "name": "mlp",
        "args": {**args["imnet_spec"]["args"], "hidden_list": [16, 16]},
    }
    return spec


def model_of(spec: dict[str, Any]) -> torch.nn.Module:
    """The model, with weights by the rule."""
    model: torch.nn.Module = build_model(spec)
    weights = {key: _ruled(key, value) for key, value in model.state_dict().items()}
    model.load_state_dict(weights)
    return model.eval()


def _ruled(key: str, value: torch.Tensor) -> torch.Tensor:
    """-a, 0 or a, such that a layer keeps the size of its input."""
    if key.endswith("bias") and "mean" not in key:
        return torch.zeros_like(value)
    if not value.is_floating_point() or "mean" in key or value.ndim < 2:
        return value
    rng = np.random.RandomState(zlib.crc32(key.encode()))
    steps = rng.randint(-1, 2, tuple(value.shape)).astype(np.float32)
    scale = np.float32(1 / np.sqrt(np.prod(value.shape[1:])))
    return torch.from_numpy(steps * scale)


def export(family: str, folder: Path, *, tiny: bool = False) -> Path:
    """Write a checkpoint and its plan; returns the plan."""
    spec = spec_of(family, tiny=tiny)
    path = folder / f"{family}.pth"
    torch.save({"model": {**spec, "sd": model_of(spec).state_dict()}}, path)
    return clit_deploy.export_checkpoint(path)
