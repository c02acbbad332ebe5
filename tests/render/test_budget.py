import numpy as np
import pytest

import clit_deploy
from clit_deploy.config import parse_bytes, show_bytes
from clit_deploy.errors import MemoryBudgetError, OptionError
from clit_deploy.render.budget import choose, held_memory, working_memory
from clit_deploy.render.layout import layouts
from clit_deploy.system import memory
from tests.helpers import photo


@pytest.fixture(scope="module")
def up(plans):
    with clit_deploy.load(plans["clit"]) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "count"),
    [("2GB", 2e9), ("1.5 GiB", 1.5 * 2**30), ("800m", 8e8), (123456, 123456), ("64kb", 64e3)],
)
def test_sizes_are_read(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "2 TB", "nan"])
def test_bad_sizes_are_refused(text):
    with pytest.raises(OptionError):
        parse_bytes(text)


def test_layouts_shrink_and_so_does_their_memory(up):
    job = up.renderer.job(photo(400, 600), scale=8)
    cuts = layouts(up.plan.manifest, up.runtime.work_limits, job)
    needs = [working_memory(up.renderer._scheduler, job, cut) for cut in cuts]
    assert needs[0] == max(needs)
    assert needs[-1] == min(needs)


def test_a_limit_chooses_a_smaller_cut(up, monkeypatch):
    monkeypatch.setattr(memory, "resident", lambda: 100_000_000)
    job = up.renderer.job(photo(600, 600), scale=4)
    free = choose(up.renderer._scheduler, job, None, held_memory(job, 0))
    tight = choose(up.renderer._scheduler, job, 200_000_000, held_memory(job, 0))
    assert tight.peak <= 200_000_000 < free.peak
    assert tight.layout.tile < free.layout.tile


def test_what_cannot_fit_is_refused_with_the_number_needed(up, monkeypatch):
    monkeypatch.setattr(memory, "resident", lambda: 100_000_000)
    job = up.renderer.job(photo(300, 300), scale=30)
    with pytest.raises(MemoryBudgetError, match=r"needs about 1\.\d\d GB .* 500 MB is allowed"):
        choose(up.renderer._scheduler, job, 500_000_000, held_memory(job, 12))


def test_an_output_past_the_machine_is_refused_at_once(up):
    with pytest.raises(MemoryBudgetError, match="available"):
        up.upscale(np.zeros((4000, 4000, 3), np.uint8), scale=500)


def test_memory_is_measured():
    assert 0 < memory.resident() <= memory.peak()
    assert memory.available() is None or memory.available() > 0
    assert show_bytes(1.236e9) == "1.24 GB"
    assert show_bytes(3.1e8) == "310 MB"


def test_huge_scales_keep_cells_small(up):
    job = up.renderer.job(photo(6, 6), scale=300)
    assert {cut.block for cut in layouts(up.plan.manifest, up.runtime.work_limits, job)} == {64}
