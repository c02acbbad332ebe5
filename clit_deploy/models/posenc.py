"""Position encodings of CLIT and LIT: relative offset -> one attention bias a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError


class SinusoidBias(nn.Module):
    """Axis-aligned sines and cosines of the offset, projected to the heads (CLIT, equation 6).

    Frequencies are `2 ** linspace(0, posenc_scale, enc_dims / 4) - 1`: 0 to 1023 as published.
    """

    frequencies: Tensor

    def __init__(self, head: int, posenc_scale: float, enc_dims: int) -> None:
        super().__init__()
        frequencies = 2.0 ** torch.linspace(0, posenc_scale, enc_dims // 4) - 1
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.proj = nn.Linear(enc_dims, head)

    def forward(self, offset: Tensor) -> Tensor:
        """Offsets in half grid pixels `[..., 2]` -> biases `[..., head]`."""
        angles = (offset[..., None] * self.frequencies.to(offset.dtype)).flatten(-2)
        bias: Tensor = self.proj(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return bias


def position_bias(
    head: int,
    posenc_type: str | None = None,
    posenc_scale: float = 6,
    enc_dims: int = 256,
    hidden_dims: int = 32,  # noqa: ARG001  (published specs give it to every type)
    gamma: float = 1,  # noqa: ARG001
    complex_transform: bool = False,
) -> SinusoidBias:
    """Build from the args of a published `pb_spec`.

    Raises:
        UnsupportedModelError: a type of encoding that this version does not know.
    """
    if posenc_type != "sinusoid" or complex_transform:
        raise UnsupportedModelError(
            f"Unknown position encoding {posenc_type!r}; this version knows 'sinusoid'."
        )
    if enc_dims % 4:
        raise UnsupportedModelError(f"The encoding's enc_dims is {enc_dims}, no multiple of 4.")
    return SinusoidBias(head, posenc_scale, enc_dims)
