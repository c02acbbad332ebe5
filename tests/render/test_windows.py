"""A job with a window renders a part of the whole, and encodes only what the part needs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import clit_deploy
from clit_deploy.grid.geometry import Span
from clit_deploy.grid.tiling import smallest
from clit_deploy.render.layout import Block, Layout
from clit_deploy.runtimes.host_arrays import HostArrays
from tests.helpers import photo


@pytest.fixture
def undefined(monkeypatch):
    """Tensors with undefined content hold NaN, so features that nobody computed are noticed."""

    def empty(self, shape, dtype):
        return np.full(shape, np.nan if np.issubdtype(dtype, np.floating) else 0, dtype)

    monkeypatch.setattr(HostArrays, "empty", empty)


@pytest.mark.parametrize("scale", [2.6, 9.7])
def test_a_window_is_a_part_of_the_whole(plan, undefined, scale):
    image = photo(70, 90)
    tile = smallest(plan.manifest.encoder.halo, plan.manifest.margin)
    with clit_deploy.Upscaler(plan, runtime="cpu", layout=Layout(tile, 64)) as up:
        job = up.renderer.job_of((70, 90), scale=scale)
        whole = up.renderer.prepare(job).array(image)
        height, width = job.output
        for rows, cols in [
            (Span(0, 1), Span(0, 1)),
            (Span(height - 1, height), Span(width - 30, width)),
            (Span(height // 3, height // 2), Span(width // 2, width // 2 + 41)),
            (Span(0, height), Span(7, 8)),
        ]:
            part = dataclasses.replace(job, window=Block(rows, cols))
            made = up.renderer.prepare(part).array(image)
            expected = whole[rows.start : rows.stop, cols.start : cols.stop]
            assert made.shape == expected.shape
            assert np.abs(made - expected).max() <= 1e-5
