"""A model recognized by the names and shapes of its weights, where a file says nothing else."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import CheckpointError
from clit_deploy.models.rdn import CONFIGURATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    Shapes = Mapping[str, tuple[int, ...]]

ASSUMED = {
    "liif": "the local ensemble, ReLU",
    "lte": "ReLU",
    "edsr-baseline": "unscaled residuals",
    "edsr": "residuals scaled by 0.1",
}
"""What weights cannot say, as the papers have it."""


def recognized(weights: Mapping[str, Any]) -> dict[str, Any] | None:
    """The spec of a LIIF or LTE with an EDSR, RDN or SwinIR encoder.

    Args:
        weights: tensors by the model's own names.

    Returns: None if the weights are those of something else.

    Raises:
        CheckpointError: they are of a family whose args cannot be read from shapes.
    """
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    if "conv_ch.weight" in shapes or "conv_freq.weight" in shapes:
        family = "CLIT" if "conv_ch.weight" in shapes else "LIT"
        raise CheckpointError(
            f"The file is the state dict of a {family} alone. Its heads and its position encoding "
            "cannot be read from shapes, so save {'model': {'name', 'args', 'sd'}}."
        )
    encoder = _encoder(shapes)
    hidden = _hidden(shapes)
    if encoder is None or not hidden:
        return None
    spec, channels = encoder
    args: dict[str, Any] = {"encoder_spec": spec}
    args["imnet_spec"] = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": hidden}}
    if "coef.weight" in shapes:
        return {"name": "lte", "args": {**args, "hidden_dim": shapes["coef.weight"][0]}}
    inputs = _at(shapes, "imnet.layers.0.weight", 1)
    for unfold in (True, False):
        for cell in (True, False):
            if inputs == channels * (9 if unfold else 1) + 2 + 2 * cell:
                return {
                    "name": "liif",
                    "args": {**args, "feat_unfold": unfold, "cell_decode": cell},
                }
    return None


def assumptions(spec: Mapping[str, Any]) -> str:
    """What was assumed about a recognized model, in words."""
    names = (spec["name"], spec["args"]["encoder_spec"]["name"])
    return ", ".join(ASSUMED[name] for name in names if name in ASSUMED)


def _encoder(shapes: Shapes) -> tuple[dict[str, Any], int] | None:
    """The spec of the encoder, and the channels of its features."""
    inner = {
        name.removeprefix("encoder."): shape
        for name, shape in shapes.items()
        if name.startswith("encoder.")
    }
    for recognize in (_edsr, _rdn, _swinir):
        found = recognize(inner)
        if found is not None:
            return found
    return None


def _edsr(shapes: Shapes) -> tuple[dict[str, Any], int] | None:
    blocks = _count(shapes, r"body\.(\d+)\.body\.2\.weight")
    channels = _at(shapes, "head.0.weight", 0)
    if not blocks or not channels:
        return None
    name = "edsr" if channels == 256 else "edsr-baseline"
    args = {"no_upsampling": True, "n_resblocks": blocks, "n_feats": channels}
    return {"name": name, "args": args}, channels


def _rdn(shapes: Shapes) -> tuple[dict[str, Any], int] | None:
    blocks = _count(shapes, r"RDBs\.(\d+)\.LFF\.weight")
    layers = _count(shapes, r"RDBs\.0\.convs\.(\d+)\.conv\.0\.weight")
    growth = _at(shapes, "RDBs.0.convs.0.conv.0.weight", 0)
    channels = _at(shapes, "SFENet1.weight", 0)
    for letter, configuration in CONFIGURATIONS.items():
        if configuration == (blocks, layers, growth) and channels:
            args = {"no_upsampling": True, "RDNconfig": letter, "G0": channels}
            return {"name": "rdn", "args": args}, channels
    return None


def _swinir(shapes: Shapes) -> tuple[dict[str, Any], int] | None:
    dim = _at(shapes, "conv_first.weight", 0)
    groups = _count(shapes, r"layers\.(\d+)\.conv\.weight")
    block = "layers.{}.residual_group.blocks"
    tables = [
        shapes.get(f"{block.format(group)}.0.attn.relative_position_bias_table", ())
        for group in range(groups)
    ]
    if not dim or not groups or not all(len(table) == 2 for table in tables):
        return None
    depths = [
        _count(shapes, rf"layers\.{group}\.residual_group\.blocks\.(\d+)\.norm1\.weight")
        for group in range(groups)
    ]
    window = (math.isqrt(tables[0][0]) + 1) // 2
    masks = [shape[0] for name, shape in shapes.items() if name.endswith(".attn_mask") and shape]
    hidden = _at(shapes, f"{block.format(0)}.0.mlp.fc1.weight", 0)
    args: dict[str, Any] = {
        "embed_dim": dim,
        "depths": depths,
        "num_heads": [table[1] for table in tables],
        "window_size": window,
        "mlp_ratio": hidden / dim,
    }
    if masks:
        args["img_size"] = math.isqrt(masks[0]) * window
    return {"name": "swinir", "args": args}, _at(shapes, "conv_before_upsample.0.weight", 0)


def _hidden(shapes: Shapes) -> list[int]:
    """The widths of the hidden layers of an MLP that predicts colors."""
    layers = _count(shapes, r"imnet\.layers\.(\d+)\.weight")
    widths = [_at(shapes, f"imnet.layers.{2 * layer}.weight", 0) for layer in range(layers)]
    return widths[:-1] if widths and widths[-1] == 3 and all(widths) else []


def _at(shapes: Shapes, name: str, axis: int) -> int:
    """A dimension of a tensor; 0 if there is no such tensor or axis."""
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else 0


def _count(shapes: Shapes, pattern: str) -> int:
    """How many numbers a pattern finds in the names of tensors."""
    return len({found[1] for name in shapes if (found := re.fullmatch(pattern, name))})
