"""`clit_deploy.ray.Upscaler` as Ray Data calls it, without a cluster."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image

import clit_deploy.ray
from clit_deploy.errors import MissingFileError, OptionError
from clit_deploy.images.image_options import ImageOptions
from clit_deploy.images.pixels import to_depth
from tests.helpers import cli, photo

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def upscaler(tiny_plan):
    return clit_deploy.ray.Upscaler(
        clit_deploy.ray.ship(tiny_plan), scale=2, runtime="cpu", threads=1
    )


def column(*rows):
    made = np.empty(len(rows), object)
    made[:] = rows
    return made


def encoded(image, form, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **options)
    return file.getvalue()


def test_files_become_what_run_writes(upscaler, tiny_plan, tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(photo(12, 10), "JPEG", dpi=(300, 300)))
    (tmp_path / "b.png").write_bytes(encoded(photo(9, 14)[..., 0], "PNG"))
    files = [tmp_path / "a.jpg", tmp_path / "b.png"]
    done = cli("run", *files, "-e", tiny_plan, "-s", "2", "-o", tmp_path / "out",
               "--runtime", "cpu", "--threads", "1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    batch = {"bytes": column(*(file.read_bytes() for file in files)), "name": np.array(["a", "b"])}
    found = upscaler(batch)
    assert list(found["name"]) == ["a", "b"]
    assert list(found["error"]) == [None, None]
    assert list(found["bytes"]) == [
        (tmp_path / "out" / name).read_bytes() for name in ("a_x2.jpg", "b_x2.png")
    ]


def test_a_row_that_fails_does_not_stop_the_others(upscaler):
    found = upscaler({"bytes": column(b"nothing", None, b"", encoded(photo(8, 8), "PNG"))})
    assert [bool(content) for content in found["bytes"]] == [False, False, False, True]
    assert [error is None for error in found["error"]] == [False, False, False, True]
    assert found["error"][0] == "The image is not an image in a format that can be read."
    assert "The row holds NoneType instead of bytes" in found["error"][1]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_pixels_keep_their_type(upscaler, tiny_plan, kind):
    image = to_depth(photo(8, 10).astype(np.float32) / 255, np.dtype(kind))
    found = upscaler({"image": np.stack([image, image])})
    with clit_deploy.load(tiny_plan, runtime="cpu", threads=1) as up:
        expected = to_depth(up.upscale(image, scale=2), np.dtype(kind))
    for made in found["image"]:
        assert made.dtype == kind
        np.testing.assert_array_equal(made, expected)
    wrong = upscaler({"image": column(image[..., 0], image)})
    assert wrong["image"][0].shape == (0, 0, 3)
    assert "an array [height, width, 3] is needed" in wrong["error"][0]
    assert wrong["error"][1] is None


def test_options_and_sizes_of_run(tiny_plan):
    up = clit_deploy.ray.Upscaler(
        tiny_plan, longest=30, options=ImageOptions(format="webp"), runtime="cpu", threads=1
    )
    (made,) = up({"bytes": column(encoded(photo(8, 10), "PNG"))})["bytes"]
    with Image.open(io.BytesIO(made)) as image:
        assert (image.format, image.size) == ("WEBP", (30, 24))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "Give exactly one of --scale"),
        ({"scale": 2, "width": 9}, "Give exactly one of --scale"),
        ({"scale": 2, "region": (0, 0, 1, 1)}, "'region' is not an option of Upscaler"),
        ({"scale": 2, "runtime": "gpu"}, "'gpu'"),
    ],
)
def test_invalid_options_are_refused_at_once(tiny_plan, wrong, message):
    with pytest.raises(OptionError, match=message):
        clit_deploy.ray.Upscaler(tiny_plan, **wrong)


def test_a_missing_plan_names_the_node_and_the_path(tmp_path):
    with pytest.raises(MissingFileError, match=r"On node .*: There is no plan file .*no\.plan"):
        clit_deploy.ray.Upscaler(tmp_path / "no.plan", scale=2)


@pytest.mark.parametrize("batch", [{"pixels": column(1)}, {"bytes": [], "image": []}, [1, 2]])
def test_a_batch_without_images_is_refused(upscaler, batch):
    with pytest.raises(OptionError, match="A batch needs one column, 'bytes' or 'image'"):
        upscaler(batch)


def test_a_shipped_plan_is_whole(tiny_plan, tmp_path):
    copy = tmp_path / "copy.plan"
    copy.write_bytes(tiny_plan.read_bytes())
    shipped = pickle.dumps(clit_deploy.ray.ship(copy))
    copy.unlink()
    plan = pickle.loads(shipped)  # noqa: S301
    assert all(plan.read(name) for name in plan.manifest.digests)
