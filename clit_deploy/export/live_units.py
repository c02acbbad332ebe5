"""Leaves out the hidden units of an MLP that nothing reads: a pruned model keeps their zeros."""

from __future__ import annotations

import torch

from clit_deploy.models.mlp import MLP


@torch.no_grad()
def live_units(mlp: MLP) -> MLP:
    """The same function without the units whose outgoing weights are all zero.

    Args:
        mlp: stays as it is.

    Returns: `mlp` itself where every unit is read, else a copy; a layer keeps one unit at least.
    """
    linears = mlp.linears
    kept = [torch.arange(linears[-1].out_features)]
    for layer in reversed(linears[1:]):
        read = layer.weight[kept[0]].any(dim=0).nonzero().flatten()
        kept.insert(0, read if len(read) else torch.zeros(1, dtype=torch.long))
    widths = [len(units) for units in kept]
    if widths == [layer.out_features for layer in linears]:
        return mlp
    small = MLP(linears[0].in_features, widths[-1], widths[:-1], mlp.act).to(linears[0].weight)
    inputs = [torch.arange(linears[0].in_features), *kept]
    for own, layer, units, read in zip(small.linears, linears, kept, inputs, strict=False):
        own.weight.copy_(layer.weight[units][:, read])
        own.bias.copy_(layer.bias[units])
    return small.eval().requires_grad_(False)
