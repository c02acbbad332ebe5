"""A profile in words: what the table and the page say beside their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.profile.profile_file import Failure, Machine
    from clit_deploy.profile.records import Row
    from clit_deploy.runtimes.protocols import LayerTime

SLOWEST_LAYERS = 5
ENQUEUED = (
    "Phases are the host's, which only enqueues what a device does: the wait for all of it lies in "
    "decode. What upload, graphs and download take, the device's own times say."
)


def machine_line(machine: Machine) -> str:
    """The machine in a line."""
    known = {
        "JetPack": machine.jetpack,
        "L4T": machine.l4t,
        "power mode": machine.power_mode,
        "driver": machine.driver,
    }
    parts = [machine.module, f"{machine.processor} x{machine.processors}"]
    return ", ".join([*parts, *(f"{name} {value}" for name, value in known.items() if value)])


def label(row: Row | Failure) -> str:
    """What makes a row itself: `scale 4, tile 96`."""
    shown = (f"{v:.15g}" if isinstance(v, float) else str(v) for v in row.asked.values())
    return ", ".join(f"{key} {value}" for key, value in zip(row.asked, shown, strict=True))


def details(row: Row) -> Iterator[tuple[str, str]]:
    """Everything but the latencies: a word, and what there is to say."""
    yield (
        "runtime",
        (
            f"{row.runtime}, {row.plan} ({row.precision}), tile {row.tile}, block {row.block}, "
            f"output {row.output[1]}x{row.output[0]}"
        ),
    )
    load = row.loading
    yield (
        "loading",
        (
            f"open {load.open_ms:.1f} ms, first run {load.first_run_ms:.1f} ms, then "
            f"{load.warm_up_runs} runs of warm-up that are in no figure"
        ),
    )
    yield (
        "speed",
        (
            f"{row.ms_per_megapixel:.1f} ms a megapixel of output, "
            f"{row.images_per_second:.3g} images/s, {row.megapixels_per_second:.3g} MP/s"
        ),
    )
    yield "phases", _phases(row)
    yield "graphs", _graphs(row)
    yield "device", _device(row)
    yield "layers", _layers(row) if row.layers else f"none: {row.reasons['layers']}"
    yield "memory", _memory(row)
    yield "power", _power(row)
    yield "conditions", _conditions(row)
    if row.drift:
        yield "drift", f"{row.drift.percent:+.1f} % from the first fifth of the runs to the last"
    yield "quality", _quality(row)
    for caveat in row.caveats:
        yield "caution", f"not comparable: {caveat}"


def _graphs(row: Row) -> str:
    parts = ", ".join(f"{b.member} {b.host_ms:.1f} ms in {b.runs:g}" for b in row.busy)
    return f"{parts} runs an image, summed over threads"


def _phases(row: Row) -> str:
    parts = ", ".join(f"{p.name} {p.mean_ms:.1f}" for p in row.phases)
    reported = f"{parts} ms; together {100 * row.phases_cover:.1f} % of the end-to-end time"
    return f"{reported}. {ENQUEUED}" if row.on_device else reported


def _device(row: Row) -> str:
    if row.device is None:
        return f"none: {row.reasons['device']}"
    parts = (
        f"{d.member} upload {d.upload_ms:.2f}, compute {d.compute_ms:.2f}, "
        f"download {d.download_ms:.2f}"
        for d in row.device
    )
    return f"{'; '.join(parts)} ms an image, by its own events"


def _layers(row: Row) -> str:
    parts = (f"{x.kind} {x.layer} {ms:.1f}" for x, ms in slowest_layers(row, SLOWEST_LAYERS))
    return f"{', '.join(parts)} ms an image (the slowest, from runs of their own)"


def slowest_layers(row: Row, count: int) -> list[tuple[LayerTime, float]]:
    """Layers that take longest, and the milliseconds that they take in one image: those of a run
    times the runs that their graph has in an image."""
    runs = {one.member: one.runs for one in row.busy}
    found = [(x, x.ms / x.runs * runs.get(x.member, 0)) for x in row.layers or ()]
    return sorted(found, key=lambda one: -one[1])[:count]


def _memory(row: Row) -> str:
    used = row.memory
    parts = [f"peak {show_bytes(used.host_peak)}, {show_bytes(used.predicted)} predicted"]
    on_device = (used.device or {}).items()
    parts += [f"{name} {show_bytes(size)} on the device" for name, size in on_device]
    if used.headroom is not None:
        parts.append(f"{show_bytes(used.headroom)} left on the machine")
    return ", ".join(parts)


def _power(row: Row) -> str:
    if row.power is None:
        return f"none: {row.reasons['power']}"
    power = row.power
    names = " + ".join(rail.name for rail in power.rails if rail.total)
    idle = "unknown" if power.idle_w is None else f"{power.idle_w:.2f} W"
    above = power.above_idle_joules_per_image
    more = "" if above is None else f" ({above:.3g} above idle)"
    return (
        f"{power.mean_w:.2f} W on {names} (idle {idle}), "
        f"{power.joules_per_image:.3g} J an image{more}, "
        f"{power.joules_per_megapixel:.3g} J a megapixel of output, "
        f"{power.images_per_second_per_watt:.3g} images/s/W, sampled at {power.achieved_hz:.1f} Hz"
    )


def _conditions(row: Row) -> str:
    found = row.conditions
    parts = [f"clocks {found.clock_state}"]
    parts += [f"{c.name} {c.mean_mhz:.0f} MHz" for c in found.clocks if not c.name[3:].isdecimal()]
    if found.temperatures:
        hottest = max(found.temperatures, key=lambda zone: zone.max)
        parts.append(f"{hottest.name} {hottest.start:.0f} to {hottest.end:.0f} °C")
    if found.throttled is not None:
        parts.append("throttled" if found.throttled else "not throttled")
    return ", ".join(parts)


def _quality(row: Row) -> str:
    if row.quality is None:
        return f"none: {row.reasons['quality']}"
    return f"{row.quality.psnr_db:.1f} dB against {row.quality.reference}"
