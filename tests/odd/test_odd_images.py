"""Images that comparable tools get wrong, in every kind of it; `manifest.csv` says what is right.

`keeps` names what the output has: `profile`, `exif`, `xmp`, `text`, a `dpi`. `pixels` are positions
with colors of 8 bits, `*` for any.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import pyvips

from clit_deploy import load
from clit_deploy.errors import ImageError
from clit_deploy.images.image_files import open_image
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file

HERE = Path(__file__).parent
with (HERE / "manifest.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))
FORMATS = {"uchar": "8", "ushort": "16", "float": "float"}
TOLERANCE = 5
"""Of 255; JPEG and an enlarged edge are within it."""


@pytest.fixture(scope="module")
def liif():
    """The model of the package: tiny random models do not keep colors."""
    with load("liif") as up:
        yield up


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['file']}-{row['to']}")
def test_odd_images(liif, row, tmp_path, caplog):
    source, target = HERE / "images" / row["file"], tmp_path / f"out.{row['to']}"
    if row["refused"]:
        with pytest.raises(ImageError) as caught:
            upscale_file(liif, source, target, OutputSize(scale=2))
        assert row["refused"] in str(caught.value)
        assert "not an image" not in str(caught.value)
        return
    upscale_file(liif, source, target, OutputSize(scale=2))
    assert [r.getMessage() for r in caplog.records if "transparent" not in r.getMessage()] == []
    made = pyvips.Image.new_from_file(str(target))
    assert f"{made.width}x{made.height}" == row["size"]
    assert made.bands == int(row["bands"])
    assert FORMATS[made.format] == row["depth"]
    pixels = np.asarray(made.numpy()).reshape(made.height, made.width, made.bands)
    unit = pixels / {"8": 255, "16": 65535, "float": 1}[row["depth"]]
    for place, color in (part.split("=") for part in filter(None, row["pixels"].split(";"))):
        x, y = map(int, place.split(","))
        for channel, value in enumerate(color.split(",")):
            if value != "*":
                off = abs(unit[y, x, channel] * 255 - int(value))
                assert off <= TOLERANCE, (place, unit[y, x] * 255)
    for kept in row["keeps"].split():
        name, _, value = kept.partition("=")
        CHECKS[name.replace("-", "_")](source, target, unit, value)


def _profile(source, target, unit, value):
    with open_image(source) as one, open_image(target) as other:
        assert other.decode().metadata.profile == one.decode().metadata.profile


def _no_profile(source, target, unit, value):
    assert not pyvips.Image.new_from_file(str(target)).get_typeof("icc-profile-data")


def _exif(source, target, unit, value):
    from PIL import ExifTags, Image

    with Image.open(target) as made:
        exif = made.getexif()
        details = exif.get_ifd(ExifTags.IFD.Exif)
        assert exif[ExifTags.Base.DateTime] == "2026:01:02 03:04:05"
        assert exif[ExifTags.Base.Make] == "SynthCam"
        assert exif[ExifTags.Base.Copyright] == "(c) nobody"
        assert details[ExifTags.Base.DateTimeOriginal] == "2026:01:02 03:04:05"
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
        size = details.get(ExifTags.Base.ExifImageWidth), details.get(ExifTags.Base.ExifImageHeight)
        assert size == made.size


def _orientation_1(source, target, unit, value):
    from PIL import Image

    with Image.open(target) as made:
        assert made.getexif().get(0x0112, 1) == 1


def _xmp(source, target, unit, value):
    assert b"synthetic" in pyvips.Image.new_from_file(str(target)).get("xmp-data")


def _dpi(source, target, unit, value):
    with open_image(target) as made:
        assert made.decode().metadata.dpi == pytest.approx((int(value), int(value)), abs=1)


def _text(source, target, unit, value):
    with open_image(source) as one, open_image(target) as other:
        assert one.decode().metadata.chunks == other.decode().metadata.chunks != ()


def _levels(source, target, unit, value):
    assert len(np.unique(unit[20, :, 0])) >= 60, "8 bits have 3"


def _flat(source, target, unit, value):
    shown = unit[unit[..., 3] > 16 / 255][:, :3] * 255
    assert np.abs(shown - [int(part) for part in value.split("_")]).max() <= 12


def _white_corner(source, target, unit, value):
    assert unit[:12, :12].min() > 0.98


CHECKS = {
    "profile": _profile,
    "no_profile": _no_profile,
    "exif": _exif,
    "orientation_1": _orientation_1,
    "xmp": _xmp,
    "dpi": _dpi,
    "text": _text,
    "levels": _levels,
    "flat": _flat,
    "white_corner": _white_corner,
}


def test_heic_is_read_or_named(monkeypatch):
    with open_image(HERE / "images" / "phone.heic") as file:
        assert file.header.format == "HEIC"
        assert file.decode().rgb.shape == (32, 32, 3)
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="HEIC image, which needs pillow-heif"):
        open_image(HERE / "images" / "phone.heic").__enter__()


def test_a_hundred_megapixels_are_a_question_of_memory(tmp_path):
    from clit_deploy.errors import MemoryBudgetError

    with load("liif", max_memory="200MB") as up:
        size = OutputSize(scale=1)
        with pytest.raises(MemoryBudgetError, match="of memory"):
            upscale_file(up, HERE / "images" / "mp100.png", tmp_path / "o.png", size)
