"""A model that learns: its weights, their moving average, the optimizer."""

from __future__ import annotations

import copy
import dataclasses
import logging
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from clit_deploy.errors import TrainingError
from clit_deploy.training.gradients import add_gradients
from clit_deploy.training.stages import grown, up_to
from clit_deploy.training.teacher import Teacher

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.gradients import Batch
    from clit_deploy.training.state import State
    from clit_deploy.training.training_config import Config

log = logging.getLogger(__name__)

BETAS = (0.9, 0.99)


class Learner:
    """One step after the other.

    Args:
        model: the network with all its stages.
        stages: how many of them are trained from the first step on.
        config: the recipe.
        device: where it learns.
        bfloat16: whether products run in bfloat16.
    """

    def __init__(
        self,
        model: ImplicitModel,
        stages: int,
        config: Config,
        device: torch.device,
        *,
        bfloat16: bool,
    ) -> None:
        self.config, self.bfloat16 = config, bfloat16
        self.teacher = Teacher.of(config, device, bfloat16=bfloat16)
        # One image at a time keeps the decoder in a CPU's cache; a GPU takes what fits.
        self.images = config.batch if device.type == "cuda" else 1
        # Convolutions are a third faster with channels last, on CPUs as on GPUs.
        self.model = model.train().to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stages = stages
        model.encoder.requires_grad_(config.encoder_rate > 0)
        for name, parameter in model.named_parameters():
            if name.startswith(("encoder.sub_mean", "encoder.add_mean")):  # fixed, as published
                parameter.requires_grad_(False)
        self.average = copy.deepcopy(model).eval().requires_grad_(False) if config.ema else None
        self.optimizer = self._new_optimizer()

    @property
    def best(self) -> ImplicitModel:
        """The model that is validated: the average where one is kept."""
        return self.average or self.model

    def _new_optimizer(self) -> torch.optim.Optimizer:
        encoder = [p for p in self.model.encoder.parameters() if p.requires_grad]
        known = {id(p) for p in encoder}
        others = [p for p in self.model.parameters() if p.requires_grad and id(p) not in known]
        groups = [{"params": others}] + [{"params": encoder}] * bool(encoder)
        return torch.optim.Adam(groups, self.config.lr, betas=BETAS, fused=True)

    def grow(self) -> None:
        """Let the stages that are not trained yet begin from the first."""
        for model in {id(m): m for m in (self.model, self.best)}.values():
            model.load_state_dict(grown(model, up_to(self.stages, model.state_dict())))
        self.stages = self.config.stages

    def learn(self, batch: Batch, rates: tuple[float, float], step: int) -> Tensor:
        """One step; returns the loss, on the device.

        Args:
            batch: what to learn from.
            rates: of the decoder and of the encoder.
            step: its number, from 0.

        Raises:
            TrainingError: the device has no room for it.
        """
        loss = self._gradients(batch)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=False):
            group["lr"] = rate
        self.optimizer.step()
        if self.average is not None:
            # Short at first: weights move far in the first steps.
            decay = min(self.config.ema, (1 + step) / (10 + step))
            held, current = list(self.average.parameters()), list(self.model.parameters())
            with torch.no_grad():
                average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
                average(held, [p.detach() for p in current], 0)
        return loss

    def _gradients(self, batch: Batch) -> Tensor:
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                if self.teacher and batch.taught is None:
                    taught = self.teacher.answers(batch, self.images)
                    relative = self.config.loss == "relative"
                    batch = dataclasses.replace(
                        batch, taught=taught, trust=self.config.trust, relative=relative
                    )
                return add_gradients(self.model, batch, images=self.images, bfloat16=self.bfloat16)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.images == 1:
                    raise TrainingError(self._no_room(batch)) from error
            self.images = -(-self.images // 2)
            torch.cuda.empty_cache()
            log.warning("memory is short; %d images are decoded at once from now on", self.images)

    def _no_room(self, batch: Batch) -> str:
        device, c = batch.image.device, self.config
        held = ""
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            own = torch.cuda.memory_reserved(device)
            others = max(total - free - own, 0)
            held = (
                f" Of its {total / 1e9:.1f} GB this process holds {own / 1e9:.1f} and others "
                f"{others / 1e9:.1f}."
            )
        place = "GPU" if device.type == "cuda" else "machine"
        return (
            f"The {place} ran out of memory with batch = {c.batch}, cells = {c.cells} and most = "
            f"{c.most}.{held} Give --batch {max(c.batch // 2, 1)} (or lower cells and most in the "
            "recipe), and --resume to go on from the last state."
        )

    def store(self, state: State) -> None:
        """Copy everything to the host, into a state."""
        state.stages = self.stages
        state.weights = up_to(self.stages, _on_host(self.model.state_dict().items()))
        if self.average is not None:
            state.average = up_to(self.stages, _on_host(self.average.state_dict().items()))
        # `state_dict` refers to the tensors that the next step changes.
        state.optimizer = copy.deepcopy(self.optimizer.state_dict())

    def restore(self, state: State, *, optimizer: bool) -> None:
        """Take the weights of a state, and with `optimizer` its moments too."""
        self.stages = state.stages
        self.model.load_state_dict(grown(self.model, state.weights))
        if self.average is not None:
            self.average.load_state_dict(grown(self.average, state.best()))
        self.optimizer = self._new_optimizer()
        if optimizer and state.optimizer:
            self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))


def _on_host(weights: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in weights
    }


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU or the host had no room."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
