"""Requests to NVIDIA's server: it makes what the library makes, and survives what clients do."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import clit_deploy
from clit_deploy.images.pixels import to_bytes
from clit_deploy.system.proc_files import kilobytes
from tests.helpers import ROOT, cli, photo
from tests.triton.conftest import PIXELS, QUEUE, Client

pytestmark = pytest.mark.triton

METRIC = "clit_deploy_request_failures"
LARGEST = 1000
"""Side of the largest square that the server makes."""


@pytest.fixture(scope="module")
def up(tiny_plan):
    with clit_deploy.load(tiny_plan, runtime="cpu", threads=1) as loaded:
        yield loaded


def png(pixels, **saved):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **saved)
    return file.getvalue()


def opened(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def refused(client, words, **tensors):
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match=words) as found:
        client.ask(**tensors)
    return found.value


@pytest.mark.parametrize(("way", "value"), [("scale", 2.7), ("size", (71, 90))])
def test_results_are_those_of_the_library(client, up, way, value):
    image = photo(31, 40)
    expected = to_bytes(up.upscale(image, **{way: value}))
    for source in ({"IMAGE": png(image)}, {"PIXELS": image}):
        wanted = {way.upper(): value}
        np.testing.assert_array_equal(opened(client.ask(**source, **wanted)), expected)
        np.testing.assert_array_equal(client.ask("PIXELS", **source, **wanted), expected)


def test_a_file_is_the_one_that_run_writes(client, tiny_plan, tmp_path):
    """With transparency, 16 bits, a text and a resolution."""
    pixels = np.dstack([photo(20, 24), np.full((20, 24), 100, np.uint8)])
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a test")
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(png(pixels, pnginfo=text, dpi=(300, 300)))
    for content in (source.read_bytes(), (ROOT / "tests/odd/images/ramp_rgb16.png").read_bytes()):
        source.write_bytes(content)
        assert cli("run", source, "-e", tiny_plan, "-s", 3, "-o", target, "--force",
                   "--runtime", "cpu", "--threads", 1).returncode == 0  # fmt: skip
        assert client.ask(IMAGE=content, SCALE=3) == target.read_bytes()


def test_a_region_is_a_part_of_the_whole(client):
    image = png(photo(40, 40))
    whole = client.ask("PIXELS", IMAGE=image, SCALE=4)
    part = client.ask("PIXELS", IMAGE=image, SCALE=4, REGION=[8, 4, 20, 16])
    np.testing.assert_array_equal(part, whole[16:80, 32:112])


def test_another_format(client):
    made = client.ask(IMAGE=png(photo(8, 8)), SCALE=2, FORMAT="jpg")
    assert Image.open(io.BytesIO(made)).format == "JPEG"


@pytest.mark.parametrize(
    ("words", "tensors"),
    [
        ("IMAGE is not an image|IMAGE.*not a", {"IMAGE": b"not an image", "SCALE": 2}),
        ("IMAGE is empty", {"IMAGE": b"", "SCALE": 2}),
        ("IMAGE", {"IMAGE": png(photo(40, 40))[:900], "SCALE": 2}),
        ("one of the inputs IMAGE and PIXELS", {"SCALE": 2}),
        ("one of the inputs SCALE and SIZE", {"PIXELS": photo(8, 8)}),
        ("one of the inputs SCALE", {"PIXELS": photo(8, 8), "SCALE": 2, "SIZE": (16, 16)}),
        ("scale", {"PIXELS": photo(8, 8), "SCALE": 0.5}),
        ("scale", {"PIXELS": photo(8, 8), "SCALE": float("nan")}),
        ("below", {"PIXELS": photo(8, 8), "SIZE": (4, 4)}),
        ("region", {"PIXELS": photo(8, 8), "SCALE": 2, "REGION": [4, 4, 9, 9]}),
        ("not a format", {"PIXELS": photo(8, 8), "SCALE": 2, "FORMAT": "docx\n"}),
        ("max_pixels", {"PIXELS": photo(1001, 1000), "SCALE": 1}),
        ("max_pixels", {"PIXELS": photo(8, 8), "SCALE": 1000}),
        ("max_pixels", {"IMAGE": png(photo(1001, 1000)), "SCALE": 1, "REGION": [0, 0, 8, 8]}),
        ("unexpected shape", {"PIXELS": np.zeros((8, 8, 4), np.uint8), "SCALE": 2}),
    ],
)
def test_a_bad_request_is_a_message_and_the_instance_goes_on(client, triton_server, words, tensors):
    before = triton_server.instances()
    failures = triton_server.metric(METRIC)
    error = refused(client, words, **tensors)
    assert "clit-deploy-" not in str(error)
    assert error.status() in ("400", "StatusCode.INVALID_ARGUMENT")
    assert client.ask("PIXELS", PIXELS=photo(8, 8), SCALE=2).shape == (16, 16, 3)
    assert triton_server.instances() == before
    by_triton = words == "unexpected shape"
    assert triton_server.metric(METRIC) == failures + (not by_triton)


def test_many_clients_get_their_own_results(triton_server, up):
    """As many as may wait, of both protocols at once."""
    images = [photo(16 + k, 20, seed=k) for k in range(12)]

    def ask(worker):
        protocol = ("http", "grpc")[worker % 2]
        with Client(protocol, getattr(triton_server, protocol)) as client:
            mine = range(worker, 12, QUEUE)
            return [(k, client.ask("PIXELS", PIXELS=images[k], SCALE=2)) for k in mine]

    with ThreadPoolExecutor(QUEUE) as pool:
        made = [one for some in pool.map(ask, range(QUEUE)) for one in some]
    assert len(made) == 12
    for k, result in made:
        np.testing.assert_array_equal(result, to_bytes(up.upscale(images[k], scale=2)))


def test_the_queue_is_bounded(triton_server):
    from tritonclient.utils import InferenceServerException

    def ask(_):
        try:
            with Client("http", triton_server.http) as client:
                return client.ask("PIXELS", PIXELS=photo(250, 250), SCALE=4).shape
        except InferenceServerException as error:
            return error.status()

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    assert set(answers) == {(LARGEST, LARGEST, 3), "503"}
    assert QUEUE <= answers.count((LARGEST, LARGEST, 3)) <= QUEUE + 2


def soon(is_true):
    """Whether something becomes true: the server counts a request after its answer."""
    end = time.monotonic() + 5
    while not is_true() and time.monotonic() < end:
        time.sleep(0.05)
    return is_true()


def test_a_cancelled_request_stops(triton_server, grpc_client):
    """One that its client cancels, and one whose time is up."""
    large = {"PIXELS": photo(250, 250), "SIZE": (LARGEST, LARGEST)}
    grpc_client.ask("PIXELS", **large)  # the first one also loads the graphs
    start = time.monotonic()
    grpc_client.ask("PIXELS", **large)
    whole = time.monotonic() - start
    stopped = cancellations(triton_server)
    done = threading.Event()
    call = grpc_client.raw.async_infer("upscale", grpc_client.inputs(large), lambda **_: done.set())
    time.sleep(whole / 5)
    call.cancel()
    assert done.wait(5)
    refused(grpc_client, "Deadline", timeout=whole / 5, **large)
    grpc_client.ask("PIXELS", PIXELS=photo(4, 4), SCALE=1)  # after them
    assert soon(lambda: cancellations(triton_server) == stopped + 2)


def cancellations(server):
    """Requests that we stopped, and those that the server dropped from its queue."""
    dropped = server.metric("nv_inference_request_failure", reason="CANCELED")
    return server.metric(METRIC, code="CANCELLED") + dropped


def test_a_client_that_hangs_up_harms_nobody(triton_server, http_client):
    import http.client

    body, length = http_client.raw.generate_request_body(
        http_client.inputs({"PIXELS": photo(60, 60), "SIZE": (480, 480)})
    )
    for part in (body[: len(body) // 2], body):  # in the middle of sending, and of waiting
        connection = http.client.HTTPConnection(triton_server.http)
        connection.putrequest("POST", "/v2/models/upscale/infer")
        connection.putheader("Inference-Header-Content-Length", str(length))
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(part)
        time.sleep(0.2)
        connection.close()
    assert http_client.ask("PIXELS", PIXELS=photo(8, 8), SCALE=2).shape == (16, 16, 3)


def test_memory_does_not_grow_under_load(triton_server, grpc_client):
    """A few seconds of mixed requests; `benchmarks/triton_load.py` does it for minutes."""
    (instance,) = triton_server.instances()
    rng = np.random.default_rng(0)

    def load(count):
        for _ in range(count):
            side = int(rng.integers(8, 24))
            grpc_client.ask(IMAGE=png(photo(side, side)), SCALE=float(rng.uniform(1, 3)))
            refused(grpc_client, "not", IMAGE=b"damaged", SCALE=2)
        return [rss(pid) for pid in (triton_server.process.pid, instance)]

    before = load(30)
    after = load(60)
    assert max(b - a for a, b in zip(before, after, strict=True)) < 20e6, (before, after)


def rss(pid):
    return kilobytes(f"/proc/{pid}/status", "VmRSS")


def test_metrics_count_requests(client, triton_server):
    before = triton_server.metric("nv_inference_request_success")
    client.ask(PIXELS=photo(8, 8), SCALE=1)
    assert soon(lambda: triton_server.metric("nv_inference_request_success") >= before + 1)


@pytest.mark.parametrize("protocol", [[], ["--grpc"]])
def test_the_example(triton_server, protocol, tmp_path, up):
    import subprocess
    import sys

    image, target = photo(12, 16), tmp_path / "big.png"
    (tmp_path / "in.png").write_bytes(png(image))
    address = triton_server.grpc if protocol else triton_server.http
    command = [sys.executable, ROOT / "examples/triton_client.py", tmp_path / "in.png", "-s", 2]
    command += ["-o", target, "--url", address, "--region", 2, 2, 8, 6, *protocol]
    subprocess.run([str(word) for word in command], check=True, timeout=60)
    np.testing.assert_array_equal(
        opened(target.read_bytes()), to_bytes(up.upscale(image, scale=2))[4:16, 4:20]
    )


assert PIXELS == LARGEST**2
