"""SwinIR without its upsampler (Liang et al., ICCV Workshops 2021, figure 2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.edsr import conv3
from clit_deploy.models.implicit_model import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT_DIM = 64
HALO = 32
"""With random weights, pixels beyond it change features by at most 1/2000 of their standard
deviation."""
APART = -100.0
"""Added to the logits of two pixels that only a cyclic shift has brought into one window."""


def bias_index(window: int) -> Tensor:
    """The row of the bias table for every pair of pixels in a window, int64 `[w * w, w * w]`."""
    index = torch.arange(window * window)
    row, col = index // window, index % window
    rows, cols = (axis[:, None] - axis + window - 1 for axis in (row, col))
    return rows * (2 * window - 1) + cols


def seam_masks(window: int) -> Tensor:
    """Masks of a window that a shift by half its side wraps along the rows, and along the columns.

    Returns: `[2, w * w, w * w]`, `APART` where one pixel of a pair comes from the opposite edge.
    """
    index = torch.arange(window * window)
    wrapped = torch.stack([index // window, index % window]) >= window - window // 2
    return APART * (wrapped[:, :, None] != wrapped[:, None]).float()


def shift_mask(seams: Tensor, rows: int, cols: int) -> Tensor:
    """Mask for `rows x cols` shifted windows, `[rows * cols, w * w, w * w]`.

    Only the windows of the last row and of the last column are wrapped.
    """
    last_row, last_col = (
        (torch.arange(n, device=seams.device) == n - 1).to(seams.dtype)[:, None, None]
        for n in (rows, cols)
    )
    mask = torch.minimum((last_row * seams[0])[:, None], (last_col * seams[1])[None])
    return mask.flatten(0, 1)


def rolled(x: Tensor, shift: int) -> Tensor:
    """`[1, h, w, C]` rolled by `shift` pixels to the upper left, or back if negative."""
    x = torch.cat([x[:, shift:], x[:, :shift]], dim=1)
    return torch.cat([x[:, :, shift:], x[:, :, :shift]], dim=2)


class Attention(nn.Module):
    """Attention within windows, with a learned bias for the offset of two pixels."""

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window, self.scale = heads, window, (dim // heads) ** -0.5
        table = torch.empty((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", bias_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`[1, h, w, dim]`, a mask `[windows, w * w, w * w]` or none -> `[1, h, w, dim]`."""
        q, k, v = (self._windows(part) for part in self.qkv(x).chunk(3, dim=-1))
        logits = (q * self.scale) @ k.transpose(2, 3) + self._bias()
        if mask is not None:
            logits = logits + mask[:, None]
        out: Tensor = self.proj(self._image(logits.softmax(dim=-1) @ v, x))
        return out

    def _windows(self, x: Tensor) -> Tensor:
        """`[1, h, w, dim]` -> `[windows, heads, w * w, dim / heads]`."""
        _, height, width, dim = x.shape
        side, depth = self.window, dim // self.heads
        split = x.reshape(height // side, side, width // side, side, self.heads, depth)
        return split.permute(0, 2, 4, 1, 3, 5).reshape(-1, self.heads, side * side, depth)

    def _image(self, x: Tensor, like: Tensor) -> Tensor:
        """The inverse of `_windows`: `[1, h, w, dim]`, the shape of `like`."""
        _, height, width, _ = like.shape
        side = self.window
        split = x.reshape(height // side, width // side, self.heads, side, side, -1)
        return split.permute(0, 3, 1, 4, 2, 5).reshape(like.shape)

    def _bias(self) -> Tensor:
        """`[heads, w * w, w * w]`, from weights alone, so it is a constant in exported graphs."""
        index = self.relative_position_index
        table = self.relative_position_bias_table.index_select(0, index.flatten())
        return table.T.reshape(self.heads, *index.shape)


class Block(nn.Module):
    """Attention and an MLP, each after a norm and added to its input; windows shifted or not."""

    def __init__(
        self, dim: int, heads: int, window: int, hidden: int, stored_mask: Tensor | None
    ) -> None:
        super().__init__()
        self.shift = 0 if stored_mask is None else window // 2
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        layers = {"fc1": nn.Linear(dim, hidden), "act": nn.GELU(), "fc2": nn.Linear(hidden, dim)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        # Never read: checkpoints contain the mask for the training size.
        self.register_buffer("attn_mask", stored_mask)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`[1, h, w, dim]` and the mask of its shifted windows -> `[1, h, w, dim]`."""
        normed = self.norm1(x)
        if self.shift:
            x = x + rolled(self.attn(rolled(normed, self.shift), mask), -self.shift)
        else:
            x = x + self.attn(normed, None)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Blocks(nn.Module):
    """Blocks with windows that are not shifted and shifted, in turn."""

    def __init__(
        self, dim: int, depth: int, heads: int, window: int, hidden: int, stored_mask: Tensor | None
    ) -> None:
        super().__init__()
        masks = (stored_mask if k % 2 else None for k in range(depth))
        self.blocks = nn.ModuleList(Block(dim, heads, window, hidden, mask) for mask in masks)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`[1, h, w, dim]` and the mask of its shifted windows -> `[1, h, w, dim]`."""
        for block in self.blocks:
            x = block(x, mask)
        return x


class Group(nn.Module):
    """Blocks and a convolution, added to the input (RSTB in the paper)."""

    def __init__(self, dim: int, blocks: Blocks) -> None:
        super().__init__()
        self.residual_group = blocks
        self.conv = conv3(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`[1, h, w, dim]` and the mask of its shifted windows -> `[1, h, w, dim]`."""
        mixed: Tensor = self.conv(self.residual_group(x, mask).permute(0, 3, 1, 2))
        return x + mixed.permute(0, 2, 3, 1)


class SwinIR(Encoder):
    """Shallow features, groups of Swin blocks, and a convolution to 64 channels.

    The published factory has the option `no_upsampling` only, and ignores it; the others are
    options of the network behind it. `img_size` only shapes a buffer in checkpoints.
    """

    exact: ClassVar[bool] = False

    seams: Tensor

    def __init__(
        self,
        img_size: int = 48,
        embed_dim: int = 180,
        depths: Sequence[int] = (6,) * 6,
        num_heads: Sequence[int] = (6,) * 6,
        window_size: int = 8,
        mlp_ratio: float = 2,
        no_upsampling: bool = True,  # noqa: ARG002
    ) -> None:
        super().__init__()
        _check(embed_dim, num_heads, window_size, img_size)
        self.register_buffer("seams", seam_masks(window_size), persistent=False)
        wrapped = max(depths) > 1
        stored_mask = shift_mask(self.seams, *(2 * [img_size // window_size])) if wrapped else None
        hidden = int(embed_dim * mlp_ratio)
        self.conv_first = conv3(3, embed_dim)
        self.patch_embed = nn.Sequential(OrderedDict(norm=nn.LayerNorm(embed_dim)))
        self.layers = nn.ModuleList(
            Group(embed_dim, Blocks(embed_dim, depth, heads, window_size, hidden, stored_mask))
            for depth, heads in zip(depths, num_heads, strict=True)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = conv3(embed_dim, embed_dim)
        self.conv_before_upsample = nn.Sequential(conv3(embed_dim, OUT_DIM), nn.LeakyReLU())
        self.out_dim = OUT_DIM
        self.multiple = window_size
        self.halo = -(-HALO // window_size) * window_size
        # Fitted to ONNX Runtime, which keeps a buffer of every shape until a run ends: 4.5 times
        # the memory in use at once.
        attention = 2 * max(num_heads) * window_size**2
        self.live_channels = 14 * embed_dim + 3 * hidden + attention + 1700

    def forward(self, x: Tensor) -> Tensor:
        """`[1, 3, h, w]` in -1 to 1, sides multiples of the window -> `[1, 64, h, w]`."""
        height, width = x.shape[2:]
        mask = shift_mask(self.seams, height // self.multiple, width // self.multiple)
        shallow = self.conv_first(x)
        deep = self.patch_embed(shallow.permute(0, 2, 3, 1))
        for group in self.layers:
            deep = group(deep, mask)
        deep = self.conv_after_body(self.norm(deep).permute(0, 3, 1, 2))
        out: Tensor = self.conv_before_upsample(shallow + deep)
        return out


def _check(dim: int, heads: Sequence[int], window: int, img_size: int) -> None:
    if any(dim % n for n in heads):
        raise UnsupportedModelError(
            f"SwinIR's embed_dim is {dim}; it must be a multiple of each of num_heads, {[*heads]}."
        )
    if window < 2 or window % 2:
        raise UnsupportedModelError(
            f"SwinIR's window_size is {window}; it must be a positive even integer."
        )
    if img_size <= window or img_size % window:
        raise UnsupportedModelError(
            f"SwinIR's img_size is {img_size}; it must be a multiple of the window, {window}, "
            "and larger."
        )
