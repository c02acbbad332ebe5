"""What files say beside their pixels comes out again, in every format that can hold it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from clit_deploy.images import exif
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.metadata import PHOTOSHOP, Metadata
from tests.helpers import photo

IPTC = PHOTOSHOP + b"8BIM\x04\x04\0\0" + struct.pack(">I", 15) + b"\x1c\x02\x78\0\x0aHello IPTC\0"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
CICP = (b"cICP", bytes([9, 16, 0, 1]))
GAMMA = (b"gAMA", struct.pack(">I", 100_000))
TEXT = (b"tEXt", b"Title\0a name")


def block(**inside):
    made = Image.Exif()
    made[0x0112], made[0x010F] = 6, "maker"
    made[0x8769] = {0xA002: 30, 0xA003: 20, 0x9003: "2026:01:02 03:04:05", **inside}
    return exif.bare(made.tobytes())


def written(path, metadata, size=(20, 30)):
    with image_writer(path, size, 3, metadata=metadata) as append:
        append(photo(*size))
    return read_image(path).metadata


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_iptc_is_kept(tmp_path, suffix):
    assert b"Hello IPTC" in written(tmp_path / f"o.{suffix}", Metadata(iptc=IPTC)).iptc
    assert b"Hello IPTC" in (tmp_path / f"o.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp", "avif"])
def test_exif_and_xmp_are_kept_and_upright(tmp_path, suffix):
    kept = Metadata(exif=block(), xmp=XMP).for_result((40, 60))
    found = written(tmp_path / f"o.{suffix}", kept, (40, 60))
    assert exif.orientation(found.exif) == 1
    assert b'tiff:Orientation="1"' in found.xmp
    read = Image.Exif()
    read.load(found.exif)
    assert read[0x010F] == "maker"
    details = read.get_ifd(0x8769)
    assert (details[0xA002], details[0xA003]) == (60, 40)
    assert details[0x9003] == "2026:01:02 03:04:05"


def test_a_png_keeps_its_chunks_before_its_pixels(tmp_path):
    chunks = (TEXT, CICP, GAMMA)
    kept = Metadata(chunks=chunks, profile=None, dpi=(300, 300))
    found = written(tmp_path / "o.png", kept)
    assert set(found.chunks) == set(chunks)
    assert found.dpi == pytest.approx((300, 300), abs=0.1)
    content = (tmp_path / "o.png").read_bytes()
    assert content.index(b"cICP") < content.index(b"IDAT")


def test_strip_keeps_what_the_colors_need():
    whole = Metadata(b"profile", block(), XMP, IPTC, (300, 300), (TEXT, CICP))
    assert whole.for_result((1, 1), strip=True) == Metadata(b"profile", chunks=(CICP,))


def test_without_metadata_none_is_written(tmp_path):
    for suffix in ("jpg", "tif", "png", "webp"):
        found = written(tmp_path / f"o.{suffix}", Metadata())
        assert (found.exif, found.xmp, found.iptc, found.profile) == (None,) * 4, suffix


def test_a_thumbnail_is_removed_and_the_rest_stays_in_its_place():
    small = b"\xff\xd8thumbnail\xff\xd9"
    first = struct.pack("<HHHII", 1, 0x010F, 2, 3, 0x0000_4241) + struct.pack("<I", 26)
    second = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(small), 0)
    data = struct.pack("<2sHI", b"II", 42, 8) + first + second + small
    made = exif.for_result(data, (9, 9))
    assert b"thumbnail" not in made
    assert made[:22] == data[:22]
    assert made[22:26] == bytes(4)


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_exif_that_is_cut_off_is_dropped_or_repaired(cut):
    assert exif.for_result(block()[:cut], (9, 9)) is None or cut > 8
    assert exif.orientation(block()[:cut]) in (1, 6)


def test_resolutions_turn_with_the_image(tmp_path):
    turned = Image.fromarray(photo(20, 30))
    made = turned.getexif()
    made[0x0112] = 6
    turned.save(tmp_path / "i.png", exif=made, dpi=(300, 100))
    assert read_image(tmp_path / "i.png").metadata.dpi == pytest.approx((100, 300), abs=0.1)


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_other_color_spaces_become_srgb(tmp_path, mode):
    from PIL import ImageCms

    rgb = Image.new("RGB", (9, 8), (200, 60, 40))
    if mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(rgb, srgb, lab, outputMode="LAB")
    else:
        image = rgb.convert("CMYK")
    image.save(tmp_path / "i.tif")
    read = read_image(tmp_path / "i.tif")
    assert read.metadata.profile is None
    red, green, blue = read.rgb[4, 4].astype(int)
    assert red > green + 80
    assert green > blue
    assert np.ptp(read.rgb.reshape(-1, 3), axis=0).max() == 0
