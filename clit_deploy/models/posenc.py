"""Position encodings of CLIT and LIT: relative offset -> attention bias, or waves (CLIT, eq. 6).

Offsets and pixel sizes are in half grid pixels, row and column. `bias` is one number per head for
every offset; `wave_vectors` are the complex waves that rotate the spectrum in LIT's frequency
branch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.models.weight_shapes import WeightShapes

MAX_SCALE = 20
"""Frequencies of 2 to this power: float32 phases of larger ones are noise."""


class PositionEncoding(nn.Module, ABC):
    """A published kind of encoding, with the published state-dict keys."""

    @abstractmethod
    def bias(self, offset: Tensor, cell: Tensor) -> Tensor:
        """Offsets `[q, j, 2]` for pixels of `cell [2]` or `[q, 2]` -> `[q, j, heads]`."""

    def wave_vectors(self) -> Tensor:
        """Radians per half grid pixel of every complex wave, row and column, `[waves, 2]`.

        Raises:
            UnsupportedModelError: the encoding has no waves.
        """
        raise UnsupportedModelError(
            f"The position encoding {type(self).__name__} has no waves; LIT's frequency branch "
            "needs 'sinusoid', 'ipe' or 'learn'."
        )

    def amplitude(self, cell: Tensor) -> Tensor:
        """The amplitude of every complex wave, broadcast to `[q or 1, waves]`."""
        return torch.ones(1, dtype=cell.dtype, device=cell.device)


class Sinusoid(PositionEncoding):
    """Sines and cosines along each axis, projected to the heads.

    Frequencies are `2 ** linspace(0, posenc_scale, enc_dims / 4) - 1`: 0 to 1023 as published.
    `damped` (the integrated encoding, ipe) averages every wave over the output pixel.
    """

    frequencies: Tensor

    def __init__(self, head: int, posenc_scale: float, enc_dims: int, damped: bool) -> None:
        super().__init__()
        if enc_dims % 4:
            raise UnsupportedModelError(
                f"The position encoding has enc_dims {enc_dims}, which is not a multiple of 4."
            )
        if not 0 <= posenc_scale <= MAX_SCALE:
            raise UnsupportedModelError(
                f"The position encoding has posenc_scale {posenc_scale:g}; it must be from 0 to "
                f"{MAX_SCALE}."
            )
        frequencies = 2.0 ** torch.linspace(0, posenc_scale, enc_dims // 4) - 1
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.damped = damped
        self.proj = nn.Linear(enc_dims, head)

    def wave_vectors(self) -> Tensor:
        """Waves along the rows first, then along the columns."""
        zero = torch.zeros_like(self.frequencies)
        rows = torch.stack([self.frequencies, zero], dim=-1)
        return torch.cat([rows, rows.flip(-1)])

    def amplitude(self, cell: Tensor) -> Tensor:
        """If damped, sin(x) / x of the wave over the pixel's size; else 1."""
        if not self.damped:
            return super().amplitude(cell)
        return torch.sinc(cell.reshape(-1, 2) @ self.wave_vectors().to(cell).T / math.pi)

    def bias(self, offset: Tensor, cell: Tensor) -> Tensor:
        """See `PositionEncoding.bias`."""
        angle = offset @ self.wave_vectors().to(offset).T
        fade = self.amplitude(cell)[:, None] if self.damped else 1
        result: Tensor = self.proj(torch.cat([angle.sin() * fade, angle.cos() * fade], dim=-1))
        return result


class Learned(PositionEncoding):
    """Learned waves through a small network (`learn`)."""

    def __init__(self, head: int, enc_dims: int, hidden_dims: int, gamma: float) -> None:
        super().__init__()
        if hidden_dims % 2:
            raise UnsupportedModelError(
                f"The learn encoding has hidden_dims {hidden_dims}; it must be even."
            )
        self.scale = 1 / math.sqrt(hidden_dims)
        self.Wr = nn.Linear(2, hidden_dims // 2, bias=False)
        nn.init.normal_(self.Wr.weight, std=gamma**-2)
        self.mlp = nn.Sequential(
            nn.LayerNorm(hidden_dims, eps=1e-6),
            nn.Linear(hidden_dims, hidden_dims),
            nn.GELU(),
            nn.LayerNorm(hidden_dims, eps=1e-6),
            nn.Linear(hidden_dims, enc_dims),
        )
        self.proj = nn.Sequential(nn.GELU(), nn.Linear(enc_dims, head))

    def wave_vectors(self) -> Tensor:
        """The learned waves."""
        return self.Wr.weight.detach()

    def amplitude(self, cell: Tensor) -> Tensor:
        """A constant."""
        return super().amplitude(cell) * self.scale

    def bias(self, offset: Tensor, cell: Tensor) -> Tensor:  # noqa: ARG002
        """See `PositionEncoding.bias`."""
        angle = self.Wr(offset)
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1) * self.scale
        result: Tensor = self.proj(self.mlp(waves))
        return result


class Dynamic(PositionEncoding):
    """A small network of the offset itself (`dpb`, dynamic position bias)."""

    def __init__(self, head: int, enc_dims: int, hidden_dims: int) -> None:
        super().__init__()
        if enc_dims != hidden_dims:
            raise UnsupportedModelError(
                f"The dpb encoding has enc_dims {enc_dims} and hidden_dims {hidden_dims}; its last "
                "norm works only if they are equal."
            )
        self.mlp = nn.Sequential(
            nn.Linear(2, hidden_dims),
            nn.LayerNorm(hidden_dims, eps=1e-6),
            nn.ReLU(),
            nn.Linear(hidden_dims, hidden_dims),
            nn.LayerNorm(hidden_dims, eps=1e-6),
            nn.ReLU(),
            nn.Linear(hidden_dims, enc_dims),
        )
        self.proj = nn.Sequential(
            nn.LayerNorm(hidden_dims, eps=1e-6), nn.ReLU(), nn.Linear(enc_dims, head)
        )

    def bias(self, offset: Tensor, cell: Tensor) -> Tensor:  # noqa: ARG002
        """See `PositionEncoding.bias`."""
        result: Tensor = self.proj(self.mlp(offset))
        return result


def position_encoding(
    content: Mapping[str, Any] | None, head: int, *, waves: bool = False
) -> PositionEncoding | None:
    """Build from a published `pb_spec` or `pe_spec`; None without a spec or a type in it.

    Args:
        content: `{'name': 'posenc', 'args': {...}}`.
        head: heads of the attention that the bias is for.
        waves: whether complex waves are needed (a `pe_spec`), or a bias.

    Raises:
        UnsupportedModelError: an encoding that the published code does not have either.
    """
    spec = Spec.read(content, "position encoding") if content else None
    if spec is None or spec.args.get("posenc_type") is None:
        return None
    if bool(spec.args.get("complex_transform")) != waves:
        needed, key = ("true", "pe_spec") if waves else ("false", "pb_spec")
        raise UnsupportedModelError(f"complex_transform of the {key} must be {needed}.")
    spec.args.pop("head", None)
    return spec.build(_of_type, head=head)


def _of_type(
    head: int,
    posenc_type: str,
    complex_transform: bool = False,  # noqa: ARG001  (checked above)
    posenc_scale: float = 6,
    gauss_scale: float = 1,  # noqa: ARG001  (of a type that no published model uses)
    in_dims: int = 2,
    enc_dims: int = 256,
    hidden_dims: int = 32,
    gamma: float = 1,
) -> PositionEncoding:
    """The encoding of a type, with the published names and defaults of its options."""
    if in_dims != 2:
        raise UnsupportedModelError(f"The position encoding has in_dims {in_dims}; it must be 2.")
    if posenc_type in ("sinusoid", "ipe"):
        return Sinusoid(head, posenc_scale, enc_dims, damped=posenc_type == "ipe")
    if posenc_type == "learn":
        return Learned(head, enc_dims, hidden_dims, gamma)
    if posenc_type == "dpb":
        return Dynamic(head, enc_dims, hidden_dims)
    raise UnsupportedModelError(
        f"Unknown position encoding {posenc_type!r:.80}; supported are sinusoid, ipe, learn, dpb."
    )


def recognized_bias(shapes: WeightShapes, posenc_scale: float) -> tuple[int, dict[str, Any]] | None:
    """The heads and the spec of a position bias with these weights.

    Args:
        shapes: of the weights of the encoding alone.
        posenc_scale: of sinusoids, which no weight shows.

    Returns: None if there is none.
    """
    args: dict[str, Any]
    if "proj.weight" in shapes:
        args, projection = {"posenc_type": "sinusoid", "posenc_scale": posenc_scale}, "proj.weight"
    elif "Wr.weight" in shapes:
        args = {"posenc_type": "learn", "hidden_dims": 2 * shapes.at("Wr.weight", 0)}
        projection = "proj.1.weight"
    elif "proj.2.weight" in shapes:
        args = {"posenc_type": "dpb", "hidden_dims": shapes.at("mlp.0.weight", 0)}
        projection = "proj.2.weight"
    else:
        return None
    args["enc_dims"] = shapes.at(projection, 1)
    return shapes.at(projection, 0), {"name": "posenc", "args": args}
