"""One batch through a cascade: the loss of the last stage used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from clit_deploy.grid.cascade import StageGrid
from clit_deploy.grid.geometry import Axis
from clit_deploy.models.implicit_model import sample

if TYPE_CHECKING:
    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.data import Batch


def loss_of(model: ImplicitModel, batch: Batch, device: torch.device) -> Tensor:
    """Mean absolute error in the network's own domain, -1..1.

    Stage `s` works on the grid of the crop times the factors of the stages before it (CLIT,
    section 3.3). The model answers one image at a time; the encoder takes the whole batch. On a
    GPU the encoder runs in bfloat16; the position encodings cannot, so the decoders do not.
    """
    inp = torch.from_numpy(batch.lr).to(device) * 2 - 1
    coords = torch.from_numpy(batch.coords).to(device, inp.dtype)
    rgb = torch.from_numpy(batch.rgb).to(device) * 2 - 1
    with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
        features = model.encoder(inp)
    features = features.float()
    low = batch.lr.shape[-1]
    scale = math.prod(batch.factors)
    cell = torch.tensor(model.cell((batch.size, batch.size), scale), device=device)
    losses = []
    for k in range(len(inp)):
        answer = torch.zeros_like(rgb[k])
        for stage in range(len(batch.factors)):
            grid = round(low * math.prod(batch.factors[:stage]))
            stage_grid = StageGrid((Axis(low, grid),) * 2, (Axis(grid, batch.size),) * 2)
            maps = model.stage_maps(features[k : k + 1], stage_grid, stage)
            answer = model.query(maps, coords[k], cell, stage) + model.decay * answer
        if model.bilinear_base:
            answer = answer + sample(inp[k : k + 1], coords[k], "bilinear", "border")
        losses.append(nn.functional.l1_loss(answer, rgb[k]))
    return torch.stack(losses).mean()
