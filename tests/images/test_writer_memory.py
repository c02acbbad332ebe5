"""Formats that are said to be written row by row hold no image, in real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from clit_deploy.images.image_formats import FORMATS
from tests.helpers import ROOT

WRITE = """
import sys
from pathlib import Path
import numpy as np
from clit_deploy.images.image_writer import image_writer
from clit_deploy.system import memory

path, height, width = Path(sys.argv[1]), 6000, 4000
rows = (np.arange(64 * width * 3) % 251).astype(np.uint8).reshape(64, width, 3)
with image_writer(path, (64, width), 3) as append:  # loads the libraries
    append(rows)
before = memory.peak()
with image_writer(path, (height, width), 3) as append:
    for start in range(0, height, 64):
        append(rows[: height - start])
print(memory.peak() - before)
"""
HELD = 45_000_000
"""Bytes; the image has 72 million."""


@pytest.mark.skipif(sys.platform == "win32", reason="no peak that belongs to the process alone")
@pytest.mark.parametrize("form", [form for form in FORMATS if not form.held], ids=lambda f: f.name)
def test_rows_are_not_held(tmp_path, form):
    command = [sys.executable, "-c", WRITE, str(tmp_path / f"o{form.suffixes[0]}")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert int(done.stdout) < HELD
