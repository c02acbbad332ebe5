"""What a row of a profile says: the JSON file (`profile_file.py`), field by field.

Times are milliseconds of the host's monotonic clock where a name does not say `device`; the two
are never added. Energy is in joules, power in watts, memory in bytes, clocks in megahertz. What is
None could not be known, and `reasons` of its row (or of the machine) says why, under the field's
dotted name: `conditions.throttled`.
"""

from __future__ import annotations

from dataclasses import dataclass

from clit_deploy.runtimes.protocols import DeviceTime, LayerTime  # noqa: TC001  (get_type_hints)


@dataclass(frozen=True)
class Stats:
    """Steady runs; percentiles interpolate linearly between the sorted runs (Hyndman and Fan's
    definition 7), so p99 of fewer than a hundred runs says little beside the maximum."""

    count: int
    mean: float
    std: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class Loading:
    """What comes before the steady runs, and is not in them."""

    open_ms: float
    """Opening plan and runtime, and the graphs that are needed to predict the memory."""
    graphs: dict[str, float]
    """Of every graph: milliseconds to open it, before or in the first run."""
    first_run_ms: float
    warm_up_runs: int
    """Runs between the first and the steady ones."""
    warm_up_ms: float


@dataclass(frozen=True)
class PhaseTime:
    """A phase of a run, on the thread that waits. What a device does is only enqueued by it: the
    wait lies in the phases of decode, and `Row.device` has the times of the device."""

    name: str
    """`read`, `prepare`, `encoder`, `stage0.project`, `stage0.tables` (the host's tables),
    `stage0.decode`, ..., `base` (bilinear), `write`."""
    mean_ms: float
    p50_ms: float
    share: float
    """Part of the end-to-end time; all phases together make up `phases_cover`."""


@dataclass(frozen=True)
class GraphTime:
    """Runs of one graph, as the threads that called them saw it. Decode runs go side by side, so
    their sum is more than the phase that waits for them."""

    member: str
    runs: float
    """In one image."""
    host_ms: float
    """In one image, summed over threads."""


@dataclass(frozen=True)
class TraceEvent:
    """A piece of the timeline of one run."""

    lane: str
    """`phases`, or the thread that ran a graph."""
    name: str
    start_ms: float
    ms: float


@dataclass(frozen=True)
class Drift:
    """The last fifth of the steady runs against the first."""

    first_p50_ms: float
    last_p50_ms: float
    percent: float


@dataclass(frozen=True)
class MemoryUse:
    """Bytes."""

    host_peak: int
    """The most that the process held."""
    host_peak_from: str
    """`system`: its own high-water mark since the row began; `samples`: that could not be set back
    and was higher before, so what was sampled."""
    predicted: int
    """The peak that the plan's costs predicted."""
    machine_peak: int | None
    """The most that was in use on the machine; on a Jetson processor and GPU share it."""
    headroom: int | None
    """The least that was left to take without swapping."""
    device: dict[str, int] | None
    """Memory of the device, by what it is for, as the runtime tells."""


@dataclass(frozen=True)
class Rail:
    """One power monitor, in watts."""

    name: str
    total: bool
    """Whether it is a part of the total."""
    idle_w: float | None
    mean_w: float
    max_w: float


@dataclass(frozen=True)
class Power:
    """Power during the steady runs. The total is the sum of the rails marked so."""

    rails: tuple[Rail, ...]
    idle_w: float | None
    """Before the plan was loaded."""
    mean_w: float
    max_w: float
    joules_per_image: float
    joules_per_megapixel: float
    """Of output."""
    above_idle_joules_per_image: float | None
    above_idle_joules_per_megapixel: float | None
    images_per_second_per_watt: float
    rate_hz: float
    """Readings a second that were aimed at."""
    achieved_hz: float


@dataclass(frozen=True)
class Clock:
    """A clock during the steady runs."""

    name: str
    state: str
    """`locked`: its limits leave no choice, and it stood still; `steady`: its limits cannot be
    read, and it stood still; `unknown`: it stood still, but did not always answer; `floating`: it
    moved, or may."""
    min_mhz: float
    mean_mhz: float
    max_mhz: float
    governor: str | None


@dataclass(frozen=True)
class Temperature:
    """A thermal zone during the steady runs, in degrees Celsius."""

    name: str
    start: float
    end: float
    max: float


@dataclass(frozen=True)
class Conditions:
    """How the machine was while it was measured."""

    clocks: tuple[Clock, ...]
    clock_state: str
    """The worst of those that matter: all for work on a GPU, those of processor and memory
    otherwise; `unknown` too where none can be read of what did the work."""
    temperatures: tuple[Temperature, ...]
    throttled: bool | None
    throttling: tuple[str, ...]
    """What told of throttling."""
    swap_start: int | None
    swap_end: int | None
    load_before: float | None
    """The system's load average over the minute before."""
    gpu_load: float | None
    """Mean of 0..1."""
    sampler_share: float
    """Part of one processor that reading the sensors took."""
    absent: dict[str, str]
    """Sensors that are missing, denied or vanished, with the reason."""


@dataclass(frozen=True)
class Quality:
    """The output against a reference's, on the same picture at the same scale."""

    reference: str
    """What it was compared with: plan, runtime and cut."""
    psnr_db: float
    """Over all colours, 0..1 unclipped; 160 means the same to the bit."""
    max_difference: float


@dataclass(frozen=True)
class TimeSeries:
    """Readings over time, thinned out for plots."""

    name: str
    unit: str
    seconds: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One way to run one plan at one scale."""

    asked: dict[str, str | int | float]
    """What makes the row itself: scale, and what was swept."""
    plan: str
    source: str
    """SHA-256 of the checkpoint that the plan was made from."""
    family: str
    precision: str
    runtime: str
    on_device: bool
    """Whether graphs run elsewhere than on the processor."""
    threads: int | None
    scale: float
    output: tuple[int, int]
    """Height and width."""
    tile: int
    block: int
    loading: Loading
    host_ms: Stats
    """End to end, from the picture's file to the written file."""
    ms_per_megapixel: float
    """Of output, by the median."""
    images_per_second: float
    """By the mean."""
    megapixels_per_second: float
    phases: tuple[PhaseTime, ...]
    phases_cover: float
    """Sum of all phases over the end-to-end time; what is missing lies between them."""
    busy: tuple[GraphTime, ...]
    device: tuple[DeviceTime, ...] | None
    """Per image, by the device's own events."""
    layers: tuple[LayerTime, ...] | None
    """From runs of their own, which are in no other figure: the first ones of each graph, in the
    first strip of the picture."""
    timeline: tuple[TraceEvent, ...]
    """Of the run nearest to the median, among the first steady ones."""
    runs: tuple[tuple[float, float], ...]
    """Of every steady run: seconds from the first one's start, and milliseconds."""
    drift: Drift | None
    memory: MemoryUse
    power: Power | None
    conditions: Conditions
    quality: Quality | None
    curves: tuple[TimeSeries, ...]
    comparable: bool
    caveats: tuple[str, ...]
    """Why it is not comparable."""
    reasons: dict[str, str]
