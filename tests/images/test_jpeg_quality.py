import numpy as np
import pytest
from PIL import Image

from clit_deploy.images.image_files import open_image
from clit_deploy.images.jpeg_quality import jpeg_quality


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))


@pytest.mark.parametrize("quality", [25, 50, 75, 85, 95, 100])
def test_the_quality_of_a_file_is_recognized(image, quality, tmp_path):
    path = tmp_path / "photo.jpg"
    image.save(path, quality=quality)
    with open_image(path) as file:
        assert file.header.jpeg_quality == pytest.approx(quality, abs=1)


def test_other_formats_have_no_quality(image, tmp_path):
    path = tmp_path / "photo.png"
    image.save(path)
    with open_image(path) as file:
        assert file.header.jpeg_quality is None


@pytest.mark.parametrize("tables", [{}, {1: [16] * 64}, {0: [16] * 63}])
def test_incomplete_tables_give_no_quality(tables):
    assert jpeg_quality(tables) is None
