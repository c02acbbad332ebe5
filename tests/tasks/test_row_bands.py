"""Bands of rows: they join to the file that one process writes, and are kept when one is killed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.errors import ResumeError
from clit_deploy.images.image_options import ImageOptions
from clit_deploy.render.layout import Layout
from clit_deploy.tasks import row_bands
from clit_deploy.tasks.image_tasks import Task
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.row_bands import bands_folder, cut_image, join_bands, make_band
from clit_deploy.tasks.upscale_file import upscale_file
from tests.helpers import photo

LAYOUT = Layout(tile=48, block=64)
OPTIONS = ImageOptions(depth="16")


@pytest.fixture
def up(tiny_plan):
    with clit_deploy.Upscaler(tiny_plan, runtime="cpu", threads=1, layout=LAYOUT) as opened:
        yield opened


def task(folder, mode="RGB", suffix="png"):
    pixels = photo(130, 60)
    if mode == "RGBA":
        alpha = np.tile(np.linspace(0, 255, 130).astype(np.uint8)[:, None, None], (1, 60, 1))
        pixels = np.concatenate([pixels, alpha], 2)
    made = Image.fromarray(pixels)
    (made.convert("L") if mode == "L" else made).save(folder / "a.png", dpi=(300, 300))
    return Task(folder / "a.png", folder / f"made.{suffix}", OutputSize(scale=3), (130, 60))


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "tif"), ("RGBA", "png"), ("L", "png")])
def test_bands_join_to_what_one_process_writes(up, tmp_path, mode, suffix):
    one = task(tmp_path, mode, suffix)
    options = dataclasses.replace(OPTIONS, tiled=suffix == "tif")
    whole = tmp_path / f"whole.{suffix}"
    upscale_file(up, one.source, whole, one.wanted, options=options)
    cut = cut_image(up, one, options)
    assert len(cut.bands) > 2
    assert cut.result.size == (390, 180)
    for number in reversed(range(len(cut.bands))):
        make_band(up, cut, number, options)
    join_bands(cut, options)
    assert one.target.read_bytes() == whole.read_bytes()
    assert not bands_folder(one.target).exists()


def test_rows_that_were_finished_before_a_kill_are_kept(up, tmp_path, monkeypatch):
    one = task(tmp_path)
    cut = cut_image(up, one, OPTIONS)
    make_band(up, cut, 0, OPTIONS)
    strips = row_bands.finished_strips

    def killed(*arguments, **named):
        yield next(strips(*arguments, **named))
        raise KeyboardInterrupt

    monkeypatch.setattr(row_bands, "finished_strips", killed)
    make_band(up, cut, 0, OPTIONS)  # there is nothing to do
    with pytest.raises(KeyboardInterrupt):
        make_band(up, cut, 1, OPTIONS)
    with pytest.raises(ResumeError, match=r"A band ends after \d+ rows; repeat the command"):
        join_bands(cut, OPTIONS)
    assert not one.target.exists()

    begun = []

    def counted(*arguments, finished, **named):
        begun.append(finished)
        return strips(*arguments, finished=finished, **named)

    monkeypatch.setattr(row_bands, "finished_strips", counted)
    again = cut_image(up, one, OPTIONS)
    assert again.identity == cut.identity
    for number in range(len(cut.bands)):
        make_band(up, again, number, OPTIONS)
    assert begun[0] > cut.bands[1].start  # the first band and a strip of the second were there
    join_bands(again, OPTIONS)
    whole = tmp_path / "whole.png"
    upscale_file(up, one.source, whole, one.wanted, options=OPTIONS)
    assert one.target.read_bytes() == whole.read_bytes()


def test_bands_of_another_run_are_refused_and_kept(up, tmp_path):
    one = task(tmp_path)
    cut = cut_image(up, one, OPTIONS)
    make_band(up, cut, 0, OPTIONS)
    before = (bands_folder(one.target) / "0.rows").read_bytes()
    with pytest.raises(ResumeError, match=r"belongs to another run \(size differ\)"):
        cut_image(up, dataclasses.replace(one, wanted=OutputSize(scale=2)), OPTIONS)
    other = dataclasses.replace(cut, identity={**cut.identity, "runtime": "cuda"})
    with pytest.raises(ResumeError, match=r"runtime differ"):
        make_band(up, other, 1, OPTIONS)
    assert (bands_folder(one.target) / "0.rows").read_bytes() == before
