"""`--max-memory` holds while an image is read, in real processes."""

import os
import subprocess
import sys

from PIL import Image

from tests.helpers import ROOT

READ = """
import sys
from pathlib import Path
from clit_deploy import load
from clit_deploy.errors import MemoryBudgetError
from clit_deploy.images.image_files import open_image
from clit_deploy.system import memory

plan, image, allowed = sys.argv[1:]
with load(plan, runtime="cpu", threads=1, max_memory=allowed) as up:
    try:
        with open_image(Path(image)) as file:
            job = up.renderer.job_of(file.header.size, scale=1)
            rendering = up.renderer.prepare(job, header=file.header)
            pixels = file.decode(up.max_memory)
        next(rendering.strips(pixels.rgb))
        print("read", memory.peak())
    except MemoryBudgetError:
        print("refused", memory.peak())
"""


def read(plan, image, allowed):
    """How reading an image and rendering its first strip ends, and the peak in bytes."""
    command = [sys.executable, "-c", READ, str(plan), str(image), allowed]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    end, peak = done.stdout.split()
    return end, int(peak)


def test_twelve_megapixels_are_read_within_300_mb(plans, tmp_path):
    image = Image.effect_noise((4000, 3000), 50).convert("RGB")
    image.save(tmp_path / "photo.jpg")
    end, peak = read(plans["liif"], tmp_path / "photo.jpg", "300MB")
    assert end == "read"
    assert peak < 300_000_000


def test_eighty_one_megapixels_are_refused_before_they_are_decoded(plans, tmp_path):
    Image.new("L", (9000, 9000)).save(tmp_path / "large.png", compress_level=1)
    end, peak = read(plans["liif"], tmp_path / "large.png", "200MB")
    assert end == "refused"
    assert peak < 160_000_000  # the pixels alone have 81 MB more than the process
