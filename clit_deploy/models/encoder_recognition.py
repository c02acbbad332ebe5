"""An encoder recognized by the names and shapes of its weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from clit_deploy.models.rdn import CONFIGURATIONS

if TYPE_CHECKING:
    from clit_deploy.models.weight_shapes import WeightShapes

ASSUMED = {
    "edsr-baseline": "residuals that are not scaled",
    "edsr": "residuals scaled by 0.1",
}
"""What weights do not show, as the paper has it."""

Found = tuple[dict[str, Any], int]
"""The spec of an encoder, and the channels of its features."""


def recognized_encoder(shapes: WeightShapes) -> Found | None:
    """An EDSR, RDN or SwinIR; None if it is something else."""
    for recognize in (_edsr, _rdn, _swinir):
        found = recognize(shapes)
        if found is not None and found[1]:
            return found
    return None


def _edsr(shapes: WeightShapes) -> Found | None:
    blocks, channels = shapes.count(r"body\.(\d+)\.body\.2\.weight"), shapes.at("head.0.weight", 0)
    if not blocks:
        return None
    name = "edsr" if channels == 256 else "edsr-baseline"
    args = {"no_upsampling": True, "n_resblocks": blocks, "n_feats": channels}
    return {"name": name, "args": args}, channels


def _rdn(shapes: WeightShapes) -> Found | None:
    channels = shapes.at("SFENet1.weight", 0)
    found = (
        shapes.count(r"RDBs\.(\d+)\.LFF\.weight"),
        shapes.count(r"RDBs\.0\.convs\.(\d+)\.conv\.0\.weight"),
        shapes.at("RDBs.0.convs.0.conv.0.weight", 0),
    )
    for letter, configuration in CONFIGURATIONS.items():
        if found == configuration:
            args = {"no_upsampling": True, "RDNconfig": letter, "G0": channels}
            return {"name": "rdn", "args": args}, channels
    return None


def _swinir(shapes: WeightShapes) -> Found | None:
    dim, groups = shapes.at("conv_first.weight", 0), shapes.count(r"layers\.(\d+)\.conv\.weight")
    if not dim or not groups:
        return None
    blocks = [shapes.inside(f"layers.{group}.residual_group.blocks.") for group in range(groups)]
    table = "0.attn.relative_position_bias_table"  # [(2 window - 1)^2, heads]
    window = (math.isqrt(blocks[0].at(table, 0)) + 1) // 2
    args: dict[str, Any] = {
        "embed_dim": dim,
        "depths": [group.count(r"(\d+)\.norm1\.weight") for group in blocks],
        "num_heads": [group.at(table, 1) for group in blocks],
        "window_size": window,
        "mlp_ratio": blocks[0].at("0.mlp.fc1.weight", 0) / dim,
    }
    if windows := shapes.first(".attn_mask"):
        args["img_size"] = math.isqrt(windows) * window
    return {"name": "swinir", "args": args}, shapes.at("conv_before_upsample.0.weight", 0)
