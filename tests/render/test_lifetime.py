"""An upscaler ends: when it is closed, in a forked process, and with numbers that are none."""

import os
import sys
import threading
import time

import numpy as np
import pytest

import clit_deploy
from clit_deploy.errors import ClosedError, MissingFileError, NonFiniteError, OptionError
from clit_deploy.render.layout import Layout
from clit_deploy.render.lifetime import Lifetime
from clit_deploy.render.stage import Stage
from tests.helpers import photo


def test_closing_waits_for_work_and_refuses_more():
    life, order = Lifetime(), []
    inside, done = threading.Event(), threading.Event()

    def work():
        with life.work():
            inside.set()
            done.wait(10)
            order.append("work")

    worker = threading.Thread(target=work)
    worker.start()
    assert inside.wait(10)
    closer = threading.Thread(target=lambda: order.append(life.end()))
    closer.start()
    time.sleep(0.05)
    assert order == []
    done.set()
    worker.join(10)
    closer.join(10)
    assert order == ["work", True]
    assert not life.end()
    with pytest.raises(ClosedError), life.work():
        pass


def test_closing_during_work_is_our_error(plans):
    up = clit_deploy.Upscaler(plans["liif"], threads=2, layout=Layout(64, 16))
    image = photo(40, 40)
    rendering = up.renderer.prepare(up.renderer.job(image, scale=4))
    strips = rendering.strips(image)
    next(strips)
    other = threading.Thread(target=up.close)
    other.start()
    other.join(60)
    assert not other.is_alive()
    with pytest.raises(ClosedError):
        list(strips)
    for use in (lambda: up.upscale(image, scale=2), lambda: up.query(image, [[0, 0]])):
        with pytest.raises(ClosedError, match="closed"):
            use()
    up.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_process_gets_an_error_and_does_not_hang(plans):
    with clit_deploy.load(plans["liif"], threads=2) as up:
        up.upscale(photo(8, 8), scale=2)
        child = os.fork()
        if child == 0:  # nothing but the exit code gets out
            code = 1
            try:
                up.upscale(photo(8, 8), scale=2)
            except ClosedError as error:
                up.close()
                code = 0 if "fork" in str(error) else 2
            finally:
                os._exit(code)
        end = time.monotonic() + 30
        while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
            time.sleep(0.05)
        if found == (0, 0):
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert found == (child, 0)
        assert up.upscale(photo(8, 8), scale=2).shape == (16, 16, 3)


def test_a_relative_plan_survives_a_change_of_folder(plans, tmp_path, monkeypatch):
    monkeypatch.chdir(plans["liif"].parent)
    with clit_deploy.load(plans["liif"].name) as up:
        monkeypatch.chdir(tmp_path)
        assert up.upscale(photo(8, 8), scale=2).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (OptionError, {"plan": ""}),
        (MissingFileError, {"plan": "."}),
        (OptionError, {"runtime": None}),
        (OptionError, {"runtime": 7}),
        (OptionError, {"max_memory": "9" * 5000}),
        (OptionError, {"max_memory": 10**5000}),
        (OptionError, {"max_memory": "1e3GB"}),
        (OptionError, {"max_memory": -1}),
        (OptionError, {"max_memory": float("inf")}),
        (OptionError, {"max_memory": True}),
    ],
)
def test_absurd_options_are_refused(error, options):
    with pytest.raises(error):
        clit_deploy.load(**options)


def test_numbers_that_are_none_are_an_error_that_names_the_stage(plans, monkeypatch):
    render = Stage.render

    def broken(self, *args):
        answer = render(self, *args)
        if self._name == "stage1":
            answer[0, 0] = np.nan
        return answer

    monkeypatch.setattr(Stage, "render", broken)
    with clit_deploy.load(plans["clit"]) as up:
        with pytest.raises(NonFiniteError, match="Stage 2 of 2 computed NaN or infinite"):
            up.upscale(photo(8, 8), scale=8)
        assert np.isfinite(up.upscale(photo(8, 8), scale=2)).all()
