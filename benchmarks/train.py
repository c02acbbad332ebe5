"""Queries a second of a training step: single queries, dense patches, dense patches in bfloat16.

    python -m benchmarks.train [--recipe train/slim.toml] [--threads 1] [--turns 6] [--json FILE]
        [--crop 32 --queries 512] [--cells 44 --most 192]

All three take turns on the same scales and weights in one process, and on the same crops unless
--crop gives the per-query form its own; a step is forward, backward, clipping, Adam and the moving
average. "per query" is the form of the papers: the encoder
on the batch, then one image after the other with random places (as `train` did until commit
bc500a2, and still does for families without a dense form). Times are of the processor, so that
other work on the machine does not decide; with one thread they are what a quiet machine takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from benchmarks.common import report
from clit_deploy.models import build_model
from clit_deploy.training import learner
from clit_deploy.training.batches import draw, to_batch
from clit_deploy.training.gradients import add_gradients
from clit_deploy.training.learner import Learner
from clit_deploy.training.per_query import query_places
from clit_deploy.training.precision import bfloat16_gain
from clit_deploy.training.synthetic import synthetic
from clit_deploy.training.training_config import CHECKPOINTS, Config, read_config

if TYPE_CHECKING:
    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.gradients import Batch

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")


def per_query_gradients(model: ImplicitModel, batch: Batch, **_: Any) -> torch.Tensor:
    """The loss at the batch's places, and its gradients, one query at a time."""
    features = model.encoder(batch.image)
    corner = batch.places.new_tensor([batch.patch.rows.start, batch.patch.cols.start])
    losses = []
    for k, places in enumerate(batch.places):
        row, column = (places - corner).T
        part = slice(k, k + 1)
        found = query_places(model, features[part], batch.image[part], batch.patch, places)
        losses.append(functional.l1_loss(found, batch.truth[k, :, row, column].T))
    loss = torch.stack(losses).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


class Contender:
    """One way to take a step, and what it has taken so far."""

    def __init__(self, config: Config, *, bfloat16: bool = False, single: bool = False) -> None:
        torch.manual_seed(0)
        model = build_model(config.spec(config.stages))
        self.learner = Learner(model, config.stages, config, CPU, bfloat16=bfloat16)
        self.single = single
        self.queries, self.seconds = 0, 0.0

    def step(self, batch: Batch) -> None:
        """Take a step and count it."""
        form = per_query_gradients if self.single else add_gradients
        start = time.process_time()
        with mock.patch.object(learner, "add_gradients", form):
            self.learner.learn(batch, (1e-4, 1e-5), 100)
        self.seconds += time.process_time() - start
        answered = batch.places[..., 0] if self.single else batch.truth[:, 0]
        self.queries += answered.numel()

    def reset(self) -> None:
        """Forget the warm-up."""
        self.queries, self.seconds = 0, 0.0


def measure(config: Config, before: Config, stages: int, turns: int) -> dict[str, Any]:
    """Queries a second of each form, for steps that use up to so many stages."""
    contenders = {
        "per query": Contender(before, single=True),
        "dense": Contender(config),
    }
    if bfloat16_gain() > 1:
        contenders["dense bf16"] = Contender(config, bfloat16=True)
    rng = np.random.default_rng(0)
    photos = [synthetic(512, rng) for _ in range(8)]
    for turn in range(-1, turns):
        for contender in contenders.values():
            own = contender.learner.config
            contender.step(to_batch(draw(photos, own, stages, turn + 1, own.queries), CPU))
            if turn < 0:
                contender.reset()
    rates = {name: c.queries / c.seconds for name, c in contenders.items()}
    row: dict[str, Any] = {"stages": stages}
    row |= {f"{name} kq/s": rate / 1e3 for name, rate in rates.items()}
    row |= {
        f"{name} / per query": rate / rates["per query"]
        for name, rate in rates.items()
        if name != "per query"
    }
    return row


def without_checkpoints(path: Path) -> Config:
    """A recipe without the weights that it starts from: they do not change its speed."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text("".join(x for x in lines if not x.startswith(CHECKPOINTS)))
        return read_config(copy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=ROOT / "train" / "slim.toml")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, help="crop of the per-query form")
    parser.add_argument("--queries", type=int, help="queries a crop of the per-query form")
    parser.add_argument(
        "--cells", type=int, help="side of the dense patch, in low-resolution pixels"
    )
    parser.add_argument("--most", type=int, help="largest side of the dense patch")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = dataclasses.replace(without_checkpoints(args.recipe), batch=args.batch)
    before = dataclasses.replace(
        config, crop=args.crop or config.crop, queries=args.queries or config.queries
    )
    config = dataclasses.replace(
        config, cells=args.cells or config.cells, most=args.most or config.most
    )
    rows = [measure(config, before, stages, args.turns) for stages in sorted({1, config.stages})]
    report(f"{args.recipe.stem}, {args.threads} threads, batch {args.batch}", rows, args.json)


if __name__ == "__main__":
    main()
