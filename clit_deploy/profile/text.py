"""A profile in words: what the terminal and the page show beside their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clit_deploy.profile.profile_file import Failure, Machine, Profile
    from clit_deploy.profile.records import Conditions, MemoryUse, Power, Row
    from clit_deploy.runtimes.protocols import DeviceTime, LayerTime

SLOWEST_LAYERS = 5
ENQUEUED = (
    "Phases are the host's, which only enqueues the device's work; the wait for all of it is part "
    "of decode. The device's own times are under device."
)


def describe_work(rows: int, seconds: float, runs: int, image: str) -> str:
    """What is going to be measured, and about how long it takes."""
    count = "1 row" if rows == 1 else f"{rows} rows"
    if not seconds:
        return f"Measuring {count} on {image}, {runs} runs each after the warm-up."
    total = rows * seconds
    shown = f"{total:.0f} s" if total < 120 else f"{total / 60:.0f} min"
    return f"Measuring {count} on {image}, {seconds:g} s each: {shown}, plus loading and checks."


def verdict(profile: Profile) -> str:
    """The result in one sentence."""
    best = min(profile.rows, key=lambda row: row.ms_per_megapixel)
    fastest = "the fastest per megapixel is " * (len(profile.rows) > 1) + label(best)
    caveats = dict.fromkeys(caveat for row in profile.rows for caveat in row.caveats)
    comparable = f"not comparable: {'; '.join(caveats)}" if caveats else "comparable"
    return (
        f"Measured: {fastest}, median {short(best.host_ms.p50)} ms, "
        f"{short(best.ms_per_megapixel)} ms per megapixel of output; {comparable}."
    )


def machine_line(machine: Machine) -> str:
    """The machine in a line."""
    parts = [machine.module, f"{machine.cpu} x{machine.cpus}", machine.os]
    known = {"JetPack": "jetpack", "L4T": "l4t", "power mode": "power_mode", "driver": "driver"}
    for name, field in known.items():
        if value := getattr(machine, field):
            parts.append(f"{name} {value}")
    return ", ".join(filter(None, parts))


def label(row: Row | Failure) -> str:
    """What distinguishes a row from others: `scale 4, tile 96`."""
    shown = (f"{v:.15g}" if isinstance(v, float) else str(v) for v in row.requested.values())
    return ", ".join(f"{key} {value}" for key, value in zip(row.requested, shown, strict=True))


def short(value: float) -> str:
    """A number with four figures, never with an exponent: `1004`, `93.61`, `0.809`."""
    return f"{value:.{max(4 - len(str(int(value))), 0)}f}"


def latencies(row: Row, absent: str = "-") -> dict[str, str]:
    """The figures of a row's line in the table, by the heads of the columns."""
    stats = row.host_ms
    return {
        "runs": str(stats.count),
        **{k: short(getattr(stats, k)) for k in ("p50", "p90", "p95", "p99", "min", "max", "std")},
        "dB": f"{row.quality.psnr_db:.1f}" if row.quality else absent,
        "J/img": f"{row.power.joules_per_image:.3g}" if row.power else absent,
    }


def why_missing(row: Row, figure: str) -> str:
    """The reason for a figure that is None."""
    return row.unavailable.get(figure, "no reason is known")


def details(row: Row) -> Iterator[tuple[str, str]]:
    """Everything but the latencies: pairs of a name and a text."""
    load, power, quality = row.loading, row.power, row.quality
    cut = f"tile {row.tile}, block {row.block}, output {row.output}"
    yield "runtime", f"{row.runtime}, {row.plan} ({row.precision}), {cut}"
    first = f"open {load.open_ms:.1f} ms, first run {load.first_run_ms:.1f} ms"
    yield "loading", f"{first}, then {load.warm_up_runs} warm-up runs that are in no figure"
    rates = f"{row.images_per_second:.3g} images/s, {row.megapixels_per_second:.3g} MP/s"
    yield "speed", f"{row.ms_per_megapixel:.1f} ms per megapixel of output, {rates}"
    yield "phases", _phases(row)
    graphs = ", ".join(f"{g.member} {g.host_ms:.1f} ms in {g.runs:g}" for g in row.graphs)
    yield "graphs", f"{graphs} runs per image, summed over threads"
    none = {
        name: f"none: {why_missing(row, name)}" for name in ("device", "layers", "power", "quality")
    }
    yield "device", none["device"] if row.device is None else _device(row.device)
    yield "layers", _layers(row) if row.layers else none["layers"]
    yield "memory", _memory(row.memory)
    yield "power", _power(power) if power else none["power"]
    yield "conditions", _conditions(row.conditions)
    if row.drift:
        yield "drift", f"{row.drift.percent:+.1f} % from the first fifth of the runs to the last"
    against = f"{quality.psnr_db:.1f} dB against {quality.reference}" if quality else ""
    yield "quality", against or none["quality"]
    for caveat in row.caveats:
        yield "caution", f"not comparable: {caveat}"


def slowest_layers(row: Row, count: int) -> Sequence[tuple[LayerTime, float]]:
    """The layers that take longest, and their milliseconds in one image: those in one run times
    the runs of their graph in an image."""
    runs = {one.member: one.runs for one in row.graphs}
    found = [(x, x.ms / x.runs * runs.get(x.member, 0)) for x in row.layers or () if x.runs]
    return sorted(found, key=lambda one: -one[1])[:count]


def _phases(row: Row) -> str:
    parts = ", ".join(f"{p.name} {p.mean_ms:.1f}" for p in row.phases)
    text = f"{parts} ms; together {100 * row.phases_cover:.1f} % of the end-to-end time"
    return f"{text}. {ENQUEUED}" if row.on_device else text


def _device(times: Iterable[DeviceTime]) -> str:
    parts = (
        f"{d.member} upload {d.upload_ms:.2f}, compute {d.compute_ms:.2f}, "
        f"download {d.download_ms:.2f}"
        for d in times
    )
    return f"{'; '.join(parts)} ms per image, by its own events"


def _layers(row: Row) -> str:
    parts = (f"{x.kind} {x.layer} {ms:.1f}" for x, ms in slowest_layers(row, SLOWEST_LAYERS))
    return f"{', '.join(parts)} ms per image (the slowest, from runs of their own)"


def _memory(used: MemoryUse) -> str:
    parts = [f"peak {show_bytes(used.host_peak)}, {show_bytes(used.predicted)} predicted"]
    on_device = (used.device or {}).items()
    parts += [f"{name} {show_bytes(size)} on the device" for name, size in on_device]
    if used.headroom is not None:
        parts.append(f"{show_bytes(used.headroom)} left on the machine")
    return ", ".join(parts)


def _power(power: Power) -> str:
    names = " + ".join(rail.name for rail in power.rails if rail.total)
    idle = "unknown" if power.idle_w is None else f"{power.idle_w:.2f} W"
    above = power.above_idle_joules_per_image
    more = "" if above is None else f" ({above:.3g} above idle)"
    return (
        f"{power.mean_w:.2f} W on {names} (idle {idle}), "
        f"{power.joules_per_image:.3g} J per image{more}, "
        f"{power.joules_per_megapixel:.3g} J per megapixel of output, "
        f"{power.images_per_second_per_watt:.3g} images/s/W, sampled at {power.achieved_hz:.1f} Hz"
    )


def _conditions(found: Conditions) -> str:
    parts = [f"clocks {found.clock_state}"]
    parts += [f"{c.name} {c.mean_mhz:.0f} MHz" for c in found.clocks if not c.name[3:].isdecimal()]
    if found.temperatures:
        hottest = max(found.temperatures, key=lambda zone: zone.max)
        parts.append(f"{hottest.name} {hottest.start:.0f} to {hottest.end:.0f} °C")
    if found.throttled is not None:
        parts.append("throttled" if found.throttled else "not throttled")
    return ", ".join(parts)
