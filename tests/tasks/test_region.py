"""`--region`: the named part of an image, with the pixels that it has in the whole result."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.images import image_files
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file
from tests.helpers import cli, photo


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_region_is_its_part_of_the_whole_result(tiny_plan, tmp_path, mode):
    Image.fromarray(photo(60, 80)).convert(mode).save(tmp_path / "a.png")
    if mode == "RGBA":
        shaded = photo(60, 80)
        alpha = np.linspace(0, 255, 60 * 80).reshape(60, 80, 1).astype(np.uint8)
        Image.fromarray(np.concatenate([shaded, alpha], 2)).save(tmp_path / "a.png")
    with clit_deploy.load(tiny_plan, runtime="cpu") as up:
        upscale_file(up, tmp_path / "a.png", tmp_path / "all.png", OutputSize(scale=2.5))
        part = OutputSize(scale=2.5, region=(20, 10, 40, 30))
        result = upscale_file(up, tmp_path / "a.png", tmp_path / "part.png", part)
    assert result.size == (75, 100)
    assert result.region == {"x": 20, "y": 10, "width": 40, "height": 30}
    whole = pixels(tmp_path / "all.png")[25:100, 50:150]
    assert np.abs(pixels(tmp_path / "part.png") - whole).max() <= 1


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        ({"longest": 100}, (50, 100)),
        ({"factors": (2.0, 4.0)}, (60, 240)),
        ({"size": (61, 60)}, (61, 60)),
        ({"fit": (90, 90)}, (45, 90)),
        ({"fill": (90, 90)}, (90, 90)),
    ],
)
def test_the_requested_size_is_that_of_the_region(wanted, size):
    region = OutputSize(**wanted, region=(2.5, 7, 60, 30))
    assert region.output((60, 80)) == size


def test_a_region_of_a_large_image_skips_the_rows_above_it(tiny_plan, tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "LARGE", 1)
    Image.fromarray(photo(3000, 40)).save(tmp_path / "a.tif")
    with clit_deploy.load(tiny_plan, runtime="cpu") as up:
        wanted = OutputSize(scale=2, region=(5, 2500, 30, 20.5))
        upscale_file(up, tmp_path / "a.tif", tmp_path / "part.png", wanted)
        monkeypatch.setattr(image_files, "LARGE", 1 << 40)
        upscale_file(up, tmp_path / "a.tif", tmp_path / "held.png", wanted)
    assert np.array_equal(pixels(tmp_path / "part.png"), pixels(tmp_path / "held.png"))


def test_a_command_names_the_file_after_the_region(tiny_plan, tmp_path):
    Image.fromarray(photo(20, 30)).save(tmp_path / "a.png")
    Image.fromarray(photo(8, 8)).save(tmp_path / "b.png")
    run = ["run", "-e", str(tiny_plan), "-s", "2,3", "--region", "1,2.5,10,12", "--json"]
    done = cli(*run, "--runtime", "cpu", tmp_path / "a.png", tmp_path / "b.png")
    assert done.returncode == 5
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    made = [line["results"][0] for line in lines if line["results"]]
    assert sorted((m["width"], m["height"]) for m in made) == [(20, 24), (30, 36)]
    assert sorted(p.name for p in tmp_path.glob("a_*")) == [
        "a_x2_1,2.5,10,12.png", "a_x3_1,2.5,10,12.png",
    ]  # fmt: skip
    errors = [line["error"]["message"] for line in lines if "error" in line and "input" in line]
    assert len(errors) == 2
    assert all("outside the image, which is 8 pixels wide" in message for message in errors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--region", "1,2,3"], "'1,2,3' is not a rectangle; write it like 10,20,100,80"),
        (["--region", "-1,2,3,4"], "'-1,2,3,4' is not a rectangle"),
        (["--region", "1,2,0,4"], "is empty or outside the image"),
        (["--region", "25,2,10,4"], "is empty or outside the image"),
        (["--region", "1,2,3,4", "--in-place"], "--in-place and --region cannot be combined"),
        (["--region", "1,2,3,4", "--preview", "1,1"], "--preview and --region cannot be combined"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(tiny_plan, tmp_path, options, message):
    Image.fromarray(photo(20, 30)).save(tmp_path / "a.png")
    before = set(tmp_path.iterdir())
    done = cli("run", "-e", str(tiny_plan), tmp_path / "a.png", "-s", "2", *options)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert set(tmp_path.iterdir()) == before
