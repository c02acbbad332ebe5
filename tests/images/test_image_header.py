"""What is known before anything is decoded, and that nothing is decoded before it was checked."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from clit_deploy.errors import ImageError, MemoryBudgetError
from clit_deploy.images.image_files import open_image, read_image
from clit_deploy.images.vips_reader import VipsFile
from clit_deploy.system import memory
from tests.helpers import photo


@pytest.fixture
def never_decoded(monkeypatch):
    def pixels(_):
        raise AssertionError("decoded")

    monkeypatch.setattr(VipsFile, "_pixels", pixels)


def tiff(width, height):
    """A TIFF of a few hundred bytes that declares any size."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 5), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, 150)]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    content = struct.pack("<2sHI", b"II", 42, 158) + bytes(150)
    return content + struct.pack("<H", len(tags)) + directory + bytes(4)


@pytest.mark.parametrize("side", [8_900, 32_000])
def test_a_small_file_that_declares_a_huge_image_is_refused_from_its_header(
    tmp_path, never_decoded, side
):
    (tmp_path / "bomb.tif").write_bytes(tiff(side, side))
    with pytest.raises(ImageError, match=r"can hold; it was not decoded"):
        read_image(tmp_path / "bomb.tif")


def test_what_does_not_fit_is_refused_before_decoding(tmp_path, never_decoded):
    Image.new("RGB", (2000, 2000)).save(tmp_path / "i.png")
    with open_image(tmp_path / "i.png") as file:
        assert file.header.size == (2000, 2000)
        assert file.header.decoded_bytes == 12_000_000
        allowed = memory.resident() + 30_000_000
        with pytest.raises(MemoryBudgetError, match=r"i\.png \(2000x2000 .* allowed"):
            file.decode(allowed)


def test_memory_that_cannot_be_had_is_our_error(tmp_path, monkeypatch):
    def pixels(_):
        raise MemoryError

    Image.fromarray(photo(9, 9)).save(tmp_path / "i.png")
    monkeypatch.setattr(VipsFile, "_pixels", pixels)
    with pytest.raises(MemoryBudgetError, match="not enough memory to read"):
        read_image(tmp_path / "i.png")


@pytest.mark.parametrize("suffix", ["jpg", "tiff", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_headers_and_pixels_are_turned_as_pillow_turns_them(tmp_path, suffix, orientation):
    image = Image.fromarray(photo(12, 20))
    exif = image.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"i.{suffix}"
    image.save(path, exif=exif)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    with open_image(path) as file:
        assert file.header.size == expected.shape[:2]
        assert np.array_equal(file.decode().rgb, expected)


def test_an_orientation_after_the_pixels_of_a_png_counts(tmp_path):
    image = Image.fromarray(photo(6, 9))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "i.png", exif=exif)
    content = (tmp_path / "i.png").read_bytes()
    at = content.index(b"eXIf") - 4
    (length,) = struct.unpack(">I", content[at : at + 4])
    chunk = content[at : at + length + 12]
    moved = content[:at] + content[at + length + 12 : -12] + chunk + content[-12:]
    (tmp_path / "late.png").write_bytes(moved)
    assert np.array_equal(read_image(tmp_path / "late.png").rgb, np.rot90(photo(6, 9), -1))


def test_gray_images_are_held_once(tmp_path):
    Image.fromarray(photo(6, 9)[..., 0]).save(tmp_path / "g.png")
    with open_image(tmp_path / "g.png") as file:
        assert file.header.decoded_bytes == 54
        assert file.decode().rgb.strides[2] == 0
