"""A trained model whose answers another one learns from (Hinton, Vinyals and Dean, 2015).

The truth says what one image had at a place, which no small image determines; a good model says
what such images have there on average. A model that is to catch up learns from that in far fewer
steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from clit_deploy.models import load_checkpoint
from clit_deploy.training.answer import answer
from clit_deploy.training.first_layers import keep_first_layers_exact

if TYPE_CHECKING:
    from torch import Tensor

    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.gradients import Batch
    from clit_deploy.training.training_config import Config


class Teacher:
    """Answers for batches, without gradients.

    Args:
        model: the network, of any family.
        device: where it runs.
        bfloat16: whether its products run in bfloat16.
    """

    def __init__(self, model: ImplicitModel, device: torch.device, *, bfloat16: bool) -> None:
        keep_first_layers_exact(model.encoder)
        self.model = model.eval().requires_grad_(False).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.bfloat16 = bfloat16

    @classmethod
    def of(cls, config: Config, device: torch.device, *, bfloat16: bool) -> Teacher | None:
        """The teacher that a recipe names, if it names one.

        Raises:
            CheckpointError: a checkpoint that cannot be read.
        """
        if not config.teacher:
            return None
        return cls(load_checkpoint(Path(config.teacher)).model, device, bfloat16=bfloat16)

    @torch.no_grad()
    def answers(self, batch: Batch, images: int) -> Tensor:
        """Its answers for the patches of a batch, `[b, 3, rows, cols]`, -1 to 1, float32.

        Args:
            batch: crops.
            images: how many images are decoded at once.
        """
        with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=self.bfloat16):
            found = [
                answer(self.model, part, batch.patch) for part in torch.split(batch.image, images)
            ]
        return torch.cat(found)
