"""What a sensor is, and how one is read from a file of sysfs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from clit_deploy.errors import printable
from clit_deploy.system.proc_files import number, text, text_or

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Quantity = Literal[
    "power", "energy", "clock", "temperature", "load", "memory", "throttle", "events"
]
Component = Literal["cpu", "gpu"]
UNITS: dict[Quantity, str] = {
    "power": "W",
    "energy": "J",
    "clock": "MHz",
    "temperature": "°C",
    "load": "of 1",
    "memory": "B",
    "throttle": "state",
    "events": "count",
}
"""`energy` and `events` count from the boot on; a `throttle` state above 0 means throttled."""

UNREADABLE = (OSError, ValueError)
"""What a sensor raises that is denied, has gone, or holds no number."""
LARGEST = 1e15
"""No reading has a larger magnitude; one that does is damage."""
LONGEST_NAME = 80


@dataclass(frozen=True)
class ClockLimits:
    """Between what a clock may move, and who decides."""

    lower: Path
    upper: Path
    governor: str

    def equal(self) -> bool | None:
        """Whether the clock cannot move; None where the limits are unreadable."""
        try:
            return text(self.lower) == text(self.upper)
        except OSError:
            return None


@dataclass(frozen=True)
class Sensor:
    """One reading of the machine."""

    name: str
    quantity: Quantity
    read: Callable[[], float | None]
    """The value now, in the quantity's unit; None or one of `UNREADABLE` without one."""
    total: bool = False
    """Of power and energy: whether it is part of the machine's total (no rail twice)."""
    covers: tuple[Component, ...] = ("cpu", "gpu")
    """Of a part of the total: whose power it includes; a board's monitors include both."""
    limits: ClockLimits | None = None

    def value(self) -> float:
        """The value now.

        Raises:
            OSError, ValueError: it cannot be read, or is not a plausible number.
        """
        found = self.read()
        if found is None or not abs(found) <= LARGEST:
            raise ValueError(found)
        return found


@dataclass
class SensorSet:
    """Sensors that can be read, and why others cannot."""

    sensors: list[Sensor] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Keys are name and quantity: `emc clock`."""

    def add(self, sensor: Sensor) -> None:
        """Add a sensor, if it can be read now."""
        try:
            sensor.value()
        except UNREADABLE as error:
            self.absent[f"{sensor.name} {sensor.quantity}"] = reason(error)
        else:
            self.sensors.append(sensor)

    def join(self, other: SensorSet) -> None:
        """Add what another search found."""
        self.sensors += other.sensors
        self.absent.update(other.absent)

    def of(self, *quantities: Quantity) -> list[Sensor]:
        """The sensors of some quantities."""
        return [sensor for sensor in self.sensors if sensor.quantity in quantities]


def reading(path: Path, unit: float = 1.0) -> Callable[[], float]:
    """A function that reads the number in a file again and again."""
    return lambda: number(path, unit)


def name_in(path: Path, default: str = "") -> str:
    """The name in a file, as one short line that is safe to print."""
    return printable(text_or(path), LONGEST_NAME) or default


def index_of(path: Path) -> int:
    """The number in a name like `policy10`, for sorting; 0 without one."""
    digits = "".join(letter for letter in path.name if letter in "0123456789")
    return int(digits[:9] or 0)


def reason(error: Exception) -> str:
    """Why something cannot be read, in words."""
    if isinstance(error, PermissionError):
        return "only root may read it"
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or error})"
    return "it does not hold a number"
