"""What a sensor is, and how one is read from a file of sysfs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from clit_deploy.system.proc_files import number

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
"""What a sensor raises that is denied, has gone, or says no number."""


@dataclass(frozen=True)
class Sensor:
    """One reading of the machine."""

    name: str
    quantity: Quantity
    read: Callable[[], float]
    """The value now, in the quantity's unit; raises one of `UNREADABLE`."""
    total: bool = False
    """Of power and energy: whether it is a part of the machine's total (no rail twice)."""
    covers: tuple[Component, ...] = ("cpu", "gpu")
    """Of a part of the total: whose power it has; a board's monitors have both."""


@dataclass
class SensorSet:
    """Sensors that can be read, and why others cannot."""

    sensors: list[Sensor] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Keys are name and quantity: `emc clock`."""

    def add(self, sensor: Sensor) -> bool:
        """Take a sensor in, if it can be read now."""
        try:
            sensor.read()
        except UNREADABLE as error:
            self.absent[f"{sensor.name} {sensor.quantity}"] = reason(error)
            return False
        self.sensors.append(sensor)
        return True

    def join(self, other: SensorSet) -> None:
        """Take in what another search found."""
        self.sensors += other.sensors
        self.absent.update(other.absent)

    def of(self, *quantities: Quantity) -> list[Sensor]:
        """The sensors of some quantities."""
        return [sensor for sensor in self.sensors if sensor.quantity in quantities]


def reading(path: Path, unit: float = 1.0) -> Callable[[], float]:
    """A function that reads the number in a file again and again."""
    return lambda: number(path, unit)


def reason(error: Exception) -> str:
    """Why something cannot be read, for people."""
    if isinstance(error, PermissionError):
        return "only root may read it"
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or error})"
    return "it holds no number"
