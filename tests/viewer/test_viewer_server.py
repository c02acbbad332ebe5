"""The viewer over HTTP: the right pixels, and a sentence for everything else."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image

from clit_deploy.errors import PortError
from clit_deploy.viewer import drawing, service
from clit_deploy.viewer.gallery import KEPT
from clit_deploy.viewer.pyramid import Pyramid
from clit_deploy.viewer.serving import ViewerServer
from tests.helpers import cli, photo

NEAR = 2
"""Of 255."""


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def sentence(answer):
    return json.loads(answer[2])["error"]


@pytest.fixture
def viewer(serve, client_of):
    server = serve()
    return server, client_of(server)


@pytest.fixture(autouse=True)
def no_log(caplog):
    """Nothing goes wrong without a sentence for whoever asked."""
    caplog.set_level(logging.WARNING)
    yield
    assert [record.message for record in caplog.records if record.exc_info] == []
    assert "unexpected" not in caplog.text


@pytest.mark.parametrize("place", [(5, 3, 2), (9, 0, 0), (6, 4, 3)])
@pytest.mark.parametrize("plan", [0, 1])
def test_an_enlarged_tile_is_what_the_encoded_image_renders(
    viewer, viewer_ups, photographs, place, plan
):
    level, col, row = place
    status, headers, content = viewer[1].get(f"tiles/0/{plan}/{level}/{col}/{row}.png")
    assert (status, headers["content-type"]) == (200, "image/png")
    tile = Pyramid((300, 420)).tile(level, col, row)
    with viewer_ups[plan].encode(np.asarray(Image.open(photographs[0]))) as encoded:
        expected = encoded.render(size=tile.size, region=tile.region, dtype=np.uint8)
    assert np.abs(pixels(content).astype(int) - expected).max() <= NEAR


def test_a_tile_of_the_image_itself_and_of_less(viewer, photographs):
    image = np.asarray(Image.open(photographs[0]))
    assert np.array_equal(pixels(viewer[1].get("tiles/0/plain/1/0/0.png")[2]), image[:257, :257])
    half = pixels(viewer[1].get("tiles/0/plain/0/0/0.png")[2])
    means = image.reshape(150, 2, 210, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - means).max() <= 1


def test_bicubic_tiles_are_pillow_s(viewer, photographs):
    whole = Image.open(photographs[0]).resize((420 * 3, 900), Image.Resampling.BICUBIC)
    got = pixels(viewer[1].get("tiles/0/bicubic/3/2/1.png")[2]).astype(int)
    assert np.abs(got - np.asarray(whole)[255:513, 511:769]).max() <= NEAR


def test_transparency_stays(viewer, photographs):
    plain = pixels(viewer[1].get("tiles/1/plain/0/0/0.png")[2])
    assert np.array_equal(plain[..., 3], np.asarray(Image.open(photographs[1]))[..., 3])
    made = pixels(viewer[1].get("tiles/1/0/2/0/0.png")[2])
    assert made.shape == (90, 120, 4)
    assert made[:, :3, 3].max() < 20 < 235 < made[:, -3:, 3].min()


def test_a_tile_has_a_tag_and_is_drawn_once(viewer, monkeypatch):
    server, client = viewer
    _, headers, content = client.get("tiles/0/1/4/0/0.png")
    monkeypatch.setattr(drawing, "enlarged", None)
    assert client.get("tiles/0/1/4/0/0.png")[2] == content
    again = client.get("tiles/0/1/4/0/0.png", headers={"If-None-Match": headers["etag"]})
    assert (again[0], again[2]) == (304, b"")
    assert len(content) <= server.service.tile_bytes
    other = client.get("tiles/0/plain/0/0/0.png", headers={"If-None-Match": headers["etag"]})
    assert other[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("tiles/0/0/99/0/0.png", 404, "enlarges it 32 times"),
        ("tiles/0/0/5/900/0.png", 404, "no tile in column 900"),
        ("tiles/0/0/0/0/0.png", 404, "has no layer '0'"),
        ("tiles/0/7/5/0/0.png", 404, "has no layer '7'"),
        ("tiles/0/plain/5/0/0.png", 404, "has no layer 'plain'"),
        ("tiles/9/plain/0/0/0.png", 404, "There is no image 9"),
        ("attention/0/0?x=1&y=2", 422, "x, y and scale"),
        ("attention/0/0?x=1&y=nan&scale=2", 404, "outside the image"),
        ("attention/0/0?x=1&y=1e9&scale=2", 404, "outside the image"),
        ("attention/0/0?x=1&y=2&scale=1e99", 422, "at most 1,000,000"),
        ("attention/0/1?x=1&y=2&scale=2", 422, "no attention"),
        ("attention/0/5?x=1&y=2&scale=2", 404, "no plan 5"),
        ("page/../../secret", 404, None),
        ("page/nothing.js", 404, "no such page"),
    ],
)
def test_what_does_not_exist_is_a_sentence(viewer, path, status, words):
    answer = viewer[1].get(path)
    assert answer[0] == status
    if words:
        assert words in sentence(answer)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_host_is_refused(viewer, host):
    assert viewer[1].get("state", headers={"Host": host})[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:80"])
def test_this_machine_may_have_other_names_and_forwarded_ports(viewer, host):
    assert viewer[1].get("state", headers={"Host": host})[0] == 200


@pytest.mark.parametrize("path", ["/", "/state", "/x/state", "//state", "/tiles/0/plain/0/0/0.png"])
def test_a_wrong_token_is_refused(viewer, path):
    assert viewer[1].get(path, whole=True)[0] == 403
    assert viewer[1].get(viewer[1].path[:-2] + "/state", whole=True)[0] == 403


def test_the_page_is_protected_and_other_origins_get_nothing(viewer):
    status, headers, content = viewer[1].get("", headers={"Origin": "http://evil.example"})
    assert status == 200
    assert b"<title>clit-deploy view" in content
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.startswith("access-control")]
    assert viewer[1]("OPTIONS", "state")[0] == 405


def test_it_listens_on_loopback_alone(viewer):
    assert viewer[0]._socket.getsockname()[0] == "127.0.0.1"


def test_attention_is_that_of_the_encoded_image(viewer, viewer_ups, photographs):
    found = json.loads(viewer[1].get("attention/0/0?x=200.5&y=100.2&scale=8")[2])
    image = np.asarray(Image.open(photographs[0]))
    expected = viewer_ups[0].attention(image, (801, 1604), scale=8)
    assert len(found["stages"]) == len(expected) == 2
    for stage, maps, side in zip(found["stages"], expected, (7, 7 / 4), strict=True):
        assert np.abs(np.array(stage["heads"]) - maps).max() < 1e-4
        left, top, width, height = stage["window"]
        assert (width, height) == (side, side)
        assert left < 200.5 < left + width
        assert top < 100.2 < top + height


def test_a_window_is_saved_as_run_saves_it(viewer, viewer_plans, photographs, tmp_path):
    window = {"image": 0, "plan": 0, "region": [10.5, 20.25, 60, 33.5], "scale": 3, "format": "png"}
    status, headers, content = viewer[1]("POST", "save", json.dumps(window))
    assert (status, headers["x-name"]) == (200, "a%20photo_x3.png")
    done = cli(
        "run", photographs[0], "-e", viewer_plans[0], "-s", 3, "--region", "10.5,20.25,60,33.5",
        "--srgb", "--format", "png", "--runtime", "cpu", "-o", tmp_path / "run.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = np.asarray(Image.open(tmp_path / "run.png")).astype(int)
    assert np.abs(pixels(content) - expected).max() <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"region": [0, 0, 1e9, 5]}, "outside the image"),
        ({"region": [0, 0, 5]}, "missing"),
        ({"region": "abcd"}, "missing"),
        ({"scale": 0.5}, "at least 1"),
        ({"scale": "x"}, "missing"),
        ({"format": "exe"}, "not a format"),
        ({"format": 7}, "missing"),
        ({"image": 77}, "no image 77"),
        ({"plan": -1}, "no plan -1"),
        ({"plan": None}, "plan is missing"),
        ({"scale": 900000}, ""),
    ],
)
def test_what_cannot_be_saved_is_refused(viewer, change, words):
    window = {"image": 0, "plan": 0, "region": [0, 0, 50, 50], "scale": 2, "format": "png"}
    answer = viewer[1]("POST", "save", json.dumps({**window, **change}))
    assert answer[0] in (404, 422, 507)
    assert words in sentence(answer)


@pytest.mark.parametrize("body", ["", "[", "[]", "7", "[" * 9000, "x" * 20000])
def test_a_request_that_is_not_one_is_refused(viewer, body):
    answer = viewer[1]("POST", "save", body)
    assert answer[0] == 422
    assert sentence(answer)


def test_uploads_are_off_by_default(viewer):
    answer = viewer[1]("POST", "images", b"abc", {"X-Name": "a.png"})
    assert answer[0] == 413
    assert "--allow-upload" in sentence(answer)
    assert viewer[1].state()["upload"] == 0


def test_uploads_are_bounded_shown_and_removed(serve, client_of, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = serve([], allow_upload=True, upload_bytes=30_000, upload_pixels=5000, uploads=2)
    client = client_of(server)

    def send(image, name="../%E2%82%AC.png"):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        return client("POST", "images", file.getvalue(), {"X-Name": name})

    for number in range(3):
        assert json.loads(send(photo(50, 60, number))[2]) == {"id": number}
    images = client.state()["images"]
    assert [(image["id"], image["name"], image["argument"]) for image in images] == [
        (1, "€.png", None), (2, "€.png", None),
    ]  # fmt: skip
    assert np.array_equal(pixels(client.get("tiles/2/plain/0/0/0.png")[2]), photo(50, 60, 2))
    assert client.get("tiles/0/plain/0/0/0.png")[0] == 404
    assert "megapixels" in sentence(send(photo(80, 80)))
    assert "limit" in sentence(client("POST", "images", bytes(40_000), {"X-Name": "a"}))
    answer = client("POST", "images", b"no image", {"X-Name": "no.png"})
    assert answer[0] == 422
    assert "no.png" in sentence(answer)
    assert str(tmp_path) not in sentence(answer)
    assert len(list(tmp_path.iterdir())) == 2
    server.close()
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_vanishes_or_changes_is_a_sentence(serve, client_of, tmp_path):
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    for place in (path, other):
        Image.fromarray(photo(40, 50)).save(place)
    client = client_of(serve([path, other]))
    path.unlink()
    Image.fromarray(photo(44, 50)).save(other)
    gone = client.get("tiles/0/plain/0/0/0.png")
    assert gone[0] == 410
    assert "a.png" in sentence(gone)
    assert client.get("tiles/0/0/1/0/0.png")[0] == 410
    changed = client.get("tiles/1/plain/0/0/0.png")
    assert changed[0] == 422
    assert "has changed" in sentence(changed)


def test_an_image_that_vanishes_while_it_is_shown_stays_on_the_screen(serve, client_of, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(photo(40, 50)).save(path)
    client = client_of(serve([path]))
    assert client.get("tiles/0/plain/0/0/0.png")[0] == 200
    path.unlink()
    assert client.get("tiles/0/0/1/0/0.png")[0] == 200
    window = {"image": 0, "plan": 0, "region": [0, 0, 9, 9], "scale": 2, "format": "png"}
    assert client("POST", "save", json.dumps(window))[0] == 410


def test_few_images_are_decoded_at_the_same_time(serve, client_of, tmp_path):
    paths = [tmp_path / f"{k}.png" for k in range(KEPT + 2)]
    for k, path in enumerate(paths):
        Image.fromarray(photo(40, 50, k)).save(path)
    server = serve(paths)
    client = client_of(server)
    for number in [*range(len(paths)), 0]:
        assert client.get(f"tiles/{number}/0/2/0/0.png")[0] == 200
        assert client.get(f"tiles/{number}/1/3/0/0.png")[0] == 200
        assert len(server.service.gallery._open) <= KEPT


class Slow:
    """A network that renders until it is cancelled or let go."""

    def __init__(self, monkeypatch):
        self.started, self.cancelled, self.go = (threading.Event() for _ in range(3))
        monkeypatch.setattr(service.drawing, "enlarged", self)

    def __call__(self, image, plan, tile, cancel):
        self.started.set()
        while not self.go.wait(0.01):
            if cancel.is_set():
                self.cancelled.set()
                raise drawing.CancelledError("stopped")
        return np.zeros((*tile.size, 3), np.uint8)


@pytest.fixture
def slow(monkeypatch):
    return Slow(monkeypatch)


def asked(server, client, path, headers=""):
    """A request whose answer nobody has read yet."""
    connection = socket.create_connection((client.host, client.port), timeout=30)
    connection.sendall(
        f"GET {client.path}{path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()
    )
    return connection


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_client_that_disconnects_cancels_its_render(viewer, slow):
    server, client = viewer
    first = asked(server, client, "tiles/0/0/5/0/0.png")
    assert slow.started.wait(10)
    second = asked(server, client, "tiles/0/0/5/1/0.png")
    until(lambda: len(server.service.queue) == 2)
    second.close()
    until(lambda: len(server.service.queue) == 1)
    first.close()
    assert slow.cancelled.wait(10)
    until(lambda: len(server.service.queue) == 0)
    assert client.get("state")[0] == 200


def test_a_view_that_moves_on_ends_its_requests(viewer, slow):
    server, client = viewer
    old = asked(server, client, "tiles/0/0/5/0/0.png", "X-View: me:1\r\n")
    assert slow.started.wait(10)
    new = asked(server, client, "tiles/0/0/6/0/0.png", "X-View: me:2\r\n")
    assert slow.cancelled.wait(10)
    assert old.recv(100).startswith(b"HTTP/1.1 204")
    slow.go.set()
    assert new.recv(100).startswith(b"HTTP/1.1 200")
    old.close()
    new.close()


def test_a_full_queue_is_said(viewer, slow):
    server, client = viewer
    server.service.queue._bound = 2
    waiting = []
    for k in range(3):
        waiting.append(asked(server, client, f"tiles/0/0/9/{k}/0.png"))
        until(lambda k=k: len(server.service.queue) == k + 1)
        assert slow.started.wait(10)
    answer = client.get("tiles/0/0/9/5/5.png")
    assert answer[0] == 503
    assert "wait a moment" in sentence(answer)
    assert client.get("tiles/0/plain/0/0/0.png")[0] == 200  # no network is needed
    for connection in waiting:
        connection.close()
    until(lambda: len(server.service.queue) == 0)


def test_closing_ends_requests_that_wait(serve, client_of, slow):
    server = serve()
    client = client_of(server)
    waiting = asked(server, client, "tiles/0/0/5/0/0.png")
    assert slow.started.wait(10)
    start = time.monotonic()
    server.close()
    assert time.monotonic() - start < 5
    assert waiting.recv(100).startswith(b"HTTP/1.1 204")
    assert waiting.recv(100) is not None
    waiting.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((client.host, client.port), timeout=5)


def test_two_browsers_share_a_render(viewer, monkeypatch):
    server, client = viewer
    made, enlarged = [], drawing.enlarged

    def counted(*arguments):
        made.append(arguments)
        time.sleep(0.2)
        return enlarged(*arguments)

    monkeypatch.setattr(service.drawing, "enlarged", counted)
    both = [asked(server, client, "tiles/0/1/6/2/2.png", f"X-View: {name}:1\r\n") for name in "ab"]
    for connection in both:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()
    assert len(made) == 1


def test_a_port_in_use_is_a_sentence(viewer):
    port = viewer[1].port
    with pytest.raises(PortError, match=f"Port {port} is in use; choose another"):
        ViewerServer(viewer[0].service, port)
    with pytest.raises(PortError, match="not a port"):
        ViewerServer(viewer[0].service, 70000)


def test_no_thread_and_no_file_is_left(serve, client_of):
    handles = f"/proc/{os.getpid()}/fd"
    if not os.path.isdir(handles):  # noqa: PTH112
        pytest.skip("the system does not list open files")

    def held():
        names = [t.name for t in threading.enumerate() if t.name.startswith("clit-view")]
        return len(os.listdir(handles)), names  # noqa: PTH208

    server = serve()
    client_of(server).get("tiles/0/0/4/0/0.png")
    server.close()
    until(lambda: held()[1] == [])
    before = held()[0]
    for _ in range(3):
        server = serve()
        client_of(server).get("tiles/0/0/4/0/0.png")
        server.close()
    until(lambda: held()[1] == [])
    assert held()[0] <= before + 1


def test_other_requests_do_not_wait_for_a_decoder(viewer, monkeypatch):
    server, client = viewer
    started, go = threading.Event(), threading.Event()
    decoded = server.service.gallery._decoded

    def slowly(image):
        started.set()
        assert go.wait(20)
        return decoded(image)

    monkeypatch.setattr(server.service.gallery, "_decoded", slowly)
    waiting = asked(server, client, "tiles/0/plain/0/0/0.png")
    assert started.wait(10)
    assert client.state()["images"][1]["name"] == "clear.png"
    assert client.get("tiles/0/plain/9/0/0.png")[0] == 404
    go.set()
    assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    waiting.close()
