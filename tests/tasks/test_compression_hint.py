import numpy as np
import pytest
from PIL import Image

from clit_deploy.plan.plan_file import Plan
from clit_deploy.tasks.compression_hint import compression_hint
from clit_deploy.zoo.named_models import find_plan, named_models


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)

    def save(name, **options):
        path = tmp_path / name
        Image.fromarray(pixels).save(path, **options)
        return path

    return save


def test_a_strongly_compressed_photo_gets_a_hint(photo):
    hint = compression_hint(Plan.open(find_plan("liif")), [photo("a.jpg", quality=40)])
    assert "a.jpg looks like JPEG quality 40" in hint
    assert "-e photo" in hint


def test_the_worst_of_several_is_named(photo):
    paths = [photo("a.jpg", quality=70), photo("b.jpg", quality=30), photo("c.png")]
    hint = compression_hint(Plan.open(find_plan("liif")), paths)
    assert "b.jpg looks like JPEG quality 30 (2 such images)" in hint


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 92}), ("a.png", {})])
def test_clean_images_get_none(photo, name, options):
    assert compression_hint(Plan.open(find_plan("liif")), [photo(name, **options)]) is None


def test_a_model_for_compressed_images_gets_none(photo):
    (model,) = (m for m in named_models().values() if m.input == "compressed")
    assert compression_hint(Plan.open(model.plan), [photo("a.jpg", quality=40)]) is None


def test_plans_of_others_are_not_judged(photo, plans):
    assert compression_hint(Plan.open(plans["clit"]), [photo("a.jpg", quality=40)]) is None


def test_an_image_that_cannot_be_opened_is_left_to_its_reader(photo, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"no image")
    hint = compression_hint(Plan.open(find_plan("liif")), [damaged, photo("a.jpg", quality=40)])
    assert "a.jpg looks like JPEG quality 40" in hint
