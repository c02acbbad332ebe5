"""Plans calibrated from end to end."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.calibration.drop_evaluator import DropEvaluator
from clit_deploy.calibration.int8 import QDQ_FORMATS, calibrate_plan, quantize_plan
from clit_deploy.calibration.originals import Photograph
from clit_deploy.calibration.recipe import find_recipe
from clit_deploy.calibration.samples import record
from clit_deploy.calibration.settings import Settings
from clit_deploy.cli.report import quantization_lines
from clit_deploy.cli.verdicts import calibrated
from clit_deploy.config import Precision
from clit_deploy.engines.build import build_engines
from clit_deploy.errors import (
    AccuracyError,
    CalibrationError,
    ClitDeployError,
    OptionError,
    OutputError,
)
from clit_deploy.passes.fp16_weights import store_fp16_weights
from clit_deploy.passes.qdq import int8_products
from clit_deploy.plan.manifest import KindLoss, ScaleDrop
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.compare import compare_plans, shown
from clit_deploy.quality.verify import verify_plan
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from tests.fakes.machine import Machine
from tests.helpers import (
    ROOT,
    cli,
    exported_once,
    mlp,
    photo,
    tiny_checkpoint,
    tiny_clit,
    tiny_liif,
)

LOOSE = 60.0
"""dB: with random weights the output has nothing to do with the truth."""


def loose(folder, precision="int8"):
    return Settings.of(folder, Precision(precision), LOOSE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    for k in range(5):
        Image.fromarray(photo(72, 72, seed=k)).save(path / f"{k}.png")
    return path


@pytest.fixture(scope="module", params=["clit-wide", "liif-wide"])
def pair(request, plans, folder, tmp_path_factory):
    """A float plan and the INT8 plan made from it."""
    target = tmp_path_factory.mktemp("int8") / "made.plan"
    return plans[request.param], calibrate_plan(
        plans[request.param], target, folder, max_drop=LOOSE
    )


def test_an_int8_plan_computes_nearly_the_same(pair):
    image = photo(20, 24)
    outputs = []
    for path in pair:
        with clit_deploy.load(path, runtime="cpu") as up:
            outputs.append(up.upscale(image, scale=3.3, clip=False))
    error = np.abs(outputs[1] - outputs[0]).max()
    assert 0 < error < 0.35 * outputs[0].std()


def test_the_manifest_records_how_and_at_what_loss(pair):
    before, after = (Plan.open(path).manifest for path in pair)
    assert (before.precision, after.precision) == ("fp32", "int8")
    assert before.quantization is None
    found = after.quantization
    assert found is not None
    assert (found.method, found.max_drop) == ("minmax", LOOSE)
    assert found.pictures.startswith("5 images of pictures0 and ")
    kinds = ["photographs", "text", "line art", "flat graphics", "night"]
    assert [kind.kind for kind in found.kinds] == kinds
    for k, drop in enumerate(found.drops):
        assert drop.scale == [2.0, 4.0, 12.0][k]
        assert drop.drop == max(kind.drops[k].drop for kind in found.kinds)
    for kind in found.kinds:
        assert 10 < kind.float_agreement < 100
        assert 0 < kind.largest_difference <= 255
    costs = [node.drop for node in found.nodes]
    assert costs == sorted(costs, reverse=True)
    assert all(cost > 0 for cost in costs)
    assert not any(node.kept for node in found.nodes)
    plan = Plan.open(pair[1])
    for name, count in found.counts.items():
        products = int8_products(onnx.load_from_string(plan.read(name)))
        assert len(products) == count > 0
        assert set(products) == {node.node for node in found.nodes if node.graph == name}


@pytest.mark.parametrize(
    ("precision", "products"),
    [("int8", ["layer1/MatMul"]), ("int8-fp16", ["layer0/head0/MatMul", "layer1/MatMul"])],
)
def test_products_of_heads_with_16_channels_are_int8_for_tensorrt_alone(
    shared_folder, precision, products
):
    """On a CPU they are slower than float, and so is what reads them."""
    wide = tiny_clit(stages=1, r=1, base_dim=16, head=1, imnet_spec=mlp(32, act="gelu"))
    plan = Plan.open(exported_once(shared_folder, wide, "clit-16"))
    runtime = open_runtime("cpu")
    seen = [Photograph(photo(48, 48, seed)) for seed in range(2)]
    reservoirs = record(plan, runtime, seen, 0)
    runtime.close()
    recipe = find_recipe(plan, reservoirs, QDQ_FORMATS[Precision(precision)])
    decode = recipe.graphs["stage0.decode.onnx"]
    assert [site.node for site in decode.sites if site.depth] == products
    assert len(decode.sites) == (1 if precision == "int8" else 3)


def test_an_int8_plan_can_be_verified_and_shown(pair):
    plan = Plan.open(pair[1])
    assert verify_plan(plan, runtime="cpu").cases
    assert plan.manifest.proof.tolerance < 1.5  # even a gray image differs by less
    other = Plan.open(pair[0])
    swapped = plan.replaced({"stage0.decode.onnx": other.read("stage0.point.onnx")})
    with pytest.raises(ClitDeployError):
        verify_plan(swapped, runtime="cpu")
    done = cli("info", pair[1])
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout
    assert "dB alone" in done.stdout
    assert "with the float plan" in done.stdout
    assert "a loss of 60 dB is allowed" in done.stdout
    assert re.search(r"    flat graphics  loses .* dB at x12; agrees with the float", done.stdout)


def test_calibration_is_reproducible(pair, folder, tmp_path):
    again = calibrate_plan(pair[0], tmp_path / "again.plan", folder, max_drop=LOOSE)
    assert Plan.open(again).manifest.digests == Plan.open(pair[1]).manifest.digests


def test_an_int8_plan_is_not_calibrated_again(pair, tmp_path):
    with pytest.raises(CalibrationError, match="already int8"):
        calibrate_plan(pair[1], tmp_path / "x.plan")
    assert not list(tmp_path.iterdir())


def test_a_plan_with_half_weights_is_calibrated_too(plans, folder):
    plan = Plan.open(plans["liif-wide"])
    graphs = [name for name in plan.manifest.digests if name.endswith(".onnx")]
    halves = {n: store_fp16_weights(onnx.load_from_string(plan.read(n))) for n in graphs}
    members = {name: model.SerializeToString() for name, model in halves.items()}
    halved = plan.replaced(members, half_weights=True)
    made = quantize_plan(halved, loose(folder))
    assert sum(made.manifest.quantization.counts.values()) == 5
    for name in graphs:
        assert len(made.read(name)) < 1.2 * len(halved.read(name)) + 4000, name
    point = onnx.load_from_string(made.read("stage0.point.onnx")).graph
    kinds = {weight.data_type for weight in point.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds


def test_a_missed_budget_writes_nothing(plans, folder, tmp_path, monkeypatch):
    def poor(trial, plan):
        return [KindLoss("text", (ScaleDrop(2.0, 35.0, 34.0),), 40.0, 99.0)]

    monkeypatch.setattr(DropEvaluator, "measured", poor)
    with pytest.raises(AccuracyError, match=r"on text at x2 .* nothing was written"):
        calibrate_plan(plans["liif"], tmp_path / "x.plan", folder, max_drop=0.9)
    assert not list(tmp_path.iterdir())


def test_options_that_are_not_valid(plans, folder, tmp_path):
    with pytest.raises(OutputError, match="itself"):
        calibrate_plan(plans["liif"], plans["liif"], folder)
    with pytest.raises(OptionError, match="--precision int8"):
        clit_deploy.export_checkpoint("x.pth", tmp_path / "x.plan", calibration=folder)
    with pytest.raises(OptionError, match="--precision int8"):
        clit_deploy.export_checkpoint("x.pth", tmp_path / "x.plan", max_drop=0.1)


def test_an_option_is_refused_before_the_checkpoint_is_read(tmp_path):
    """There is no such checkpoint, but the message is about the option."""
    none = tmp_path / "none"
    done = cli("export", "x.pth", "--precision", "int8", "--images", none)
    assert (done.returncode, "no folder" in done.stderr) == (1, True), done.stderr
    done = cli("export", "x.pth", "--precision", "int8", "--max-drop", "nan")
    assert (done.returncode, "above 0" in done.stderr) == (2, True), done.stderr


def test_an_engine_of_the_float_plan_is_left_behind(plans, folder):
    machine = Machine.make()
    built, _ = build_engines(
        Plan.open(plans["liif"]), machine.trt, BuildOptions(), gpu=machine.cuda.gpu
    )
    made = quantize_plan(built, loose(folder))
    assert made.manifest.engines == ()
    members = {engine.member for engine in built.manifest.engines[0].engines}
    assert members
    assert not members & set(made.manifest.digests)


def test_an_image_with_a_flat_part_does_not_decide(plans):
    """The float plan is nearly perfect there, so any error would be many dB."""
    plan = Plan.open(plans["liif"])
    night = np.zeros((96, 96, 3), np.uint8)
    night[40:56, 40:56] = 200
    runtime = open_runtime("cpu", threads=1)
    trial = DropEvaluator(plan, runtime, [Photograph(night)], 72)
    assert trial.estimate(plan) == 0
    (loss,) = trial.measured(plan)
    assert all(drop.float_psnr < 60 and drop.drop == 0 for drop in loss.drops)
    assert (loss.float_agreement, loss.largest_difference) == (160, 0)
    perfect = DropEvaluator(plan, runtime, [Photograph(np.zeros((96, 96, 3), np.uint8))], 72)
    for case in itertools.chain(*perfect._cases.values()):
        case.reference[:] = 0
        case.true[:] = 0
    assert np.isfinite(perfect.estimate(plan))


def test_export_goes_straight_to_int8(folder, tmp_path):
    checkpoint = tiny_checkpoint(tmp_path, tiny_liif())
    options = ["--precision", "int8", "--images", folder, "--max-drop", LOOSE]
    done = cli("export", checkpoint, "-o", tmp_path / "a.plan", *options)
    assert done.returncode == 0, done.stderr
    assert Plan.open(tmp_path / "a.plan").manifest.precision == "int8"
    assert "calibrated minmax, 5 images" in done.stdout


def test_an_interrupted_calibration_leaves_nothing(plans, tmp_path):
    command = [sys.executable, "-m", "clit_deploy", "calibrate", plans["clit"]]
    started = subprocess.Popen(
        [*map(str, command), "-o", str(tmp_path / "x.plan")],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "photographs of the package" in started.stderr.readline()  # as no folder is named
    assert "sampling" in started.stderr.readline()
    time.sleep(0.2)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 128 + signal.SIGINT
    assert "stopped" in errors
    assert not list(tmp_path.iterdir())


def test_compare_reports_the_differences_of_plans(pair, folder, tmp_path):
    figure = tmp_path / "d.png"
    arguments = [*pair, "--images", folder, "--scale", "2,3", "--json", "--figure", figure]
    done = cli("compare", *arguments)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["precision"], row["scale"]) for row in rows] == [
        ("fp32", 2.0), ("int8", 2.0), ("fp32", 3.0), ("int8", 3.0),
    ]  # fmt: skip
    assert rows[0]["drop"] == 0
    assert rows[0]["speedup"] == 1
    assert rows[1]["drop"] == pytest.approx(rows[0]["psnr"] - rows[1]["psnr"])
    assert rows[1]["drop"] != 0
    assert all(row["ms_per_megapixel"] > 0 and row["megabytes"] > 0 for row in rows)
    with Image.open(figure) as image:
        assert image.size == (2 * 72, 72)
        right = np.asarray(image)[:, 72:]
    assert abs(right.mean() - 127.5) < 20


def test_differences_are_shown_ten_times():
    reference = np.zeros((1, 2, 3), np.float32)
    output = reference + np.float32(0.02)
    assert shown(output, reference) == pytest.approx(0.7)
    assert shown(reference, reference) == pytest.approx(0.5)
    assert shown(reference - 1, reference) == pytest.approx(0.0)


def test_a_comparison_that_would_fail_later_does_not_start(pair, folder, tmp_path):
    done = cli("compare", *pair, "--images", folder, "--scale", "2,30")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pixels are left inside a border of 30" in done.stderr
    done = cli("compare", *pair, "--images", folder, "--figure", tmp_path / "d.xyz")
    assert (done.returncode, done.stdout) == (1, "")
    assert "'.xyz' cannot be written" in done.stderr


def test_plans_of_one_name_are_listed_by_path(pair, folder, tmp_path):
    (tmp_path / pair[1].name).write_bytes(pair[1].read_bytes())
    open_on_cpu = functools.partial(clit_deploy.load, runtime="cpu")
    rows = compare_plans([pair[1], tmp_path / pair[1].name], folder, [2.0], open_on_cpu)
    assert [row.plan for row in rows] == [str(pair[1]), str(tmp_path / pair[1].name)]


def test_one_plan_is_not_compared(plans, folder):
    done = cli("compare", plans["liif"], "--images", folder)
    assert done.returncode == 2
    assert "At least two plans" in done.stderr


def test_old_manifests_without_quantization_are_read(plans):
    manifest = Plan.open(plans["liif"]).manifest
    content = json.loads(manifest.to_json())
    del content["quantization"]
    read = type(manifest).from_json(json.dumps(content))
    assert dataclasses.replace(read, quantization=None) == manifest


def test_old_int8_plans_were_measured_on_photographs_alone(pair):
    manifest = Plan.open(pair[1]).manifest
    content = json.loads(manifest.to_json())
    del content["quantization"]["kinds"]
    read = type(manifest).from_json(json.dumps(content))
    assert read.quantization == dataclasses.replace(manifest.quantization, kinds=())
    shown = "\n".join(quantization_lines(read))
    assert "accuracy   x2" in shown
    assert "text" not in shown
    assert "INT8 loses at most" in calibrated(pair[1], pair[0], read)


def test_calibrate_prints_json(plans, folder, tmp_path):
    target = tmp_path / "a.plan"
    arguments = ["--images", folder, "--max-drop", LOOSE, "-o", target, "--json"]
    done = cli("calibrate", plans["liif"], *arguments)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["plan"] == str(target)
    found = {kind["kind"]: kind for kind in document["quantization"]["kinds"]}
    assert len(found["night"]["drops"]) == 3
    shown = json.loads(cli("info", target, "--json").stdout)
    assert shown["quantization"] == document["quantization"]
