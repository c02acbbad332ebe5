"""What the options of an output file do, and which format is taken if none is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from clit_deploy import load
from clit_deploy.errors import OptionError, SizeError
from clit_deploy.images.decoded_image import ImageHeader
from clit_deploy.images.image_formats import check_format, output_suffix
from clit_deploy.images.image_options import ImageOptions
from clit_deploy.images.webp_chunks import is_lossless
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.result_format import result_suffix
from clit_deploy.tasks.upscale_file import upscale_file
from tests.helpers import photo

ODD = Path(__file__).parents[1] / "odd" / "images"


@pytest.fixture(scope="module")
def liif():
    with load("liif", runtime="cpu") as up:
        yield up


def made(up, name, target, **options):
    upscale_file(up, ODD / name, target, OutputSize(scale=2), options=ImageOptions(**options))
    return pyvips.Image.new_from_file(str(target))


def test_srgb_converts_by_the_profile(liif, tmp_path):
    image = made(liif, "icc_prophoto.png", tmp_path / "o.png", srgb=True)
    assert not image.get_typeof("icc-profile-data")
    assert np.abs(np.array(image(16, 48)) - [0, 104, 231]).max() <= 8
    gray = made(liif, "icc_gray18.png", tmp_path / "g.png", srgb=True)
    assert (gray.bands, gray.get_typeof("icc-profile-data")) == (1, 0)
    assert abs(gray(16, 16)[0] - 53) <= 5


def test_depths(liif, tmp_path):
    assert made(liif, "ramp_rgb16.png", tmp_path / "a.png", depth="8").format == "uchar"
    assert made(liif, "gray_noise.png", tmp_path / "b.png", depth="16").format == "ushort"
    assert made(liif, "gray_noise.png", tmp_path / "c.tif", depth="float").format == "float"
    with pytest.raises(OptionError, match="8 bits a channel, not 16"):
        made(liif, "ramp_rgb16.png", tmp_path / "d.jpg", depth="16")


def test_backgrounds(liif, tmp_path, caplog):
    image = made(liif, "garbage_under.png", tmp_path / "o.jpg", background=(0, 0, 255))
    assert np.abs(np.array(image(3, 3)) - [0, 0, 255]).max() <= 6
    gray = made(liif, "gray_alpha.png", tmp_path / "gray.jpg")
    assert gray.bands == 1
    blue = made(liif, "gray_alpha.png", tmp_path / "blue.jpg", background=(0, 0, 255))
    assert blue.bands == 3


def test_strip_quality_and_tiles(liif, tmp_path):
    bare = made(liif, "exif_o1.jpg", tmp_path / "bare.jpg", strip=True)
    assert not bare.get_typeof("exif-data")
    assert not bare.get_typeof("xmp-data")
    sizes = []
    for quality in (20, 95):
        made(liif, "exif_o1.jpg", tmp_path / f"{quality}.jpg", quality=quality)
        sizes.append((tmp_path / f"{quality}.jpg").stat().st_size)
    assert sizes[0] < sizes[1]
    made(liif, "planar16.tif", tmp_path / "t.tif", tiled=True)
    with Image.open(tmp_path / "t.tif") as tiled:
        assert tiled.tag_v2[322] == 256
    first = made(liif, "gray_noise.png", tmp_path / "l.webp", lossless=True).numpy()
    second = made(liif, "gray_noise.png", tmp_path / "l.png").numpy()
    assert np.array_equal(first[..., 0], second)


@pytest.mark.parametrize(
    ("header", "output", "suffix", "says"),
    [
        ({"format": "PNG"}, (9, 9), ".png", ""),
        ({"format": "JPEG"}, (9, 9), ".jpeg", ""),
        ({"format": "TIFF", "depth": "float"}, (9, 9), ".tif", ""),
        ({"format": "HEIC"}, (9, 9), ".png", "HEIC files cannot be written"),
        ({"format": "GIF"}, (9, 9), ".png", "at most 256 colors"),
        ({"format": "WebP"}, (9, 20_000), ".png", "at most 16,383 pixels a side"),
        ({"format": "BMP", "alpha": True}, (9, 9), ".png", "no transparency"),
    ],
)
def test_the_format_is_the_inputs_own_if_it_can_hold_the_result(
    caplog, header, output, suffix, says
):
    whole = ImageHeader(**{"size": (9, 9), "alpha": False, "decoded_bytes": 1,
                           "decoding_bytes": 1, **header})  # fmt: skip
    assert output_suffix(Path("i.jpeg"), whole, output) == suffix
    assert says in caplog.text
    assert bool(says) == bool(caplog.text)
    assert output_suffix(Path("i.x"), whole, output, ImageOptions(format="webp")) == ".webp"


def test_suffixes_of_files(tmp_path):
    sizes = [OutputSize(scale=2)]
    assert result_suffix(ODD / "phone_mpo.jpg", sizes, ImageOptions()) == ".jpg"
    assert result_suffix(ODD / "ramp_rgb16.tif", sizes, ImageOptions()) == ".tif"
    assert result_suffix(tmp_path / "missing.tif", sizes, ImageOptions()) == ".png"
    with pytest.raises(OptionError, match="not a format that can be written"):
        result_suffix(ODD / "plain.png", sizes, ImageOptions(format="xyz"))


def test_limits_are_checked_before_the_work(tmp_path):
    check_format(tmp_path / "x.tif", (38_000, 38_000))
    with pytest.raises(SizeError, match=r"write a \.png or a \.tif"):
        check_format(tmp_path / "x.bmp", (32_000, 32_000 * 2))
    with pytest.raises(OptionError, match="never lossless"):
        check_format(tmp_path / "x.jpg", (9, 9), options=ImageOptions(lossless=True))
    for wrong in ({"depth": "12"}, {"quality": 0}, {"background": (1, 2, 300)}):
        with pytest.raises(OptionError):
            ImageOptions(**wrong)


@pytest.mark.parametrize("profile", [None, "icc"])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_lossless_webp_stays_lossless(liif, tmp_path, lossless, profile):
    extra = {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    Image.fromarray(photo(24, 30)).save(
        tmp_path / "i.webp", lossless=lossless, **(extra if profile else {})
    )
    assert is_lossless(tmp_path / "i.webp") == lossless
    for name, options, expected in [
        ("a.webp", {}, lossless),
        ("b.webp", {"quality": 90}, False),
        ("c.png", {}, None),
    ]:
        target = tmp_path / name
        upscale_file(
            liif, tmp_path / "i.webp", target, OutputSize(scale=2), options=ImageOptions(**options)
        )
        assert expected is None or is_lossless(target) == expected


def test_an_animated_or_cut_off_webp_is_judged_by_its_first_image(tmp_path):
    frames = [Image.fromarray(photo(9, 9, seed=k)) for k in range(2)]
    for lossless in (True, False):
        path = tmp_path / "i.webp"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=lossless)
        assert is_lossless(path) == lossless
        path.write_bytes(path.read_bytes()[:17])
        assert not is_lossless(path)
