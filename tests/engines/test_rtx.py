"""Real engines: TensorRT-RTX builds on machines without a GPU."""

import hashlib

import onnx
import pytest

import clit_deploy
from clit_deploy.calibration.fp16 import FP32_RULES
from clit_deploy.engines.build import EngineLimits, build_engines, work_limits_of
from clit_deploy.engines.profiles import shape_ranges
from clit_deploy.export import checkpoint_export
from clit_deploy.models import load_checkpoint
from clit_deploy.passes.fp16_types import to_fp16
from clit_deploy.plan.plan_file import Plan, make_plan
from clit_deploy.runtimes.trt.engine_builder import BuildOptions, EngineBuilder
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt
from tests.engines.text import engine_types
from tests.helpers import DATA, tiny_checkpoint, tiny_lit
from tests.test_published import published

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")

TARGETS = BuildOptions(("8.6", "8.9"))


@pytest.fixture(scope="module")
def rtx():
    return load_tensorrt(Flavour.RTX)


def typed(plan: Plan) -> Plan:
    """The graphs of an FP16 export, without its measurements."""
    members = {name: plan.read(name) for name in plan.manifest.digests}
    for name, content in members.items():
        if name.endswith(".onnx"):
            model = to_fp16(onnx.load_model_from_string(content), FP32_RULES)
            members[name] = model.SerializeToString(deterministic=True)
    return make_plan(plan.manifest, members)


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_every_graph_of_every_family_builds(plan, half, rtx):
    made, _ = build_engines(typed(plan) if half else plan, rtx, TARGETS)
    (engines,) = made.manifest.engines
    assert engines.targets == ("8.6", "8.9")
    assert engines.gpu is None
    graphs = {name for name in plan.manifest.digests if name.endswith(".onnx")}
    assert {engine.graph for engine in engines.engines} == graphs
    for engine in engines.engines:
        types = engine_types(made.read(engine.member))
        for name in engine.profiles[0]:
            halved = half and name in ("features", "maps")
            assert types[name] == ("half" if halved else "float"), (engine.graph, name)
        arithmetic = {kind for name, kind in types.items() if name.startswith("__mye")}
        assert ("half" in arithmetic) <= half


def test_an_fp16_decoder_computes_in_fp16(plans, rtx):
    made, _ = build_engines(typed(Plan.open(plans["clit"])), rtx, TARGETS)
    kinds = {}
    for engine in made.manifest.engines[0].engines:
        types = engine_types(made.read(engine.member)).values()
        kinds[engine.graph] = {kind: list(types).count(kind) for kind in ("half", "float")}
    assert kinds["encoder.onnx"]["half"] > 2 * kinds["encoder.onnx"]["float"]
    assert kinds["stage0.decode.onnx"]["half"] > kinds["stage0.decode.onnx"]["float"]


def test_profiles_hold_what_the_scheduler_asks_for(plans, rtx):
    plan = Plan.open(plans["clit"])
    made, _ = build_engines(plan, rtx, TARGETS, limits=EngineLimits(tile=96, block=64, chunk=2))
    (engines,) = made.manifest.engines
    by_graph = {engine.graph: engine.profiles for engine in engines.engines}
    assert by_graph["encoder.onnx"][0]["image"] == [[1, 3, 1, 1], [1, 3, 96, 96], [1, 3, 96, 96]]
    decode = by_graph["stage0.decode.onnx"]
    assert [p["row_weights"][2][1] for p in decode] == [5, 16, 64]
    for profile in decode:
        rows, slots, _ = profile["row_weights"][2]
        cols = profile["col_weights"][2][0]
        assert rows * cols * slots**2 <= 2 * 1024 or rows * cols == 1
        assert profile["maps"][2] == [7, rows, cols + 6, 48]


def specs() -> dict[str, dict]:
    clit = published("edsr-baseline", 3)
    mlp = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [256] * 4}}
    base = {"encoder_spec": clit["args"]["encoder_spec"], "imnet_spec": mlp}
    return {
        "clit": clit,
        "liif": {"name": "liif", "args": base},
        "lte": {"name": "lte", "args": {**base, "hidden_dim": 256}},
    }


@pytest.fixture(scope="module")
def built():
    """Digests of graphs and shapes that were built already: most do not depend on the encoder."""
    return set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "encoder"),
    [
        *(("clit", name) for name in ("edsr-baseline", "edsr", "rcan", "rdn", "span", "swinir")),
        ("liif", "edsr-baseline"),
        ("lte", "edsr-baseline"),
    ],
)
def test_published_sizes_build_with_every_encoder(family, encoder, built, rtx, tmp_path):
    """An encoder's graph does not depend on the family, so each is built once."""
    spec = specs()[family]
    spec["args"]["encoder_spec"] = {"name": encoder, "args": {"no_upsampling": True}}
    source = load_checkpoint(tiny_checkpoint(tmp_path, spec))
    whole = checkpoint_export.build_plan(source, lambda step: None)
    count = 0
    for plan in (whole, typed(whole)):
        for member, some in shape_ranges(plan, work_limits_of(plan, EngineLimits())).items():
            graph = plan.read(member)
            key = hashlib.sha256(graph + repr(some).encode()).digest()
            if key not in built:
                shapes = [
                    {name: (b.min[name], b.opt[name], b.max[name]) for name in b.max} for b in some
                ]
                engine, _, _ = EngineBuilder(rtx).build(member, graph, shapes, TARGETS)
                assert len(engine) > 10_000
                built.add(key)
            count += 1
    assert count == 2 * (1 + 3 * len(whole.manifest.stages) + (family == "clit"))


@pytest.mark.slow
def test_the_published_lit_builds(rtx, tmp_path):
    clit = published("edsr-baseline", 1)["args"]
    changes = {key: clit[key] for key in ("base_dim", "head", "imnet_spec")}
    spec = tiny_lit(**changes)
    plan = checkpoint_export.build_plan(
        load_checkpoint(tiny_checkpoint(tmp_path, spec)), lambda step: None
    )
    for each in (plan, typed(plan)):
        made, _ = build_engines(each, rtx, TARGETS)
        assert len(made.manifest.engines[0].engines) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param("official-liif", marks=pytest.mark.data), "published-clit"]
)
def test_what_an_fp16_export_leaves_fp32_builds_as_well(name, rtx, tmp_path):
    """The graphs that a user gets: kept nodes and graphs are found on pictures, not by rules."""
    if name == "official-liif":
        source = DATA / "checkpoints" / "edsr-baseline-liif.pth"
    else:
        source = tiny_checkpoint(tmp_path, published("edsr-baseline", 1))
    path = clit_deploy.export_checkpoint(source, tmp_path / "m.plan", precision="fp16")
    plan = Plan.open(path)
    assert plan.manifest.precision == "fp16"
    made, _ = build_engines(plan, rtx, TARGETS)
    (engines,) = made.manifest.engines
    assert {x.graph for x in engines.engines} == {
        n for n in plan.manifest.digests if n.endswith(".onnx")
    }
    (encoder,) = (x for x in engines.engines if x.graph == plan.manifest.encoder.graph)
    assert "half" in set(engine_types(made.read(encoder.member)).values())
