"""What a row of a profile holds, field by field; `docs/profile.md` has the same as a table.

Times are milliseconds of the host's monotonic clock where a name does not say `device`; the two
are never added. Energy is in joules, power in watts, memory in bytes, clocks in megahertz. A field
that is None could not be measured: it is declared with the usual reason, and `unavailable` of its
row has the reason that applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from clit_deploy.plan.ranges import Length, Range
from clit_deploy.profile.reasons import or_none
from clit_deploy.runtimes.protocols import DeviceTime, LayerTime  # noqa: TC001  (get_type_hints)

Positive = Annotated[float, Range(1e-15, 1e18)]
Count = Annotated[int, Range(1, 2**62)]

NOT_REPORTED = "the system does not report it"
NO_IDLE = "a rail was not read while the machine was idle"


@dataclass(frozen=True)
class PixelSize:
    """Width and height of an image."""

    width: Count
    height: Count

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.width * self.height / 1e6

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Stats:
    """Steady runs; percentiles interpolate linearly between the sorted runs (Hyndman and Fan's
    definition 7), so p99 of fewer than a hundred runs says little beside the maximum."""

    count: int
    mean: float
    std: float
    min: float
    p50: Positive
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class Loading:
    """What comes before the steady runs and is not part of them."""

    open_ms: float
    """Opening the plan, the runtime, and the graphs that the memory forecast needs."""
    graphs: dict[str, float]
    """Milliseconds to open each graph, before or in the first run."""
    first_run_ms: float
    warm_up_runs: int
    """Runs between the first and the steady ones."""
    warm_up_ms: float


@dataclass(frozen=True)
class PhaseTime:
    """A phase of a run, on the thread that waits: `read`, `prepare`, `encoder`, `stage0.project`,
    `stage0.tables`, `stage0.decode`, ..., `base` (bilinear), `write`. Work on a device is only
    enqueued in its phase; the wait for it is part of decode, and `Row.device` has its times."""

    name: str
    mean_ms: float
    p50_ms: float
    share: float
    """Fraction of the end-to-end time."""


@dataclass(frozen=True)
class GraphTime:
    """Runs of one graph in one image, on all threads. Decode runs go side by side, so their sum
    exceeds the phase that waits for them."""

    member: str
    runs: float
    host_ms: float


@dataclass(frozen=True)
class TraceEvent:
    """An interval of one run's timeline; the lane is `phases`, or the thread that ran a graph."""

    lane: str
    name: str
    start_ms: float
    ms: float


@dataclass(frozen=True)
class Drift:
    """The last fifth of the steady runs compared with the first."""

    first_p50_ms: float
    last_p50_ms: float
    percent: float


@dataclass(frozen=True)
class MemoryUse:
    """Bytes."""

    host_peak: Count
    """The most that the process held."""
    host_peak_from: str
    """`system`: the process's own high-water mark since the row began; `samples`: the mark could
    not be reset and was higher before, so the largest sample."""
    predicted: int
    """The peak that the plan's costs predict."""
    machine_peak: int | None = or_none(NOT_REPORTED)
    """The most in use on the whole machine; on a Jetson, CPU and GPU share this memory."""
    headroom: int | None = or_none(NOT_REPORTED)
    """The least that could still be taken without swapping."""
    device: dict[str, int] | None = or_none("the runtime reports no device memory")
    """Device memory by purpose, as the runtime reports it."""


@dataclass(frozen=True, kw_only=True)
class Rail:
    """One power monitor, in watts; `total` marks a part of the total."""

    name: str
    total: bool
    idle_w: float | None = or_none(NO_IDLE)
    mean_w: float
    max_w: float


@dataclass(frozen=True, kw_only=True)
class Power:
    """Power during the steady runs: the sum of the rails that are part of the total."""

    rails: tuple[Rail, ...]
    idle_w: float | None = or_none(NO_IDLE)
    """Before the plan was loaded."""
    mean_w: float
    max_w: float
    joules_per_image: Positive
    joules_per_megapixel: float
    """Per megapixel of output."""
    above_idle_joules_per_image: float | None = or_none(NO_IDLE)
    above_idle_joules_per_megapixel: float | None = or_none(NO_IDLE)
    images_per_second_per_watt: float
    rate_hz: float
    """Intended readings per second."""
    achieved_hz: float


@dataclass(frozen=True)
class Clock:
    """A clock during the steady runs. `state` is `locked` (it did not move and its limits are
    equal), `steady` (it did not move; its limits cannot be read), `unknown` (it did not move but
    did not always answer) or `floating` (it moved, or may move)."""

    name: str
    state: str
    min_mhz: float
    mean_mhz: float
    max_mhz: float
    governor: str | None = or_none("the clock has no governor that can be read")


@dataclass(frozen=True)
class Temperature:
    """A thermal zone during the steady runs, in degrees Celsius."""

    name: str
    start: float
    end: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The state of the machine during the steady runs."""

    clocks: tuple[Clock, ...]
    clock_state: str
    """The worst state among the clocks that matter: all for work on a GPU, otherwise those of CPU
    and memory. `unknown` too where no clock of what did the work can be read."""
    temperatures: tuple[Temperature, ...]
    throttled: bool | None = or_none("no sensor that reports throttling can be read")
    throttling: tuple[str, ...]
    """The sensors that reported throttling."""
    swap_start: int | None = or_none(NOT_REPORTED)
    swap_end: int | None = or_none(NOT_REPORTED)
    load_before: float | None = or_none(NOT_REPORTED)
    """The system's load average over the minute before."""
    gpu_load: float | None = or_none("no sensor reports a GPU's load")
    """Mean, 0 to 1."""
    sampler_share: float
    """Fraction of one CPU core that reading the sensors took."""
    absent: dict[str, str]
    """Sensors that are missing, denied or vanished, with the reason."""


@dataclass(frozen=True)
class Quality:
    """The output compared with a reference's, on the same image at the same scale."""

    reference: str
    """Plan, runtime and layout of the reference."""
    psnr_db: float
    """Over all colors, 0 to 1, not clipped; 160 means identical."""
    max_difference: float


@dataclass(frozen=True)
class TimeSeries:
    """Sensor readings over time, thinned out for plots."""

    name: str
    unit: str
    seconds: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to run one plan at one scale."""

    requested: dict[str, str | int | float]
    """Scale and swept values: what rows of two profiles are matched by."""
    plan: str
    plan_sha256: str | None = or_none("profiles of schema 1 do not have it")
    source: str
    """SHA-256 of the checkpoint that the plan was made from."""
    family: str
    precision: str
    runtime: str
    on_device: bool
    """Whether graphs run elsewhere than on the CPU."""
    threads: int | None = or_none("not given, so all cores")
    scale: float
    output: PixelSize
    tile: int
    block: int
    loading: Loading
    host_ms: Stats
    """End to end, from the image file to the written file."""
    ms_per_megapixel: float
    """Of output, by the median."""
    images_per_second: float
    """By the mean."""
    megapixels_per_second: float
    phases: tuple[PhaseTime, ...]
    phases_cover: float
    """Sum of the phases' shares; the rest of the time lies between phases."""
    graphs: tuple[GraphTime, ...]
    device: tuple[DeviceTime, ...] | None = or_none("its graphs run on the CPU")
    """Per image, by the device's own events."""
    layers: tuple[LayerTime, ...] | None = or_none("the runtime offers no layer times")
    """From runs of their own, which are in no other figure: the first ones of each graph."""
    timeline: tuple[TraceEvent, ...]
    """Of the run nearest to the median, among the first steady ones."""
    runs: Annotated[tuple[tuple[float, Positive], ...], Length(1, 2**62)]
    """Of every steady run: seconds since the first one's start, and milliseconds."""
    drift: Drift | None = or_none("ten runs are needed")
    memory: MemoryUse
    power: Power | None = or_none("it was not measured")
    conditions: Conditions
    quality: Quality | None = or_none("it was not measured")
    curves: tuple[TimeSeries, ...]
    comparable: bool
    caveats: tuple[str, ...]
    """Why the row is not comparable."""
    unavailable: dict[str, str]
