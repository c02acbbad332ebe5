"""A profile as one page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from clit_deploy.profile import plots
from clit_deploy.profile.svg import COLOURS
from clit_deploy.profile.text import ENQUEUED, details, label, machine_line, slowest_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clit_deploy.profile.profile_file import Profile
    from clit_deploy.profile.records import Row

LAYERS = 25
"""Slowest layers that are listed."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser itself refuses whatever would be fetched."""


def to_html(profile: Profile) -> str:
    """The page."""
    style = (resources.files("clit_deploy.profile") / "page.css").read_text(encoding="utf-8")
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>clit-deploy profile, {escape(profile.picture.name)}</title>",
            f"<style>{style}</style></head><body><main>",
            *_body(profile),
            "</main></body></html>\n",
        )
    )


def _body(profile: Profile) -> Iterator[str]:
    picture, rows = profile.picture, profile.rows
    yield "<h1>clit-deploy profile</h1>"
    yield f"<p>{escape(machine_line(profile.machine))}<br>"
    yield f"{escape(picture.name)}, {picture.width}×{picture.height} pixels, {profile.started}</p>"
    for caveat in dict.fromkeys(c for row in rows for c in row.caveats):
        yield f'<p class="caveat">Not comparable: {escape(caveat)}.</p>'
    for failure in profile.failed:
        said = f"{label(failure)} could not be measured: {failure.reason}"
        yield f'<p class="caveat">{escape(said)}</p>'
    yield _latencies(rows)
    yield _figure("Milliseconds of each phase, mean of the steady runs", plots.phases(rows))
    yield _legend(plots.names(rows))
    if any(row.on_device for row in rows):
        yield f"<p>{ENQUEUED}</p>"
    for row in rows:
        yield from _row(row, plots.names(rows), len(rows) > 1)


def _row(row: Row, order: Sequence[str], several: bool) -> Iterator[str]:
    part = "details" if several else "section"
    yield f"<details open><summary>{escape(label(row))}</summary>" if several else "<section>"
    yield _figure(
        "One run: phases above, graphs on their threads below", plots.timeline(row, order)
    )
    yield _figure("Every steady run, over time", plots.over_time(row))
    yield _figure("How often each latency came", plots.histogram(row))
    for unit, names, svg in plots.curves(row):
        yield _figure(f"Sensors, {unit}", svg) + _legend(names)
    said = "".join(f"<dt>{escape(k)}</dt><dd>{escape(text)}</dd>" for k, text in details(row))
    yield f"<dl>{said}</dl>"
    if row.layers:
        yield "<details><summary>Slowest layers</summary>"
        yield _table(("graph", "layer", "kind", "ms an image", "ms a run", "runs"), _layers(row))
        yield "</details>"
    if row.conditions.absent:
        yield "<details><summary>Sensors that could not be read</summary>"
        yield _table(("sensor", "why"), row.conditions.absent.items())
        yield "</details>"
    yield f"</{part}>"


def _layers(row: Row) -> Iterator[tuple[str, ...]]:
    for x, ms in slowest_layers(row, LAYERS):
        yield x.member, x.layer, x.kind, f"{ms:.3f}", f"{x.ms / x.runs:.3f}", str(x.runs)


def _latencies(rows: Sequence[Row]) -> str:
    def cells(row: Row) -> Iterator[str]:
        stats = row.host_ms
        yield label(row)
        yield f"{row.output[1]}×{row.output[0]}"
        yield str(stats.count)
        for value in (stats.p50, stats.p90, stats.p95, stats.p99, stats.min, stats.max, stats.std):
            yield f"{value:.2f}"
        yield f"{row.ms_per_megapixel:.1f}"
        yield f"{row.quality.psnr_db:.1f}" if row.quality else "–"
        yield f"{row.power.joules_per_image:.3g}" if row.power else "–"

    head = ("row", "output", "runs", "p50 ms", "p90", "p95", "p99", "min", "max", "std",
            "ms / MP", "dB", "J / image")  # fmt: skip
    return _table(head, map(cells, rows))


def _table(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{titles}</tr>{lines}</table></div>'


def _figure(title: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _legend(names: Sequence[str]) -> str:
    items = (
        f'<li><i class="b{k % COLOURS}"></i>{escape(name)}</li>' for k, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'
