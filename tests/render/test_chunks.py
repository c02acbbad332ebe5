"""How many cells decode at once."""

import dataclasses

import pytest

from clit_deploy.plan.plan_file import Plan
from clit_deploy.render.layout import LARGEST_FACTOR, cells_at_once
from clit_deploy.runtimes.protocols import ON_DEVICE, on_cpu


@pytest.fixture(scope="module")
def info(plans):
    return Plan.open(plans["clit"]).manifest.stages[0]


def chunk_bytes(info, n, limits):
    return cells_at_once(info, n, limits) * (info.cell_bytes + n * info.query_bytes)


def test_a_small_model_decodes_more_cells_at_once_on_a_cpu(info):
    assert cells_at_once(info, 4, on_cpu(1)) == LARGEST_FACTOR * info.chunk_cells
    published = dataclasses.replace(info, cell_bytes=602_112, query_bytes=17_600)
    assert cells_at_once(published, 4, on_cpu(1)) == info.chunk_cells


@pytest.mark.parametrize("threads", [1, 2, 8, 64])
@pytest.mark.parametrize("n", [1, 4, 16])
def test_the_chunks_of_all_threads_stay_small(info, threads, n):
    info = dataclasses.replace(info, cell_bytes=64_000, query_bytes=4_448)  # clit-fast
    stated = info.chunk_cells * info.cell_bytes + info.chunk_queries * info.query_bytes
    found = chunk_bytes(info, n, on_cpu(threads))
    assert found <= 60e6
    assert found * threads <= max(240e6, stated * threads)


def test_other_decoders_and_devices_take_what_the_plan_states(info, plans):
    liif = Plan.open(plans["liif"]).manifest.stages[0]
    assert cells_at_once(liif, 1, on_cpu(1)) == liif.chunk_cells
    assert cells_at_once(info, 1, ON_DEVICE) == ON_DEVICE.chunk_factor * info.chunk_cells
