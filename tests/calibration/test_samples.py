from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clit_deploy.calibration.calibration_images import (
    EVERY,
    MAX_IMAGES,
    MIN_IMAGES,
    PHOTOGRAPHS,
    SIDE,
    gather,
)
from clit_deploy.calibration.crops import shrink
from clit_deploy.calibration.int8 import calibrate_plan
from clit_deploy.calibration.originals import Drawing, Part, Photograph, drawings, part
from clit_deploy.calibration.samples import SAMPLE_SCALES, Reservoir, digest_of, record, scales_for
from clit_deploy.calibration.settings import Settings
from clit_deploy.config import Precision, RuntimeName
from clit_deploy.errors import CalibrationError, MissingFileError, OptionError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from tests.helpers import photo


def batch(value: float, size: int = 4) -> dict[str, np.ndarray]:
    return {"x": np.full(size, value, np.float32), "y": np.zeros((1, 2), np.float32)}


def recorded(plans, name="clit", count=4, seed=0, threads=2):
    pictures = [Photograph(photo(70, 70, seed=k)) for k in range(count)]
    return record(Plan.open(plans[name]), open_runtime(RuntimeName.CPU, threads), pictures, seed)


def test_every_graph_of_a_cascade_is_fed_and_no_two_batches_are_alike(plans):
    """A known bug elsewhere fed one batch n times."""
    reservoirs = recorded(plans, count=8)
    stages = [f"stage{s}.{kind}.onnx" for s in range(3) for kind in ("project", "decode")]
    assert set(reservoirs) == {"encoder.onnx", *stages}
    assert set(recorded(plans, count=MIN_IMAGES - 1)) == set(reservoirs)  # the fewest that are seen
    for name, reservoir in reservoirs.items():
        digests = [digest_of(batch) for batch in reservoir.batches()]
        assert len(set(digests)) == len(digests) >= min(2, reservoir.offered), name
    decode = reservoirs["stage0.decode.onnx"].batches()
    assert len({round(float(b["maps"].mean()), 6) for b in decode}) > len(decode) // 2
    sizes = {b["row_weights"].shape[1] for b in decode}
    assert len(sizes) > 1  # the scales differ


def test_samples_are_the_same_however_many_threads_run(plans):
    digests = [
        {name: r.digest() for name, r in recorded(plans, seed=seed, threads=threads).items()}
        for seed, threads in ((0, 1), (0, 2), (1, 2))
    ]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_a_reservoir_keeps_a_bounded_spread_of_what_it_sees():
    reservoir = Reservoir(most=10)
    for k in range(1000):
        reservoir.offer(batch(k))
    kept = [int(b["x"][0]) for b in reservoir.batches()]
    assert len(kept) == 10
    assert min(kept) < 300 < 700 < max(kept)
    assert reservoir.offered == 1000


def test_a_reservoir_holds_few_bytes_and_equal_batches_once():
    reservoir = Reservoir(most=100, most_bytes=10_000)
    for k in range(50):
        reservoir.offer(batch(k, size=500))
    assert sum(b["x"].nbytes + b["y"].nbytes for b in reservoir.batches()) <= 10_000
    same = Reservoir()
    for _ in range(20):
        same.offer(batch(1))
    assert len(same.batches()) == 1


def test_a_reservoir_keeps_copies():
    feeds = batch(1)
    reservoir = Reservoir()
    reservoir.offer(feeds)
    feeds["x"][:] = 9
    assert (reservoir.batches()[0]["x"] == 1).all()


def test_scales_are_the_stated_mix_and_some_random_ones():
    found = scales_for(16)
    fixed = [scale for k, scale in enumerate(found) if k % 4 != 3]
    assert fixed == [*SAMPLE_SCALES, *SAMPLE_SCALES]
    assert len(set(found[3::4])) == 4
    assert found == scales_for(16)
    assert found != scales_for(16, seed=1)


def test_the_busiest_part_is_taken_and_sizes_fit():
    picture = np.full((200, 300, 3), 90, np.uint8)
    picture[100:, 200:] = np.random.RandomState(0).randint(0, 255, (100, 100, 3))
    low, true = shrink(Photograph(picture), 3.7, 96, Part.BUSIEST)
    assert low.shape == (25, 25, 3)
    assert true.shape == (92, 92, 3)
    assert true.std() > 0.2


def folder_of(path, pictures):
    path.mkdir()
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(path / f"{k:02}.png")
    return path


def test_a_folder_is_split_into_what_is_seen_and_what_is_held_out(tmp_path):
    found = gather(folder_of(tmp_path / "a", [photo(70, 80, seed=k) for k in range(11)]))
    assert (len(found.photographs), len(found.held_out_photographs)) == (9, 2)
    assert found.description.startswith("11 images of a and ")
    again = gather(tmp_path / "a")
    assert again.digest == found.digest


def test_drawings_of_every_kind_join_the_photographs(tmp_path):
    found = gather(folder_of(tmp_path / "a", [photo(70, 80, seed=k) for k in range(5)]))
    kinds = {"photographs", "text", "line art", "flat graphics", "night"}
    for images in (found.seen, found.held_out, found.few_held_out):
        assert {image.kind for image in images} == kinds
    drawn = [[image for image in some if isinstance(image, Drawing)]
             for some in (found.seen, found.held_out)]  # fmt: skip
    assert not set(drawn[0]) & set(drawn[1])


def test_a_drawing_has_details_of_one_size_however_far_it_is_shrunk():
    text = drawings(range(100, 101))[0]
    for scale in (2.0, 4.0, 12.0):
        low, true = shrink(text, scale, 192, Part.USUAL)
        assert true.shape == (192, 192, 3)
        assert low.shape == (192 // scale, 192 // scale, 3)
        assert np.abs(np.diff(low, axis=1)).max() > 0.5  # still black beside white


def test_few_pictures_still_leave_one_to_measure_on(tmp_path):
    found = gather(folder_of(tmp_path / "a", [photo(70, 80, seed=k) for k in range(MIN_IMAGES)]))
    assert (len(found.photographs), len(found.held_out_photographs)) == (MIN_IMAGES - 1, 1)


def test_the_default_images_are_photographs_of_the_package_with_their_sources():
    found = gather(None)
    files = sorted(PHOTOGRAPHS.glob("*.jpg"))
    assert len(found.photographs) + len(found.held_out_photographs) == len(files) == 24
    assert len(found.held_out_photographs) == len(files) // EVERY
    sources = (PHOTOGRAPHS / "SOURCES.md").read_text()
    rows = [line for line in sources.splitlines() if ".jpg |" in line]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [path.name for path in files]
    assert all("CC0-1.0" in row or "public domain" in row for row in rows)


def test_only_the_busiest_part_of_a_large_image_is_kept(tmp_path):
    large = np.zeros((1100, 1600, 3), np.uint8)
    large[-SIDE:, -SIDE:] = photo(SIDE, SIDE)
    found = gather(folder_of(tmp_path / "a", [large] * MIN_IMAGES))
    for picture in (*found.photographs, *found.held_out_photographs):
        assert picture.base is None
        assert (picture == photo(SIDE, SIDE)).all()


def test_parts_are_ranked_by_detail_and_flat_ones_are_not_usual():
    stripes = np.zeros((90, 90, 3), np.uint8)
    stripes[30:90:4] = 20
    stripes[60:90:2] = 255
    assert part(stripes, (30, 30), Part.BUSIEST).std() > 100
    stripes[60:90, 30:] = 0
    assert 5 < part(stripes, (30, 30), Part.USUAL).std() < 15
    assert part(np.zeros_like(stripes), (30, 30), Part.USUAL).shape == (30, 30, 3)


def test_useless_pictures_do_not_take_the_place_of_good_ones(tmp_path):
    flat = np.zeros((80, 80, 3), np.uint8)
    good = {7 * k for k in range(MAX_IMAGES // 4)}
    mixed = [photo(70, 80, seed=k) if k in good else flat for k in range(2 * MAX_IMAGES)]
    found = gather(folder_of(tmp_path / "a", mixed))
    assert found.description.startswith(f"{MAX_IMAGES // 4} images of a ")


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ([], "0 usable images among 0"),
        ([photo(70, 70, seed=k) for k in range(3)], "3 usable images among 3"),
        ([np.zeros((80, 80, 3), np.uint8)] * 6, "0 usable images among 6"),
        ([np.full((80, 80, 3), 200, np.uint8)] * 6, "not flat"),
        ([photo(40, 90, seed=k) for k in range(6)], "64 pixels"),
    ],
)
def test_images_without_use_are_refused(tmp_path, pictures, words):
    with pytest.raises(CalibrationError, match=words) as caught:
        gather(folder_of(tmp_path / "a", pictures))
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("none", "int8"), "no folder none"),
        ((None, "fp16"), "precision int8 and int8-fp16, not fp16"),
        ((None, "int8", float("nan")), "above 0,"),
        ((None, "int8", 0.0), "above 0,"),
        ((None, "int8", float("inf")), "above 0,"),
        ((None, "int8", 0.05, 2**33), "from 0 to 4294967295"),
        ((None, "int8-fp16", 0.01), "above 0.01,"),
    ],
)
def test_settings_that_are_not_valid(values, words):
    images, precision, *others = values
    with pytest.raises((OptionError, MissingFileError), match=words):
        Settings.of(images, Precision(precision), *others)


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(OptionError, match="Unknown precision 'int7'"):
        calibrate_plan(tmp_path / "x.plan", tmp_path / "y.plan", precision="int7")


def test_fp16_has_its_part_of_the_budget():
    assert Settings.of(None, Precision.INT8).budget == 0.05
    assert Settings.of(None, Precision.INT8_FP16).budget == pytest.approx(0.04)
