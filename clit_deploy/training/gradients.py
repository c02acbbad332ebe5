"""The loss of a batch and its gradients, decoded a few images at a time.

Images meet only in the mean, so the decoder runs on a few at once and the gradients at what it
starts from add up; the encoder runs once, forward and backward, on the whole batch. On a CPU one
image at a time keeps the decoder's arrays in the cache; on a GPU all at once is fastest, and fewer
need less memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from clit_deploy.training.answer import decoder_input, dense_answer, is_dense
from clit_deploy.training.per_query import query_places

if TYPE_CHECKING:
    from torch import Tensor

    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.patch import Patch


FLOOR = 2e-4
"""Added to the teacher's squared error (43 dB): what it knows nearly exactly counts no more."""


@dataclass(frozen=True)
class Batch:
    """Low-resolution crops and what a patch of them should be."""

    image: Tensor
    """`[b, 3, low, low]`, -1 to 1, float32."""
    truth: Tensor
    """`[b, 3, rows, cols]`, -1 to 1, float32."""
    patch: Patch
    places: Tensor
    """Output pixels that a family without a dense form answers, int64 `[b, q, 2]`."""
    taught: Tensor | None = None
    """What a teacher answers for the patch, like `truth`."""
    trust: float = 0.0
    """Share of the loss that is the distance from `taught`; the rest is that from `truth`."""
    relative: bool = False
    """Whether the distance is the squared error beside the teacher's own, image by image."""

    def targets(self, part: slice) -> list[tuple[float, Tensor]]:
        """What some of the images should be, with the share of each target in the loss."""
        if self.taught is None:
            return [(1.0, self.truth[part])]
        return [(1 - self.trust, self.truth[part]), (self.trust, self.taught[part])]

    def usual(self, part: slice) -> Tensor | None:
        """The teacher's mean squared error on some of the images `[b]`, for a relative loss."""
        if not self.relative or self.taught is None:
            return None
        return (self.taught[part] - self.truth[part]).square().flatten(1).mean(dim=1)


def add_gradients(
    model: ImplicitModel, batch: Batch, *, images: int, bfloat16: bool = False
) -> Tensor:
    """Add the gradients of the mean absolute error, or of the squared error beside the teacher's,
    to those that the weights have.

    Args:
        model: the network, in training mode.
        batch: crops, truth, and what a teacher answers.
        images: how many images are decoded at once.
        bfloat16: whether products run in bfloat16 (`torch.autocast`).

    Returns: the loss, in the network's own domain of -1..1 or relative, float32, without a graph.
    """
    device, count = batch.image.device.type, len(batch.image)
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        start = decoder_input(model, batch.image)
        leaf = start.detach().requires_grad_()
        total = torch.zeros((), device=start.device)
        for first in range(0, count, images):
            part = slice(first, first + images)
            loss = _loss(model, leaf[part], batch, part) * (len(leaf[part]) / count)
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
    if start.requires_grad:  # not where nothing before the decoder is trained
        start.backward(leaf.grad)  # type: ignore[no-untyped-call]
    return total


def _loss(model: ImplicitModel, start: Tensor, batch: Batch, part: slice) -> Tensor:
    image, targets, usual = batch.image[part], batch.targets(part), batch.usual(part)
    if is_dense(model):
        return _distance(dense_answer(model, start, image, batch.patch), targets, usual)
    with torch.autocast(image.device.type, enabled=False):
        places = batch.places[part]
        corner = places.new_tensor([batch.patch.rows.start, batch.patch.cols.start])
        rows, cols = (places - corner).unbind(dim=-1)
        found = [
            query_places(model, start[k : k + 1], image[k : k + 1], batch.patch, places[k])
            for k in range(len(image))
        ]
        images = torch.arange(len(image), device=image.device)[:, None]
        asked = [(share, target[images, :, rows, cols]) for share, target in targets]
        return _distance(torch.stack(found), asked, usual)


def _distance(found: Tensor, targets: list[tuple[float, Tensor]], usual: Tensor | None) -> Tensor:
    """How far images are from what they should be, the mean over them."""
    if usual is None:
        return torch.stack([share * functional.l1_loss(found, t) for share, t in targets]).sum()
    squares = [share * (found - t).square().flatten(1).mean(dim=1) for share, t in targets]
    return (torch.stack(squares).sum(dim=0) / (usual + FLOOR)).mean()
