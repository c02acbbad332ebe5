"""A profile as one page that needs no network: style, scripts and the profile's JSON are in it.

Texts and tables are written here and can be read without scripts. `page/page.js` draws the plots
from the JSON, with uPlot (MIT, see NOTICE).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from base64 import b64encode
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from clit_deploy.profile.text import (
    ENQUEUED,
    details,
    label,
    latencies,
    machine_line,
    slowest_layers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clit_deploy.profile.profile_file import Profile
    from clit_deploy.profile.records import Row

LAYERS = 25
"""Slowest layers that are listed."""
DOTS = 2000
"""More runs than that are thinned out in the plots; the JSON file has them all."""
PLOTTED = ("phases", "timeline", "host_ms", "curves")
"""The parts of a row that the plots need, beside its runs."""
FIGURES = {
    "timeline": "One run: its phases, and its graphs on their threads",
    "latency": "Every steady run, over time",
    "histogram": "Distribution of the latencies",
}


def to_html(profile: Profile) -> str:
    """The page."""
    styles = _file("uplot.min.css") + _file("page.css")
    scripts = [_file("uplot.min.js"), _file("page.js")]
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {hashes}"
    data = json.dumps({"rows": [_plotted(row) for row in profile.rows]}, allow_nan=False)
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>clit-deploy profile, {escape(profile.image.name)}</title>",
            f"<style>{styles}</style></head><body><main>",
            *_body(profile),
            "<noscript><p>The plots need scripts, which are in this page.</p></noscript></main>",
            f'<script type="application/json" id="profile">{data.replace("<", chr(92) + "u003c")}',
            "</script>",
            *(f"<script>{script}</script>" for script in scripts),
            "</body></html>\n",
        )
    )


def _body(profile: Profile) -> Iterator[str]:
    yield "<h1>clit-deploy profile</h1>"
    yield f"<p>{escape(machine_line(profile.machine))}</p>"
    yield _pairs(_facts(profile))
    for caveat in dict.fromkeys(c for row in profile.rows for c in row.caveats):
        yield f'<p class="caveat">Not comparable: {escape(caveat)}.</p>'
    for failure in profile.failed:
        text = f"{label(failure)} could not be measured: {failure.reason}"
        yield f'<p class="caveat">{escape(text)}</p>'
    yield _latencies(profile.rows)
    yield _figure("phases", "Milliseconds of each phase, mean of the steady runs")
    if any(row.on_device for row in profile.rows):
        yield f"<p>{ENQUEUED}</p>"
    for k, row in enumerate(profile.rows):
        yield from _row(row, k, several=len(profile.rows) > 1)


def _facts(profile: Profile) -> Iterator[tuple[str, str]]:
    image, versions = profile.image, profile.machine.versions
    yield "measured", f"{profile.started}, {image.name}, {image.width}x{image.height} pixels"
    if profile.command:
        yield "command", profile.command
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    yield "system", f"{profile.machine.os or 'unknown'}, kernel {profile.machine.kernel}"
    for name, digest in dict.fromkeys((row.plan, row.plan_sha256) for row in profile.rows):
        yield "plan", f"{name}, SHA-256 {digest or 'unknown'}"


def _row(row: Row, index: int, *, several: bool) -> Iterator[str]:
    yield f"<details open><summary>{escape(label(row))}</summary>" if several else "<section>"
    for name, title in FIGURES.items():
        yield _figure(f"{name}-{index}", title)
    yield f'<div id="sensors-{index}"></div>'
    yield _pairs(details(row))
    layers = [
        (x.member, x.layer, x.kind, f"{ms:.3f}", f"{x.ms / x.runs:.3f}", str(x.runs))
        for x, ms in slowest_layers(row, LAYERS)
    ]
    yield from _folded(
        "Slowest layers", ("graph", "layer", "kind", "ms/image", "ms/run", "runs"), layers
    )
    yield from _folded(
        "Sensors that could not be read", ("sensor", "why"), row.conditions.absent.items()
    )
    yield "</details>" if several else "</section>"


def _latencies(rows: Iterable[Row]) -> str:
    lines = [
        {
            "ms": label(row),
            "output": str(row.output),
            **latencies(row, "–"),
            "ms/MP": f"{row.ms_per_megapixel:.1f}",
        }
        for row in rows
    ]
    return _table(lines[0], (line.values() for line in lines))


def _folded(title: str, head: Iterable[str], body: Iterable[Iterable[str]]) -> Iterator[str]:
    body = list(body)
    if body:
        yield f'<details class="layers"><summary>{title}</summary>{_table(head, body)}</details>'


def _table(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{titles}</tr>{lines}</table></div>'


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    lines = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)
    return f"<dl>{''.join(lines)}</dl>"


def _figure(name: str, title: str) -> str:
    return f'<figure id="{name}"><figcaption>{title}</figcaption></figure>'


def _plotted(row: Row) -> dict[str, Any]:
    content = dataclasses.asdict(row)
    runs = row.runs[:: -(-len(row.runs) // DOTS)]
    return {"label": label(row), "runs": runs, **{name: content[name] for name in PLOTTED}}


def _file(name: str) -> str:
    return (resources.files("clit_deploy.profile") / "page" / name).read_text(encoding="utf-8")


def _sha256(script: str) -> str:
    return b64encode(hashlib.sha256(script.encode()).digest()).decode()
