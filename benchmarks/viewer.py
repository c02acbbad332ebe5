"""Time and memory of `clit-deploy view` for a photograph of 12 megapixels, in a real browser.

    python -m benchmarks.viewer [--engine PLAN] [--storm 500]

Needs the extra `view`, Playwright and a Chromium. A cold view is the first one of its server; a
warm one is the same address again. Times are seconds from the navigation on.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from clit_deploy.images.image_files import PHOTOGRAPH
from clit_deploy.system.proc_files import kilobytes

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDE, HIGH = 4000, 3000
WINDOW = {"width": 1200, "height": 800}
PLACES = {"fit": "", "x1": "z=1", "x4": "z=4", "x12": "z=12"}
PATIENCE = 600_000
"""Milliseconds."""

WATCH = """
window.times = {};
const look = () => {
  const canvas = document.querySelector('#viewer canvas');
  if (canvas && canvas.width && !times.paint) {
    const middle = [canvas.width >> 1, canvas.height >> 1, 1, 1];
    if (canvas.getContext('2d').getImageData(...middle).data[3]) times.paint = performance.now();
  }
  if (document.body?.dataset.view === 'complete') times.complete = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""

STORM = """async steps => {
  const view = document.getElementById('viewer').view;
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let k = 0; k < steps; k++) {
    if (random() < 0.5) view.zoomTo(Math.exp(random() * Math.log(32)));
    else view.panTo(random() * view.image.width, random() * view.image.height);
    await new Promise(done => setTimeout(done, 60_000 / 500));
  }
}"""


def photograph(folder: Path) -> Path:
    """The package's photograph, enlarged to 12 megapixels."""
    path = folder / "photo.jpg"
    with Image.open(PHOTOGRAPH) as image:
        image.convert("RGB").resize((WIDE, HIGH), Image.Resampling.BICUBIC).save(path, quality=92)
    return path


@contextlib.contextmanager
def server(image: Path, engine: str) -> Iterator[tuple[str, int]]:
    """A running viewer: its address, and its process."""
    command = [sys.executable, "-m", "clit_deploy", "view", str(image), "-e", engine, "--no-open"]
    command += ["--runtime", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()


def memory_of(process: int, field: str) -> str:
    return f"{(kilobytes(Path(f'/proc/{process}/status'), field) or 0) / 1e6:.0f} MB"


def seen(browser: Any, url: str) -> dict[str, float]:
    """Seconds to the first paint and to a complete view."""
    context = browser.new_context(viewport=WINDOW)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(url)
    page.wait_for_selector("body[data-view=complete]", timeout=PATIENCE)
    page.wait_for_timeout(200)
    times = page.evaluate("times")
    context.close()
    return {name: ms / 1000 for name, ms in times.items()}


def views(browser: Any, image: Path, engine: str) -> None:
    print(
        "| view | first paint, cold | complete, cold | first paint, warm | complete, warm | peak |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, place in PLACES.items():
        with server(image, engine) as (url, process):
            address = f"{url}#image=0&x={WIDE / 2}&y={HIGH / 2}&{place}" if place else url
            cold, warm = seen(browser, address), seen(browser, address)
            cells = [f"{run[k]:.2f} s" for run in (cold, warm) for k in ("paint", "complete")]
            print(f"| {name} | {' | '.join(cells)} | {memory_of(process, 'VmHWM')} |", flush=True)


def storm(browser: Any, image: Path, engine: str, steps: int) -> None:
    """Steps through the image for a minute, and what is left of them."""
    with server(image, engine) as (url, process):
        page = browser.new_page(viewport=WINDOW)
        page.goto(url)
        page.wait_for_selector("body[data-view=complete]", timeout=PATIENCE)
        before = memory_of(process, "VmRSS")
        page.evaluate(STORM, steps)
        start = time.perf_counter()
        page.wait_for_timeout(200)
        page.wait_for_selector("body[data-view=complete]", timeout=PATIENCE)
        ready = time.perf_counter() - start
        hanging = page.evaluate(
            "[...document.getElementById('viewer').view.loader.jobs.values()]"
            ".filter(state => state.controller).length"
        )
        place = page.url.partition("#")[2]
        page.wait_for_timeout(2000)
        used = processor_seconds(process)
        page.wait_for_timeout(5000)
        idle = (processor_seconds(process) - used) / 5
        print(
            f"{steps} steps: complete {ready:.1f} s after the last one, {hanging} requests left, "
            f"{before} before, peak {memory_of(process, 'VmHWM')}, then {idle:.1%} of a core"
        )
        page.close()
    with server(image, engine) as (url, _):
        print(f"the last view by itself: {seen(browser, f'{url}#{place}')['complete']:.1f} s")


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="liif")
    parser.add_argument("--storm", type=int, default=500, help="steps; 0 for none")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        image = photograph(Path(folder))
        views(browser, image, options.engine)
        if options.storm:
            storm(browser, image, options.engine, options.storm)
        browser.close()


if __name__ == "__main__":
    main()
