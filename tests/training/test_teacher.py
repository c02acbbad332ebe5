"""Learning from the answers of another model."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from clit_deploy.errors import MissingFileError, TrainingError
from clit_deploy.models import build_model
from clit_deploy.training.answer import answer
from clit_deploy.training.gradients import FLOOR, add_gradients
from clit_deploy.training.learner import Learner
from clit_deploy.training.per_query import every_place
from clit_deploy.training.teacher import Teacher
from clit_deploy.training.training_config import Config, check_config
from tests.helpers import tiny_checkpoint, tiny_clit, tiny_liif, tiny_lit, tiny_lte
from tests.training.test_grouped import batch_of

CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path):
    spec = tiny_clit(stages=2, r=1)
    args = {k: v for k, v in spec["args"].items() if k not in ("imnet_num", "conv_num")}
    teacher = tiny_checkpoint(tmp_path, tiny_liif(), "teacher.pth")
    model = {"name": "clit", "args": args}
    return Config(model, stages=2, teacher=str(teacher), trust=1.0, warmup=1, lr=3e-3)


def learner_of(config):
    torch.manual_seed(0)
    return Learner(build_model(config.spec(2)), 2, config, CPU, bfloat16=False)


@pytest.mark.parametrize("trust", [0.0, 0.3, 1.0])
def test_the_loss_is_shared_between_teacher_and_truth(config, trust):
    batch = batch_of((4.0, 1.7), 0.2, 0.6)
    model = learner_of(config).model
    taught = Teacher.of(config, CPU, bfloat16=False).answers(batch, 1)
    assert taught.shape == batch.truth.shape
    found = answer(model, batch.image, batch.patch)
    parts = [(found - target).abs().mean().item() for target in (taught, batch.truth)]
    loss = add_gradients(
        model, dataclasses.replace(batch, taught=taught, trust=trust), images=1
    ).item()
    assert loss == pytest.approx(trust * parts[0] + (1 - trust) * parts[1], rel=1e-5)


def test_a_relative_loss_is_the_squared_error_beside_the_teacher_s(config):
    batch = batch_of((4.0, 1.7), 0.2, 0.6)
    model = learner_of(config).model
    taught = Teacher.of(config, CPU, bfloat16=False).answers(batch, 1)
    found = answer(model, batch.image, batch.patch)
    own, from_truth, usual = (
        (a - b).square().mean(dim=(1, 2, 3))
        for a, b in ((found, taught), (found, batch.truth), (taught, batch.truth))
    )
    wanted = ((0.7 * own + 0.3 * from_truth) / (usual + FLOOR)).mean().item()
    batch = dataclasses.replace(batch, taught=taught, trust=0.7, relative=True)
    for images in (1, 2):
        loss = add_gradients(model, batch, images=images).item()
        assert loss == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("family", [tiny_lit, tiny_lte])
def test_a_relative_loss_place_by_place(config, family):
    batch = batch_of((2.3,), 0.5, 0.5)
    taught = Teacher.of(config, CPU, bfloat16=False).answers(batch, 1)
    model = build_model(family()).eval()
    patch, every = batch.patch, every_place(batch.patch, CPU)
    whole = answer(model, batch.image, patch)
    usual = (taught - batch.truth).square().mean(dim=(1, 2, 3))
    wanted = ((whole - taught).square().mean(dim=(1, 2, 3)) / (usual + FLOOR)).mean().item()
    batch = dataclasses.replace(
        batch,
        places=every.expand(len(batch.image), -1, -1),
        taught=taught,
        trust=1.0,
        relative=True,
    )
    assert add_gradients(model, batch, images=2).item() == pytest.approx(wanted, rel=1e-4)


def test_a_learner_asks_its_teacher_for_a_relative_loss(config):
    batch = batch_of((2.3,), 0.5, 0.5)
    first = {}
    for loss in ("absolute", "relative"):
        learner = learner_of(dataclasses.replace(config, loss=loss))
        first[loss] = float(learner.learn(batch, (1e-4, 1e-4), 0))
        later = [float(learner.learn(batch, (3e-3, 3e-3), step)) for step in range(1, 30)]
        assert later[-1] < 0.8 * first[loss]
    assert first["absolute"] != pytest.approx(first["relative"], rel=0.05)


def test_a_relative_loss_without_a_teacher_is_refused(config):
    with pytest.raises(TrainingError, match=r"needs a teacher; name one, or take 'absolute'"):
        check_config(dataclasses.replace(config, loss="relative", teacher=""), "the recipe")
    with pytest.raises(TrainingError, match=r"loss = 'l3' .* absolute and relative"):
        check_config(dataclasses.replace(config, loss="l3"), "the recipe")


def test_a_model_comes_to_answer_as_its_teacher_does(config):
    learner = learner_of(config)
    batch = batch_of((2.3,), 0.5, 0.5)  # its truth is noise
    taught = learner.teacher.answers(batch, 2)
    losses = [float(learner.learn(batch, (3e-3, 3e-3), step)) for step in range(60)]
    with torch.no_grad():
        found = answer(learner.model, batch.image, batch.patch)
    assert float((found - taught).abs().mean()) < 0.5 * losses[0]
    again = Teacher.of(config, CPU, bfloat16=False).answers(batch, 1)
    assert torch.allclose(taught, again, atol=1e-6)  # it does not learn itself


def test_a_teacher_that_is_missing_and_a_share_that_is_none_are_refused(config, tmp_path):
    with pytest.raises(MissingFileError, match=r"teacher in the recipe.*nobody\.pth"):
        check_config(
            dataclasses.replace(config, teacher=str(tmp_path / "nobody.pth")), "the recipe"
        )
    with pytest.raises(TrainingError, match=r"trust = 1\.5 .* between 0 and 1"):
        check_config(dataclasses.replace(config, trust=1.5), "the recipe")
