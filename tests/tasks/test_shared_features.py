"""An image of which several results are made is encoded once, if its features fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.images.decoded_image import ImageHeader
from clit_deploy.render.encoder import TileEncoder
from clit_deploy.system import memory
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.shared_features import SharedFeatures
from clit_deploy.tasks.upscale_file import upscale_file
from tests.helpers import cli, photo

SCALES = (2, 3.5, 6)


@pytest.fixture
def encoded(monkeypatch):
    """Pixels that the encoder has seen."""
    seen = []
    inner = TileEncoder._tile

    def counted(self, image, rows, cols, part):
        seen.append(len(rows) * len(cols))
        return inner(self, image, rows, cols, part)

    monkeypatch.setattr(TileEncoder, "_tile", counted)
    return seen


def run(up, folder, shared, scales=SCALES):
    found = []
    for scale in scales:
        target = folder / f"{scale}{len(list(folder.iterdir()))}.png"
        upscale_file(up, folder / "a.png", target, OutputSize(scale=scale), shared=shared)
        with Image.open(target) as made:
            found.append(np.asarray(made).astype(int))
    return found


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_several_scales_encode_once(plans, tmp_path, encoded, mode):
    Image.fromarray(photo(60, 90)).convert(mode).save(tmp_path / "a.png")
    with clit_deploy.load(plans["clit"], runtime="cpu") as up:
        alone = run(up, tmp_path, SharedFeatures([]))
        each = sum(encoded)
        encoded.clear()
        shared = SharedFeatures([tmp_path / "a.png"] * len(SCALES))
        together = run(up, tmp_path, shared)
    assert sum(encoded) == (each if mode == "RGBA" else each // len(SCALES))
    assert not shared._kept
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() <= 1


def test_features_that_do_not_fit_are_not_kept(plans, tmp_path, encoded):
    Image.fromarray(photo(60, 90)).save(tmp_path / "a.png")
    source = tmp_path / "a.png"
    with clit_deploy.load(plans["clit"], runtime="cpu") as up:
        up.renderer.max_memory = memory.resident() + 40_000_000
        channels = up.plan.manifest.encoder.channels
        size = (40_000_000 // channels // 4 // 3000, 3001)
        header = ImageHeader(size, False, 1, 1)
        with SharedFeatures([source] * 2).of(source, header, up) as tiles:
            assert tiles is None
        header = ImageHeader((60, 90), False, 1, 1)
        with SharedFeatures([source] * 2).of(source, header, up) as tiles:
            assert tiles is not None


def test_a_command_with_several_scales(tiny_plan, tmp_path):
    Image.fromarray(photo(40, 50)).save(tmp_path / "a.png")
    Image.fromarray(photo(30, 50)).save(tmp_path / "b.png")
    base = ["run", "-e", str(tiny_plan), "--runtime", "cpu"]
    done = cli(*base, tmp_path / "a.png", tmp_path / "b.png", "-s", "2,3", "-o", tmp_path / "many")
    assert done.returncode == 0, done.stderr
    for scale in (2, 3):
        for name in ("a", "b"):
            one = tmp_path / f"{name}{scale}.png"
            assert cli(*base, tmp_path / f"{name}.png", "-s", scale, "-o", one).returncode == 0
            made = Path(tmp_path / "many" / f"{name}_x{scale}.png")
            assert made.read_bytes() == one.read_bytes()
