"""The viewer from Python, and the small picture of an encoded image."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.errors import ImageError, MissingFileError, OptionError
from tests.helpers import photo
from tests.viewer.conftest import Client


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_an_array_is_shown(viewer_ups, kind, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    white = 1 if kind == np.float32 else np.iinfo(kind).max
    image = (photo(40, 50) / 255 * white).astype(kind)
    with clit_deploy.view(image, viewer_ups[1], height=300) as viewer:
        frame = viewer._repr_html_()
        assert html.unescape(re.search('src="([^"]+)"', frame)[1]) == viewer.url
        assert 'height="300"' in frame
        client = Client(viewer.url)
        assert client.state()["images"][0]["argument"] is None
        tile = Image.open(io.BytesIO(client.get("tiles/0/plain/0/0/0.png")[2]))
        assert np.abs(np.asarray(tile).astype(int) - photo(40, 50)).max() <= 1
        policy = client.get("")[1]["content-security-policy"]
        assert policy.endswith("https://127.0.0.1:*")
        assert viewer.url in repr(viewer)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="refused"):
        client.get("state")
    assert viewer_ups[1].upscale(photo(9, 9), scale=2).shape == (18, 18, 3)  # it stays loaded


def test_a_file_is_shown_with_a_plan_by_path(viewer_plans, photographs):
    with clit_deploy.view(photographs[0], viewer_plans[1]) as viewer:
        state = Client(viewer.url).state()
        assert state["images"][0]["name"] == "a photo.png"
        assert state["plans"][0]["argument"] == str(viewer_plans[1])


@pytest.mark.parametrize(
    ("image", "options", "error"),
    [
        ("missing.png", {}, MissingFileError),
        (np.zeros((4, 4)), {}, ImageError),
        (photo(4, 4), {"height": 0}, OptionError),
    ],
)
def test_what_cannot_be_shown_is_refused(viewer_ups, image, options, error):
    with pytest.raises(error):
        clit_deploy.view(image, viewer_ups[0], **options)


@pytest.mark.parametrize("size", [(300, 700), (3, 2), (4000, 1)])
def test_an_encoded_image_is_a_small_picture(viewer_ups, size):
    image = photo(*size)
    with viewer_ups[1].encode(image) as encoded:
        text = encoded._repr_html_()
    data = re.search(r"base64,([^\"]+)\"", text)[1]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert max(shown.shape[:2]) <= 256
    assert len(text) < 300_000
    assert np.abs(shown.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 8
    assert f"EncodedImage {size[1]}x{size[0]} of tiny" in text
