"""libvips is set up once, whoever asks first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pyvips

from clit_deploy.images import vips_library


def test_threads_that_ask_at_once_set_it_up_once(monkeypatch):
    blocked = []

    def slowly(name, state):
        time.sleep(0.01)
        blocked.append((name, state))

    monkeypatch.setattr(pyvips, "operation_block_set", slowly)
    vips_library._set_up.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: vips_library.vips(), range(8)))
    assert found == [pyvips] * 8
    assert blocked.count(("VipsForeignLoad", True)) == 1
