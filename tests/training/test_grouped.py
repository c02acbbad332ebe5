"""Patches that are decoded at once against the definition, query by query: loss and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from clit_deploy.grid.geometry import Span
from clit_deploy.models import build_model
from clit_deploy.training import dense_clit
from clit_deploy.training.answer import answer
from clit_deploy.training.gradients import Batch, add_gradients
from clit_deploy.training.patch import Patch
from clit_deploy.training.per_query import every_place, query_places
from tests.helpers import posenc, tiny_clit, tiny_liif, tiny_lit, tiny_lte

LOW, SIDE = 10, 11
SINUSOID = {"name": "posenc", "args": {"posenc_type": "sinusoid", "posenc_scale": 4}}


def batch_of(factors, top, left, images=2):
    # No output centre lies on a border of grid pixels, where float32 coordinates decide by chance.
    torch.manual_seed(1)
    size = round(LOW * math.prod(factors))
    side = min(SIDE, size)
    rows, cols = (
        Span(s, s + side) for s in (round(top * (size - side)), round(left * (size - side)))
    )
    return Batch(
        torch.rand(images, 3, LOW, LOW) * 2 - 1,
        torch.rand(images, 3, side, side) * 2 - 1,
        Patch(LOW, size, factors, rows, cols),
        torch.zeros(images, 0, 2, dtype=torch.int64),
    )


def per_query(model, batch):
    """The loss as the paper has it, with float64 in the network."""
    image = batch.image.to(next(model.parameters()).dtype)
    places = every_place(batch.patch, image.device)
    features = model.encoder(image)
    found = torch.stack(
        [
            query_places(model, features[k : k + 1], image[k : k + 1], batch.patch, places)
            for k in range(len(image))
        ]
    )
    truth = batch.truth.to(image.dtype).flatten(2).permute(0, 2, 1)
    return functional.l1_loss(found, truth)


def gradients(model):
    return {k: p.grad.double() for k, p in model.named_parameters() if p.grad is not None}


def assert_equal(spec, batch, images=1, tolerance=2e-4):
    torch.manual_seed(0)
    model = build_model(spec)
    loss = add_gradients(model, batch, images=images)
    got = gradients(model)
    model.zero_grad(set_to_none=True)
    expected = per_query(model.double(), batch)
    expected.backward()
    wanted = gradients(model)
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    assert got.keys() == wanted.keys()
    # What comes back from all weights together is small beside its parts for a few of them.
    whole = max(float(g.abs().max()) for g in wanted.values())
    for key, value in wanted.items():
        scale = max(float(value.abs().max()), 1e-4 * whole)
        assert float((got[key] - value).abs().max()) < tolerance * scale, key


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0.4, 1)])
@pytest.mark.parametrize(
    "factors", [(1.0,), (1.7,), (3.9,), (4.0, 2.3), (1.3, 3.4), (4.0, 4.0, 1.7)]
)
def test_loss_and_gradients_are_those_of_single_queries(factors, corner):
    assert_equal(tiny_clit(stages=3, r=2, pb_spec=SINUSOID), batch_of(factors, *corner))


@pytest.mark.parametrize(
    "changes",
    [
        {"pb_spec": posenc("learn", enc_dims=12, hidden_dims=8)},
        {"pb_spec": posenc("dpb", enc_dims=8, hidden_dims=8)},
        {"pb_spec": posenc("ipe", posenc_scale=4)},
        {"pb_spec": None},
        {"pb_spec": SINUSOID, "is_cell": False},
        {"pb_spec": SINUSOID, "r": 1},
    ],
)
def test_every_encoding_and_option_has_the_grouped_form(changes):
    assert_equal(tiny_clit(stages=2, **changes), batch_of((4.0, 2.3), 0.3, 1))


@pytest.mark.parametrize("first", [1, 1000])
def test_both_orders_of_the_first_layer_are_the_same_function(first, monkeypatch):
    monkeypatch.setattr(dense_clit, "SHARED_FROM", first)
    assert_equal(tiny_clit(stages=1, r=2, pb_spec=SINUSOID), batch_of((2.7,), 0.5, 0.5))


def test_the_number_of_images_that_are_decoded_at_once_changes_nothing():
    assert_equal(
        tiny_clit(stages=2, pb_spec=SINUSOID), batch_of((4.0, 1.9), 0, 1, images=3), images=2
    )


def test_a_patch_is_a_part_of_the_rendered_picture():
    model = build_model(tiny_clit(stages=2, r=2))
    batch = batch_of((4.0, 1.7), 0.7, 0.2, images=1)
    size = batch.patch.size
    image = (batch.image[0].permute(1, 2, 0) + 1) / 2
    whole = model.render(image, (size, size), batch.patch.scale)
    with torch.no_grad():
        found = (answer(model, batch.image, batch.patch)[0].permute(1, 2, 0) + 1) / 2
    rows, cols = batch.patch.rows, batch.patch.cols
    part = whole[rows.start : rows.stop, cols.start : cols.stop]
    assert float((found - part).abs().max()) < 1e-3 * float(whole.std())


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0.4, 1)])
@pytest.mark.parametrize("factor", [1.0, 1.7, 3.9])
def test_liif_has_the_grouped_form(factor, corner):
    assert_equal(tiny_liif(), batch_of((factor,), *corner))


@pytest.mark.parametrize(
    "changes", [{"local_ensemble": False}, {"feat_unfold": False}, {"cell_decode": False}]
)
def test_every_option_of_liif_has_the_grouped_form(changes):
    assert_equal(tiny_liif(**changes), batch_of((2.3,), 0, 1))


@pytest.mark.parametrize("make", [tiny_lte, tiny_lit])
def test_other_families_answer_places_of_a_patch(make):
    torch.manual_seed(0)
    model = build_model(make())
    batch = batch_of((2.3,), 0.5, 0.5)
    corner = torch.tensor([batch.patch.rows.start, batch.patch.cols.start])
    places = every_place(batch.patch, batch.image.device)
    asked = Batch(batch.image, batch.truth, batch.patch, places.expand(2, -1, -1))
    assert (places - corner).min() == 0
    loss = add_gradients(model, asked, images=1)
    assert float(loss) == pytest.approx(per_query(model, batch).item(), rel=1e-5)
    dense = functional.l1_loss(answer(model, batch.image, batch.patch), batch.truth)
    assert float(loss) == pytest.approx(dense.item(), rel=1e-5)


def test_bfloat16_is_near_float32():
    torch.manual_seed(0)
    model = build_model(tiny_clit(stages=2, r=2, pb_spec=SINUSOID))
    batch = batch_of((4.0, 2.3), 0.3, 0.6)
    exact = add_gradients(model, batch, images=2)
    wanted = gradients(model)
    model.zero_grad(set_to_none=True)
    loss = add_gradients(model, batch, images=2, bfloat16=True)
    assert float(loss) == pytest.approx(float(exact), rel=1e-3)
    got = gradients(model)
    error = sum(float(((got[k] - g) ** 2).sum()) for k, g in wanted.items())
    assert error < 0.05**2 * sum(float((g**2).sum()) for g in wanted.values())
