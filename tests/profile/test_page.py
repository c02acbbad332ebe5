"""The page, looked at in a real browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape

import pytest

from clit_deploy.profile.page import to_html

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--virtual-time-budget=5000"),
]
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')

LOOK = """
const refused = [];
addEventListener('securitypolicyviolation', event => refused.push(event.violatedDirective));

function colors(canvas) {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let k = 0; k < data.length; k += 4)
    if (data[k + 3] > 200) found.add(data.slice(k, k + 3).join());
  return found.size;
}

function lane(box) {
  const frame = box.getBoundingClientRect();
  const bars = [...box.children].map(bar => {
    const {left, right} = bar.getBoundingClientRect();
    return {title: bar.title, color: bar.style.background,
            inside: left >= frame.left - 1 && right <= frame.right + 1};
  });
  return {high: frame.height, bars};
}

addEventListener('load', () => setTimeout(() => {
  const all = (selector, read, from = document) => [...from.querySelectorAll(selector)].map(read);
  const found = {
    plots: all('[data-plot]', box => ({name: box.dataset.plot, wide: box.clientWidth,
                                       colors: colors(box.querySelector('canvas'))})),
    lanes: all('.lanes', grid => all('.lane', lane, grid)),
    legend: all('.legend li', item => [item.textContent, item.firstChild.style.background]),
    fetched: performance.getEntriesByType('resource').map(entry => entry.name),
    refused,
    over: document.documentElement.scrollWidth > innerWidth,
    tables: all('.wide', box => box.scrollWidth > box.clientWidth),
  };
  document.body.innerHTML = '<pre id="found"></pre>';
  document.getElementById('found').textContent = JSON.stringify(found);
}, 500));
"""


@pytest.fixture(scope="module")
def page(measured):
    return to_html(measured)


@pytest.fixture(scope="module")
def look(page, tmp_path_factory):
    """What the browser makes of the page at a width: sizes, colors, and what was fetched."""

    def at(width):
        if BROWSER is None:
            pytest.skip("no Chromium is installed")
        folder = tmp_path_factory.mktemp("page")
        path = folder / "page.html"
        # The page's policy stays in force; it allows the test's own script beside the page's.
        digest = base64.b64encode(hashlib.sha256(LOOK.encode()).digest()).decode()
        opened = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
        path.write_text(opened.replace("<main>", f"<script>{LOOK}</script><main>", 1), "utf-8")
        command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'user'}", "--dump-dom"]
        command += [f"--window-size={width},1400", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stdout[:2000]
        return json.loads(unescape(found[1]))

    return at


@pytest.fixture(scope="module")
def seen(look):
    return look(1200)


def test_every_plot_is_drawn(seen, measured):
    names = [plot["name"] for plot in seen["plots"]]
    for name in ("latency", "histogram", "W", "MHz", "°C", "MB"):
        assert names.count(name) == len(measured.rows), name
    for plot in seen["plots"]:
        assert plot["wide"] > 400
        assert plot["colors"] >= 3, plot["name"]  # the grid, the axes' numbers, and data
    assert seen["refused"] == []


def test_every_phase_has_a_bar_in_the_color_of_the_legend(seen, measured):
    overview, *timelines = seen["lanes"]
    legend = dict(seen["legend"])
    assert len(set(legend.values())) == len(legend)
    assert len(overview) == len(timelines) == len(measured.rows)
    for row, lane, timeline in zip(measured.rows, overview, timelines, strict=True):
        assert len(lane["bars"]) == len(row.phases)
        assert len(timeline) == len({event.lane for event in row.timeline})
        for bar in [*lane["bars"], *timeline[0]["bars"]]:
            assert bar["inside"]
            assert bar["color"] == legend[bar["title"].split(":")[0]]
        assert min(lane["high"] for lane in timeline) > 10


@pytest.mark.parametrize("width", [1200, 600])
def test_nothing_is_fetched_and_nothing_sticks_out(look, seen, width):
    found = seen if width == 1200 else look(width)
    assert found["fetched"] == []
    assert not found["over"]
    assert found["tables"][0] == (width == 600)  # it scrolls inside itself


def test_the_policy_allows_the_page_s_own_scripts_alone(page):
    policy = POLICY.search(page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert not re.search(r"<link|<img|<iframe|@import|url\(|<[^>]*\s(src|href)=", page)


def test_the_page_names_what_was_measured(measured):
    page = to_html(replace(measured, command="clit-deploy profile -s 9"))
    row, machine = measured.rows[0], measured.machine
    for text in ("clit-deploy profile -s 9", row.plan_sha256, machine.os, machine.kernel):
        assert text in page
    assert f"clit-deploy {machine.versions['clit-deploy']}" in page


def test_names_are_escaped(measured):
    evil = "</script><b>&"
    rows = tuple(replace(row, requested={"plan": evil}) for row in measured.rows)
    page = to_html(replace(measured, rows=rows, image=replace(measured.image, name=evil)))
    assert "<b>" not in page
    assert page.count("</script>") == 3
    assert "&lt;/script&gt;&lt;b&gt;&amp;" in page
