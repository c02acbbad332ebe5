"""The page, looked at in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from importlib import resources

import pytest

from clit_deploy.profile.html import to_html
from clit_deploy.profile.svg import COLOURS, Plot, around, ticks

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--virtual-time-budget=5000", "--window-size=1000,1400"),
]

LOOK = """<script>
addEventListener('load', () => {
  const seen = [...document.querySelectorAll('svg')].map(svg => {
    const frame = svg.getBoundingClientRect();
    const marks = [...svg.querySelectorAll('.mark')].map(mark => {
      const box = mark.getBoundingClientRect(), style = getComputedStyle(mark);
      return {tag: mark.tagName, wide: box.width, high: box.height,
              paint: mark.tagName == 'polyline' ? style.stroke : style.fill,
              inside: box.left >= frame.left - 3 && box.right <= frame.right + 3 &&
                      box.top >= frame.top - 3 && box.bottom <= frame.bottom + 3};
    });
    const texts = [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect());
    return {name: svg.getAttribute('aria-label'), wide: frame.width, high: frame.height, marks,
            cut: texts.filter(t => t.width && t.left < frame.left - 1).length};
  });
  const told = {seen, fetched: performance.getEntriesByType('resource').map(e => e.name),
                over: document.documentElement.scrollWidth > innerWidth};
  document.body.innerHTML = '<pre id="told"></pre>';
  document.getElementById('told').textContent = JSON.stringify(told);
});
</script></body>"""


@pytest.fixture(scope="module")
def page(measured):
    return to_html(measured)


@pytest.fixture(scope="module")
def seen(page, tmp_path_factory):
    """What the browser makes of the page: sizes and paint of every mark, and what was fetched."""
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    folder = tmp_path_factory.mktemp("page")
    path = folder / "page.html"
    # The page forbids scripts; the test's own may run in a copy.
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path.write_text(free.replace("</body>", LOOK), encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'user'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stdout[:2000]
    return json.loads(told[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


def test_every_plot_has_marks_that_can_be_seen(seen, measured):
    plots = seen["seen"]
    names = [plot["name"] for plot in plots]
    rows = len(measured.rows)
    assert names.count("phases") == 1
    for name in ("timeline of one run", "latency over time", "histogram", "W", "MHz", "°C", "MB"):
        assert names.count(name) == rows, name
    for plot in plots:
        assert plot["wide"] > 400
        assert plot["high"] > 50
        assert plot["marks"], plot["name"]
        assert all(mark["inside"] for mark in plot["marks"]), plot["name"]
        assert not plot["cut"], plot["name"]
        paints = {mark["paint"] for mark in plot["marks"]}
        assert not paints & {"none", "rgb(0, 0, 0)"}, paints


def test_bars_are_as_high_as_their_lanes(seen):
    for plot in seen["seen"]:
        if plot["name"] in ("phases", "timeline of one run"):
            assert all(mark["high"] > 10 for mark in plot["marks"]), plot["name"]


def test_there_is_a_dot_for_every_run_and_a_bar_for_every_phase(seen, measured):
    by_name = {}
    for plot in seen["seen"]:
        by_name.setdefault(plot["name"], []).append(plot["marks"])
    for row, marks in zip(measured.rows, by_name["latency over time"], strict=True):
        assert len(marks) == row.host_ms.count
    assert len(by_name["phases"][0]) == sum(len(row.phases) for row in measured.rows)


def test_nothing_is_fetched_and_nothing_sticks_out(seen):
    assert seen["fetched"] == []
    assert not seen["over"]


def test_the_page_names_no_address_and_has_no_script(page):
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|\ssrc=|\shref=", page)
    assert not re.search(r"https?://", page)


def test_names_are_escaped(measured):
    from dataclasses import replace

    evil = replace(measured.picture, name="<b>&.png")
    page = to_html(replace(measured, picture=evil))
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;.png" in page


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 7, [0, 1, 2, 3, 4, 5, 6, 7]),
        (0.93, 1.11, [0.95, 1.0, 1.05, 1.1]),
        (0, 1000, [0, 200, 400, 600, 800, 1000]),
        (-0.3, 0.3, [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_range_of_equal_values_is_no_point():
    low, high = around([3.0, 3.0])
    assert low < 3 < high
    assert around([0.0], zero=True) == (0, 1)


def test_places_follow_values():
    plot = Plot((0, 10), (0, 100), "t")
    plot.points([0, 10], [0, 100])
    found = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', plot.svg())
    (left, bottom), (right, top) = [(float(x), float(y)) for x, y in found]
    assert left == plot.left < right
    assert top < bottom


COLOUR = re.compile(r'<rect class="mark (c\d+)"[^>]*><title>([^:]+): ')


def test_a_phase_has_one_colour_on_the_whole_page(measured):
    """The second row has a phase less: its timeline has the legend's colours all the same."""
    first, second = measured.rows
    fewer = replace(second, phases=second.phases[1:])
    page = to_html(replace(measured, rows=(first, fewer)))
    listed = page[: page.index("</ul>")]
    legend = {name: f"c{k}" for k, name in re.findall(r'class="b(\d+)"></i>([^<]+)<', listed)}
    phases = {name for row in (first, fewer) for name in (p.name for p in row.phases)}
    painted = [(name, colour) for colour, name in COLOUR.findall(page) if name in phases]
    assert len(painted) > 3 * len(phases)
    assert all(legend[name] == colour for name, colour in painted)


def test_every_phase_of_a_cascade_has_a_colour_of_its_own():
    style = (resources.files("clit_deploy.profile") / "page.css").read_text()
    for kind, what in (("c", "fill"), ("l", "stroke"), ("b", "background")):
        found = re.findall(rf"\.{kind}(\d+) {{ {what}: (#\w+); }}", style)
        assert [int(number) for number, _ in found] == list(range(COLOURS))
        assert len({colour for _, colour in found}) == COLOURS
    stages = 3 * len(("project", "tables", "decode"))
    assert len(("read", "prepare", "encoder", "base", "write")) + stages <= COLOURS
