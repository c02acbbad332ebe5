"""Engines at work: the picture of ONNX Runtime, from a device that is fed without waiting."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest

import clit_deploy
from clit_deploy.engines.build import EngineLimits
from clit_deploy.errors import DeviceMemoryError, EngineError, GraphRunError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.render.layout import Layout
from clit_deploy.runtimes.trt import cuda_graphs
from clit_deploy.runtimes.trt.cuda_graphs import GRAPHS, MIN_REPEATS
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime
from clit_deploy.runtimes.trt.tensorrt_api import Flavour
from clit_deploy.system.cache import Store
from clit_deploy.upscaler import Upscaler
from tests.fakes.cuda import Error
from tests.fakes.machine import Machine
from tests.helpers import photo, tiny_checkpoint, tiny_clit, tiny_liif

FAMILIES = ["clit", "clit-learn", "liif", "liif-plain", "lit", "lte"]
ENCODER = "encoder.onnx"


@contextlib.contextmanager
def upscaler(machine, plan, limits=None, workers=1, layout=None):
    built = machine.built(plan, limits)
    with Upscaler(built, runtime=machine.runtime(built, workers), layout=layout) as up:
        yield up


def differs(one, other):
    return float(np.abs(one - other).max())


@pytest.fixture(scope="module")
def half_plans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans-half")
    specs = {"clit-half": tiny_clit(stages=2), "liif-half": tiny_liif()}
    return {
        name: clit_deploy.export_checkpoint(
            tiny_checkpoint(folder, spec, f"{name}.pth"), precision="fp16"
        )
        for name, spec in specs.items()
    }


@pytest.fixture
def encoder(machine, plans):
    """The encoder's runner on the fake device, and a function that runs it on a picture's side."""
    plan = machine.built(Plan.open(plans["liif"]))
    runtime = machine.runtime(plan)
    runner = runtime.runner(plan, ENCODER, parallel=True)

    def run(side, seed=0):
        image = np.random.RandomState(seed).rand(1, 3, side, side).astype(np.float32)
        return runtime.arrays.host(runner.run({"image": image}))

    yield run
    runtime.close()


# -- what engines compute ------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_renders_as_on_the_processor(plans, name):
    plan, image = Plan.open(plans[name]), photo(21, 26)
    coords = np.random.RandomState(1).uniform(-1, 1, (50, 2))
    deep = 5.3 if len(plan.manifest.stages) > 1 else 2.7
    with (
        upscaler(Machine.make(), plan, workers=2) as device,
        Upscaler(plan, runtime="cpu") as processor,
    ):
        for wish in ({"scale": deep}, {"size": (30, 100)}):
            got, expected = (up.upscale(image, clip=False, **wish) for up in (device, processor))
            assert differs(got, expected) <= 1e-6
        got, expected = (up.query(image, coords, scale=deep) for up in (device, processor))
        assert differs(got, expected) <= 1e-6
        if plan.manifest.stages[0].attention:
            both = [up.attention(image, (9, 50), scale=deep) for up in (device, processor)]
            for got, expected in zip(*both, strict=True):
                assert differs(got, expected) <= 1e-6


@pytest.mark.parametrize("name", ["clit-half", "liif-half"])
def test_half_precision_stays_half_between_the_graphs(half_plans, name):
    """Tables are uploaded in the type that an engine takes; maps are halves already."""
    plan, image = Plan.open(half_plans[name]), photo(15, 18)
    with (
        upscaler(Machine.make(), plan) as device,
        Upscaler(plan, runtime="cpu") as processor,
    ):
        got, expected = (up.upscale(image, scale=4.4, clip=False) for up in (device, processor))
    assert differs(got, expected) <= 2e-3
    assert expected.std() > 0.05


def test_many_tiles_blocks_and_chunks_are_one_picture(plans):
    plan, image = Plan.open(plans["clit"]), photo(40, 33)
    limits = EngineLimits(tile=32, block=64, chunk=1)
    with (
        upscaler(Machine.make(), plan, limits, workers=2) as device,
        Upscaler(plan, runtime="cpu") as processor,
    ):
        got, expected = (up.upscale(image, scale=4.2, clip=False) for up in (device, processor))
    assert differs(got, expected) <= 1e-6


# -- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clit", "liif", "lte"])
def test_the_same_picture_once_more_allocates_nothing(machine, plans, name):
    with upscaler(machine, Plan.open(plans[name])) as up:
        first = up.upscale(photo(20, 30), scale=4.5)
        up.upscale(photo(20, 30), scale=4.5)  # what engines keep now was used otherwise at first
        known = machine.api.mallocs, len(machine.api.pinned)
        again = up.upscale(photo(20, 30), scale=4.5)
        assert (machine.api.mallocs, len(machine.api.pinned)) == known
        assert np.array_equal(first, again)


def test_everything_goes_back_when_it_is_closed(machine, plans):
    with upscaler(machine, Plan.open(plans["clit"]), workers=2) as up:
        up.upscale(photo(9, 9), scale=5)
        assert machine.api.used > 0
    assert machine.api.used == 0
    assert not machine.api.pinned
    assert not machine.api.streams
    recorded, forgotten = machine.api.count("captured"), machine.api.count("forgotten")
    assert recorded == forgotten


def longest(plan, chunk):
    """Bytes of the longest piece of memory that chunks of a size need, and the picture."""
    machine = Machine.make()
    with upscaler(machine, plan, EngineLimits(chunk=chunk)) as up:
        result = up.upscale(photo(40, 40), scale=4, clip=False)
    return machine.api.longest, result


def cramped(plan, room):
    """The picture on a device whose memory is in fragments of `room` bytes."""
    machine = Machine.make()
    machine.api.room = room
    with upscaler(machine, plan) as up:
        return up.upscale(photo(40, 40), scale=4, clip=False)


def test_short_memory_halves_the_chunks_and_says_so_once(plans, caplog):
    plan = Plan.open(plans["clit"])
    (large, expected), (half, _) = (longest(plan, chunk) for chunk in (24, 12))
    assert half < large
    assert differs(cramped(plan, half), expected) <= 1e-6
    assert caplog.text.count("chunks of stage0.decode.onnx are halved") == 1


def test_chunks_are_halved_until_they_fit(plans, caplog):
    plan = Plan.open(plans["clit"])
    (_, expected), (quarter, _) = (longest(plan, chunk) for chunk in (24, 6))
    assert differs(cramped(plan, quarter), expected) <= 1e-6
    assert caplog.text.count("are halved") == 2


@pytest.mark.parametrize("part", [1, 3])
def test_a_hopeless_device_says_what_it_lacks(plans, part):
    """Too little for the smallest chunk, and too little for the encoder's tile."""
    plan = Plan.open(plans["clit"])
    words = r"^Out of device memory: \d.* more are needed, .* free, .*(What should fit|Not even)"
    with pytest.raises(DeviceMemoryError, match=words) as caught:
        cramped(plan, longest(plan, 1)[0] // part - 1)
    assert "\n" not in str(caught.value)


def test_what_fails_gives_its_memory_back(plans):
    plan, machine = Plan.open(plans["clit"]), Machine.make(total=1 << 19)
    with upscaler(machine, plan) as up, contextlib.suppress(DeviceMemoryError):
        up.upscale(photo(40, 40), scale=4)
        pytest.fail("it was to fail")
    assert machine.api.used == 0


def test_working_memory_that_is_refused_is_an_error(machine, encoder):
    """The call returns nothing; what went wrong is in the log alone."""
    machine.module.refuses_memory = True
    words = r"encoder\.onnx refuses \d+ bytes of workspace: setDeviceMemoryV2: size"
    with pytest.raises(EngineError, match=words):
        encoder(16)
    machine.module.refuses_memory = False
    assert np.isfinite(encoder(16)).all()


def test_an_engine_that_cannot_say_what_it_needs_gets_what_its_largest_shapes_need(
    machine, encoder
):
    expected = encoder(16)
    machine.module.speechless = True
    assert np.isfinite(encoder(24)).all()
    machine.module.speechless = False
    assert np.array_equal(encoder(16), expected)


# -- recorded launches ---------------------------------------------------------------------------


def test_a_launch_that_comes_often_is_recorded_and_replayed_from_then_on(api, encoder):
    expected, counts = encoder(16), []
    for _ in range(4):
        assert np.array_equal(encoder(16), expected)
        counts.append((api.count("captured"), api.count("launch")))
    assert counts == [(0, 0), (1, 0), (1, 1), (1, 2)]
    assert not np.array_equal(encoder(16, seed=1), expected), "a replay reads what is there now"
    assert api.count("launch") == 3


def test_what_was_recorded_ends_when_working_memory_grows(api, encoder):
    """Its launches have the old address in them."""
    for _ in range(4):
        small = encoder(16)
    assert (api.count("captured"), api.count("launch")) == (1, 1)
    encoder(24)
    counts = []
    for _ in range(3):
        assert np.array_equal(encoder(16), small)
        counts.append((api.count("captured"), api.count("launch")))
    assert counts == [(2, 1), (2, 2), (2, 3)]
    assert api.count("forgotten") == 1


def test_working_memory_that_grew_is_held_once(machine, plans):
    """The old workspace goes back to the pool, and CUDA graphs that use it are dropped."""
    machine.module.bytes_per_number = 4000
    plan = machine.built(Plan.open(plans["liif"]))
    runtime = machine.runtime(plan)
    encode, project = (
        runtime.runner(plan, member, parallel=True) for member in (ENCODER, "stage0.project.onnx")
    )
    features = encode.run({"image": np.zeros((1, 3, 16, 16), np.float32)})
    for _ in range(3):
        encode.run({"image": np.zeros((1, 3, 16, 16), np.float32)})
    small = machine.api.longest
    project.run({"features": features})
    assert machine.api.longest > small
    runtime.arrays.pool.trim()
    assert small not in [len(block) for block in machine.api.blocks.values()]
    encode.run({"image": np.zeros((1, 3, 16, 16), np.float32)})
    runtime.close()
    assert machine.api.graphs == 0


def test_other_shapes_keep_what_was_recorded(api, encoder):
    """A CUDA graph has its own context, which gets no other shapes."""
    small, large = encoder(16), encoder(24)
    for _ in range(4):
        assert np.array_equal(encoder(24), large)
        assert np.array_equal(encoder(16), small)
    assert (api.count("captured"), api.count("launch")) == (2, 4)
    assert api.count("forgotten") == 0


def test_only_the_last_used_graphs_are_kept(api, encoder):
    for side in range(40, 40 - GRAPHS - 2, -1):
        for _ in range(3):
            encoder(side)
    assert api.count("captured") == GRAPHS + 2
    assert api.count("forgotten") == 2


def test_capturing_ends_where_addresses_seldom_repeat(api, encoder, monkeypatch, caplog):
    monkeypatch.setattr(cuda_graphs, "GRAPHS", 1)
    with caplog.at_level("INFO"):
        for side in (40, 36, 32, 28, 24, 20):
            for _ in range(3):
                encoder(side)
    assert caplog.text.count("no more CUDA graphs are captured") == 1
    assert api.count("captured") == 3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("cudaStreamBeginCapture", Error.cudaErrorInvalidValue),
        ("cudaStreamBeginCapture", Error.cudaErrorMemoryAllocation),
        ("cudaStreamEndCapture", Error.cudaErrorStreamCaptureInvalidated),
        ("cudaGraphInstantiate", Error.cudaErrorMemoryAllocation),
    ],
)
def test_an_engine_that_cannot_be_captured_is_enqueued_every_time(
    api, encoder, caplog, call, error
):
    api.fails[call] = error
    results = [encoder(16) for _ in range(4)]
    assert all(np.array_equal(result, results[0]) for result in results)
    assert (api.count("begin"), api.count("launch")) == (1, 0), "it is tried once"
    assert caplog.text.count("encoder.onnx runs without CUDA graphs") == 1
    assert api.graphs == 0


def test_a_run_goes_on_without_a_graph_that_cannot_be_launched(api, encoder, caplog):
    results = [encoder(16) for _ in range(3)]
    api.fails["cudaGraphLaunch"] = Error.cudaErrorMemoryAllocation
    results += [encoder(16) for _ in range(3)]
    assert all(np.array_equal(result, results[0]) for result in results)
    assert (api.count("begin"), api.graphs) == (1, 0), "and not tried again"
    assert caplog.text.count("encoder.onnx runs without CUDA graphs") == 1


def test_an_engine_that_cannot_be_captured_leaves_nothing(machine, api, encoder):
    machine.module.refuses = lambda stream: stream.captured is not None
    results = [encoder(16) for _ in range(4)]
    assert all(np.array_equal(result, results[0]) for result in results)
    assert (api.count("begin"), api.count("launch")) == (1, 0)
    assert api.graphs == 0, "what began is given back"
    assert all(stream.captured is None for stream in api.streams.values())


@pytest.mark.parametrize("refusal", ["Cuda Runtime (out of memory)", "no more contexts"])
def test_without_its_own_context_nothing_is_captured(machine, api, encoder, caplog, refusal):
    expected = encoder(16)
    machine.module.contexts, machine.module.refusal = 0, refusal
    assert all(np.array_equal(encoder(16), expected) for _ in range(4))
    assert (api.count("begin"), api.count("launch")) == (0, 0)
    assert caplog.text.count("capturing failed") == 1
    assert refusal in caplog.text


def test_rtx_is_not_recorded_and_keeps_what_it_compiled(plans):
    """Its cache lasts until the next start."""
    machine = Machine.make(Flavour.RTX)
    with upscaler(machine, Plan.open(plans["liif"])) as up:
        first = [up.upscale(photo(9, 9), scale=2) for _ in range(4)]
    assert machine.api.count("begin") == 0
    assert all(np.array_equal(result, first[0]) for result in first)
    store = Store("runtime-tensorrt-rtx-10.3.0-Fake GPU")
    kept = store.read()
    assert kept.startswith(b"kernel ")
    with upscaler(machine, Plan.open(plans["liif"])) as up:
        up.upscale(photo(9, 9), scale=2)
    assert store.read().startswith(kept + b"kernel ")


def test_threads_that_record_different_engines_wait_for_one_another(machine, api, plans):
    """A decoder and its table of pairs run in the same workers; one stream records both."""
    plan = machine.built(Plan.open(plans["clit-learn"]))
    runtime = machine.runtime(plan, workers=2)
    encoder, pairs = (
        runtime.runner(plan, member, parallel=True)
        for member in (ENCODER, plan.manifest.stages[0].pairs)
    )
    fed = {
        encoder: {"image": np.zeros((1, 3, 16, 16), np.float32)},
        pairs: {"offset": np.zeros((5, 2), np.float32)},
    }
    for runner, feeds in fed.items():  # the next meeting is recorded
        for _ in range(MIN_REPEATS):
            runtime.arrays.host(runner.run(feeds))
    failed, outcome = [], []

    def other():
        try:
            outcome.append(runtime.arrays.host(pairs.run(fed[pairs])))
        except GraphRunError as error:
            failed.append(error)

    thread = threading.Thread(target=other)

    def meanwhile(stream):
        """While the encoder is recorded, the other thread gets time."""
        if stream.captured is not None and not thread.ident:
            thread.start()
            thread.join(0.3)
        return False

    machine.module.refuses = meanwhile
    runtime.arrays.host(encoder.run(fed[encoder]))
    thread.join(10)
    assert not failed
    assert len(outcome) == 1
    assert api.count("captured") == 2
    runtime.close()


# -- refusals ------------------------------------------------------------------------------------


def test_a_shape_outside_every_profile_is_one_sentence(machine, plans):
    plan = Plan.open(plans["liif"])
    with upscaler(machine, plan, EngineLimits(tile=64), layout=Layout(80, 64)) as up:
        words = r"encoder\.onnx accepts image from .*64.*not \[1, 3, 70, 70\].*build --tile"
        with pytest.raises(EngineError, match=words) as caught:
            up.upscale(photo(70, 70), scale=2)
    assert "\n" not in str(caught.value)


def test_a_refused_launch_is_an_error_with_the_library_s_reason(machine, encoder):
    machine.module.refuses = lambda stream: True
    with pytest.raises(
        GraphRunError, match=r"TensorRT 10\.3\.0 cannot run encoder\.onnx: enqueueV3"
    ):
        encoder(16)
    machine.module.refuses = None
    assert np.isfinite(encoder(16)).all(), "and nothing is left behind that breaks the next"


def test_a_poisoned_device_is_left_alone(machine, plans, caplog):
    """After an illegal access it answers nothing, so smaller chunks would only fail again."""
    with upscaler(machine, Plan.open(plans["liif"])) as up:
        up.upscale(photo(9, 9), scale=2)
        machine.module.refuses = lambda stream: True
        machine.module.refusal = "Cuda Runtime (an illegal memory access was encountered)"
        with pytest.raises(GraphRunError, match="an illegal memory access"):
            up.upscale(photo(9, 9), scale=2)
    assert "halved" not in caplog.text


def test_a_launch_without_room_is_halved(machine, plans, caplog):
    """TensorRT may lack memory of its own while it enqueues."""
    plan = Plan.open(plans["liif"])
    with upscaler(Machine.make(), plan) as up:
        expected = up.upscale(photo(9, 9), scale=2)
    with upscaler(machine, plan) as up:
        refusals = iter([False, False, True])  # encoder, project, decode
        machine.module.refuses = lambda stream: next(refusals, False)
        machine.module.refusal = "Cuda Runtime (out of memory)"
        assert np.array_equal(up.upscale(photo(9, 9), scale=2), expected)
    assert "chunks of stage0.decode.onnx are halved" in caplog.text


def test_engines_that_were_not_built_together_are_told_apart(machine, plans):
    plan = machine.built(Plan.open(plans["liif"]))
    runtime = machine.runtime(plan)
    runner = runtime.runner(plan, "stage0.project.onnx", parallel=True)
    features = runtime.arrays.empty((1, 8, 9, 9), np.dtype(np.float16))
    with pytest.raises(EngineError, match=r"features must be float32, but is float16"):
        runner.run({"features": features})
    runtime.close()


def test_an_engine_is_loaded_once(machine, plans):
    plan = machine.built(Plan.open(plans["liif"]))
    runtime = EngineRuntime(machine.trt, plan.manifest.engines[0], machine.cuda)
    one, other = (
        runtime.runner(plan, ENCODER, parallel=True, dims={"height": side}) for side in (16, 24)
    )
    assert one is other
    assert runtime.name == "TensorRT 10.3.0 (Fake GPU)"
    runtime.close()


# -- what profile asks for -----------------------------------------------------------------------


def test_times_are_those_of_the_device_and_only_when_asked_for(plans, machine):
    with upscaler(machine, Plan.open(plans["clit"])) as up:
        up.upscale(photo(20, 20), scale=2)
        assert up.runtime.device_times() == []
        up.runtime.start_device_times()
        up.upscale(photo(20, 20), scale=2)
        times = {time.member: time for time in up.runtime.device_times()}
        assert set(times) == {"encoder.onnx", "stage0.project.onnx", "stage0.decode.onnx"}
        decode = times["stage0.decode.onnx"]
        assert decode.runs >= 1
        assert min(decode.compute_ms, decode.upload_ms, decode.download_ms) > 0
        assert times["encoder.onnx"].download_ms == 0, "features stay on the device"
        assert up.runtime.device_times() == []
        assert up.runtime.device_bytes()["engines"] > 0


def test_an_upload_is_the_copy_alone(plans, machine, monkeypatch):
    """The host fills the pinned memory before the device's clock starts."""
    plan = machine.built(Plan.open(plans["liif"]))
    runtime = machine.runtime(plan)
    runner = runtime.runner(plan, ENCODER, parallel=True)
    calls = machine.api.calls
    really = np.copyto
    monkeypatch.setattr(np, "copyto", lambda *a, **k: (calls.append(("fill", 0)), really(*a, **k)))
    runtime.start_device_times()
    calls.clear()
    runner.run({"image": np.zeros((1, 3, 16, 16), np.float32)})
    assert [name for name, _ in calls][:4] == ["fill", "record", "copy", "record"]
    (time,) = runtime.device_times()
    assert (time.member, time.runs, time.upload_ms) == (ENCODER, 1, 2)
    runtime.close()


def test_layers_are_reported_and_nothing_is_recorded_meanwhile(plans, machine):
    with upscaler(machine, Plan.open(plans["liif"])) as up:
        up.runtime.start_layers()
        for _ in range(3):
            up.upscale(photo(20, 20), scale=2)
        layers = up.runtime.layers()
        assert {layer.member for layer in layers} >= {"encoder.onnx", "stage0.decode.onnx"}
        assert all(layer.ms == 0.5 * layer.runs for layer in layers)
        assert machine.api.count("captured") == 0
