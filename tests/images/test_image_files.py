import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from clit_deploy.errors import ImageError, MissingFileError, OutputError, SizeError
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_formats import check_format
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.pixels import to_bytes
from clit_deploy.images.png import PngWriter
from tests.helpers import photo


def save(folder, image, name="i.png", **options):
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_png_writer_makes_what_pillow_reads(tmp_path, channels):
    pixels = np.random.RandomState(0).randint(0, 256, (37, 23, channels), np.uint8)
    path = tmp_path / "out.png"
    with path.open("wb") as file, PngWriter(file, 23, 37, channels) as png:
        for rows in (pixels[:1], pixels[1:20], pixels[20:]):
            png.write(rows)
    with Image.open(path) as image:
        assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_a_png_with_missing_rows_is_an_error(tmp_path):
    with (tmp_path / "o.png").open("wb") as file:
        png = PngWriter(file, 4, 5, 3)
        png.write(np.zeros((2, 4, 3), np.uint8))
        with pytest.raises(ValueError, match="3 rows"):
            png.close()


@pytest.mark.parametrize("name", ["o.png", "o.jpg", "o.webp", "o.tiff", "o.bmp"])
def test_every_format_is_written(tmp_path, name):
    pixels = photo(20, 30)
    with image_writer(tmp_path / name, (20, 30), 3) as append:
        append(pixels[:7])
        append(pixels[7:])
    with Image.open(tmp_path / name) as image:
        assert image.size == (30, 20)
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - pixels).mean() < 8
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_failure_leaves_no_file(tmp_path):
    def half():
        with image_writer(tmp_path / "o.png", (9, 9), 3) as append:
            append(np.zeros((2, 9, 3), np.uint8))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    target = tmp_path / "none" / "o.png"
    with pytest.raises(OutputError, match="does not exist"), image_writer(target, (1, 1), 3):
        pass


def test_modes(tmp_path):
    pixels = photo(6, 5)
    rgb = Image.fromarray(pixels)
    assert np.array_equal(read_image(save(tmp_path, rgb)).rgb, pixels)
    gray = read_image(save(tmp_path, rgb.convert("L")))
    assert gray.alpha is None
    assert (gray.rgb[..., 0] == gray.rgb[..., 2]).all()
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE)
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(read_image(save(tmp_path, palette)).rgb, expected)
    alpha = np.arange(1, 31, dtype=np.uint8).reshape(6, 5) * 8
    with_alpha = rgb.copy()
    with_alpha.putalpha(Image.fromarray(alpha))
    read = read_image(save(tmp_path, with_alpha))
    assert np.array_equal(read.alpha[..., 0], alpha)
    assert np.array_equal(read.rgb, pixels)
    one_bit = read_image(save(tmp_path, rgb.convert("1")))
    assert set(np.unique(one_bit.rgb)) <= {0, 255}


def test_transparent_palettes_keep_their_alpha(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    read = read_image(save(tmp_path, image, transparency=0))
    assert read.alpha[0, :, 0].tolist() == [0, 255]


def test_sixteen_bit_gray_is_read_in_full(tmp_path):
    deep = np.array([[0, 1000, 65535]], np.uint16)
    read = read_image(save(tmp_path, Image.fromarray(deep)))
    assert read.rgb.dtype == np.uint16
    assert np.array_equal(read.rgb[0, :, 0], deep[0])


def test_sixteen_bit_color_is_read_in_full(tmp_path):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"\0" + np.array([[65535, 0, 32768]], ">u2").tobytes()
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert read_image(tmp_path / "deep.png").rgb[0, 0].tolist() == [65535, 0, 32768]


def test_bad_files(tmp_path):
    with pytest.raises(MissingFileError):
        read_image(tmp_path / "none.png")
    (tmp_path / "e.png").touch()
    with pytest.raises(ImageError, match="is empty"):
        read_image(tmp_path / "e.png")
    (tmp_path / "t.png").write_text("text")
    with pytest.raises(ImageError, match="not an image"):
        read_image(tmp_path / "t.png")
    path = save(tmp_path, Image.fromarray(photo(90, 90)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_image(path)


def test_orientation_is_applied(tmp_path):
    image = Image.fromarray(photo(6, 9))
    exif = image.getexif()
    exif[0x0112] = 6  # rotate by a quarter turn
    read = read_image(save(tmp_path, image, exif=exif))
    assert read.rgb.shape == (9, 6, 3)
    assert np.array_equal(read.rgb, np.rot90(photo(6, 9), -1))


def test_floats_of_unknown_white_are_refused(tmp_path):
    path = save(tmp_path, Image.fromarray(np.full((3, 3), 200, np.float32)), "f.tiff")
    with pytest.raises(ImageError, match="white is not known"):
        read_image(path)


def test_only_the_first_frame_is_read_and_that_is_said(tmp_path, caplog):
    frames = [Image.fromarray(photo(6, 5, seed)) for seed in (0, 1)]
    path = tmp_path / "two.tiff"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert np.array_equal(read_image(path).rgb, photo(6, 5))
    assert "only the first" in caplog.text


def test_formats_have_limits(tmp_path):
    check_format(tmp_path / "a.png", (70_000, 9), alpha=True)
    with pytest.raises(SizeError, match="at most 65,500"):
        check_format(tmp_path / "a.jpg", (70_000, 9), alpha=False)
    with pytest.raises(SizeError, match="at most 16,383"):
        check_format(tmp_path / "a.webp", (9, 16_384), alpha=False)
    with pytest.raises(SizeError, match="cannot be written"):
        check_format(tmp_path / "a.xyz", (9, 9), alpha=False)


def test_bytes_are_rounded_and_clipped():
    strip = np.array([-1, 0, 0.5, 0.499, 1, 2], np.float32)
    assert to_bytes(strip).tolist() == [0, 0, 128, 127, 255, 255]
    deep = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_bytes(deep), np.rint(deep / 257))
