"""A viewer on a real port, with tiny models."""

from __future__ import annotations

import contextlib
import http.client
import json
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.viewer.gallery import Gallery, ShownImage
from clit_deploy.viewer.service import Service
from clit_deploy.viewer.serving import ViewerServer
from clit_deploy.viewer.viewer_settings import ViewerSettings
from tests.helpers import exported_once, photo, tiny_clit, tiny_liif


@pytest.fixture(scope="session")
def viewer_plans(shared_folder):
    """A plan with attention, and one without."""
    return [
        exported_once(shared_folder, tiny_clit(stages=2), "viewer-clit"),
        exported_once(shared_folder, tiny_liif(), "tiny"),
    ]


@pytest.fixture(scope="session")
def viewer_ups(viewer_plans):
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(clit_deploy.load(plan, runtime="cpu", threads=2))
            for plan in viewer_plans
        ]


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A photograph, and a small image with transparency."""
    folder = tmp_path_factory.mktemp("images")
    large, clear = folder / "a photo.png", folder / "clear.png"
    Image.fromarray(photo(300, 420)).save(large)
    alpha = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))[..., None]
    Image.fromarray(np.concatenate([photo(30, 40, 3), alpha], axis=2)).save(clear)
    return [large, clear]


@pytest.fixture
def serve(viewer_ups, photographs):
    """Start a viewer; it is closed at the end."""
    with contextlib.ExitStack() as stack:

        def start(images=photographs, ups=viewer_ups, **settings):
            gallery = Gallery(ups)
            for path in images:
                gallery.add(ShownImage.of(path))
            names = [str(up.plan.path) for up in ups]
            server = ViewerServer(Service(gallery, names, ViewerSettings(**settings)))
            server.start()
            stack.callback(server.close)
            return server

        yield start


class Client:
    """Requests to a viewer, over a connection each."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path

    def __call__(self, method, path, body=None, headers=None, *, whole=False):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path if whole else self.path + path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def get(self, path, **options):
        return self("GET", path, **options)

    def state(self):
        return json.loads(self.get("state")[2])


@pytest.fixture
def client_of():
    return lambda server: Client(server.url)
