"""A device without room says how the work would have to be cut, and that is true."""

from __future__ import annotations

import contextlib
import dataclasses
import re

import numpy as np
import pytest

from clit_deploy.engines.build import EngineLimits
from clit_deploy.errors import DeviceMemoryError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.protocols import ON_DEVICE
from clit_deploy.system import memory
from clit_deploy.upscaler import Upscaler
from tests.fakes.machine import Machine
from tests.helpers import photo

IMAGE = photo(200, 200)
TOTAL = 5_000_000
"""Bytes of the device: less than a tile of 192 takes."""


@contextlib.contextmanager
def upscaler(plan, tile=192, chunk=24, max_memory=None, **device):
    machine = Machine.make(**{"total": TOTAL, **device})
    machine.module.bytes_per_number = 56  # about what the plan says of its encoder
    built = machine.built(plan, EngineLimits(tile, block=64, chunk=chunk))
    with Upscaler(built, runtime=machine.runtime(built), max_memory=max_memory) as up:
        yield up


def said(plan, **device):
    """What an upscaler says that has not enough memory."""
    with (
        upscaler(plan, **device) as up,
        pytest.raises(
            DeviceMemoryError, match=r"more are needed, .* free, and this process uses"
        ) as caught,
    ):
        up.upscale(IMAGE, scale=2)
    return str(caught.value)


@pytest.fixture(scope="module")
def plan(plans):
    return Plan.open(plans["liif"])


def test_engines_for_the_tile_that_is_named_fit(plan):
    text = said(plan)
    found = re.search(r"What should fit: clit-deploy build --tile (\d+) --chunk 1\.$", text)
    with upscaler(plan, int(found[1]), 1) as up:
        assert up.runtime.work_limits.max_tile < 192
        assert np.isfinite(up.upscale(IMAGE, scale=2)).all()


def test_where_memory_is_shared_its_limit_is_named(plan, monkeypatch):
    """The budget then cuts smaller tiles."""
    monkeypatch.setattr(memory, "resident", lambda: 100_000_000)
    text = said(plan, integrated=1)
    found = re.search(r"What should fit: --max-memory (\d+MB)\.$", text)
    with upscaler(plan, max_memory=found[1], integrated=1) as up:
        assert np.isfinite(up.upscale(IMAGE, scale=2)).all()


def test_where_nothing_would_fit_that_is_said(plan):
    assert said(plan, total=1 << 16).endswith("Not even the smallest tiles are expected to fit.")


def test_without_engines_another_runtime_is_named(plan, monkeypatch):
    """ONNX Runtime's CUDA provider has nothing that could be built smaller."""
    work_limits = dataclasses.replace(ON_DEVICE, max_tile=None)
    machine = Machine.make(total=TOTAL)
    machine.module.bytes_per_number = 56
    built = machine.built(plan, EngineLimits(256, block=400, chunk=24))
    runtime = machine.runtime(built)
    monkeypatch.setattr(runtime, "work_limits", work_limits)
    with (
        Upscaler(built, runtime=runtime) as up,
        pytest.raises(DeviceMemoryError, match=r"Close other programs\. Use --runtime cpu\.$"),
    ):
        up.upscale(IMAGE, scale=2)
