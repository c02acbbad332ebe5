"""The folder that goes to a machine with a GPU, and a rehearsal of what happens there."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from clit_deploy.errors import MissingFileError, TrainingError
from tests.helpers import ROOT, photo, tiny_checkpoint, tiny_clit, tiny_liif
from tests.training.test_training import TOML
from train import pack


@pytest.fixture
def recipe(tmp_path):
    tiny_checkpoint(tmp_path, tiny_clit(stages=1), "start.pth")
    path = tmp_path / "tiny.toml"
    tiny_checkpoint(tmp_path, tiny_liif(), "teacher.pth")
    begun = 'seed = 3\nencoder_from = "start.pth"\nteacher = "teacher.pth"\n'
    path.write_text(TOML.replace("seed = 3\n", begun, 1).replace("steps = 6\n", "seconds = 60\n"))
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "originals"
    folder.mkdir()
    for k in range(3):
        Image.fromarray(photo(80, 80, seed=k)).save(folder / f"{k}.png")
    return folder


def test_a_pack_trains_by_itself(recipe, photos, tmp_path):
    folder, out = tmp_path / "pack", tmp_path / "out"
    size = pack.pack(folder, photos, [recipe])
    assert size == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert (folder / "start.pth").is_file()
    assert (folder / "teacher.pth").is_file()
    assert not list(folder.rglob("*.plan"))
    original = np.asarray(Image.open(photos / "0.png"), float)
    packed = np.asarray(Image.open(folder / "photos" / "0.webp"), float)
    assert np.abs(original - packed).mean() < 12
    options = ("--device", "cpu", "--precision", "float32", "--threads", "1")
    # Without the libraries of the command line, and without the checkout on the path.
    lacking = "typer", "rich", "packaging", "pyvips", "onnxruntime", "onnx"
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({lacking}));"
        f"sys.argv[0] = {str(folder / 'go.py')!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-I", "-c", code, "tiny", "3", out, *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert torch.load(out / "model.pth", weights_only=True)["model"]["name"] == "clit"
    assert "to validate; float32" in (out / "train.log").read_text()
    assert (out / "log.csv").is_file()


def test_the_script_is_sound():
    for script in (ROOT / "train" / "gpu.sh",):
        subprocess.run(["bash", "-n", script], check=True)


def test_a_pack_that_is_too_large_or_lacks_something_is_refused(
    recipe, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(pack, "LARGEST", 1000)
    with pytest.raises(TrainingError, match="take fewer photographs"):
        pack.pack(tmp_path / "large", photos, [recipe])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match="no images"):
        pack.pack(tmp_path / "none", tmp_path / "empty", [recipe])
    (tmp_path / "start.pth").unlink()
    with pytest.raises(MissingFileError, match=r"start\.pth"):
        pack.pack(tmp_path / "lacks", photos, [recipe])
