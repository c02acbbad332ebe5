"""The WebGPU adapters of this machine, and the choice of one."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.errors import OptionError, RuntimeUnavailableError, quote
from clit_deploy.runtimes.webgpu.vulkan_devices import vulkan_devices

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOW_SOFTWARE = "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER"
"""The plugin's own switch."""

SOFTWARE = "software"
PREFERENCES = {"high-performance": ("discrete", "integrated"), "low-power": ("integrated",)}
"""What the plugin can be asked for, and the kinds that it prefers then."""


@dataclass(frozen=True)
class Adapter:
    """A GPU, or a program that plays one."""

    name: str
    kind: str
    """`discrete`, `integrated`, `virtual`, `software` or `unknown`."""
    driver: str
    storage_bytes: int | None
    """The largest tensor that it can hold; None if it does not say."""
    preference: str | None
    """What makes the plugin choose it; None if nothing does."""

    @property
    def is_gpu(self) -> bool:
        """Whether it is more than a program on the CPU."""
        return self.kind != SOFTWARE


def adapters(reported: Sequence[str] = ()) -> list[Adapter]:
    """All adapters, in the order of their numbers.

    Args:
        reported: names of GPUs that ONNX Runtime reports, for systems without Vulkan.

    Raises:
        RuntimeUnavailableError: there is no Vulkan loader on Linux.
    """
    if sys.platform != "linux":  # Direct3D and Metal: the plugin takes the system's first
        return [
            Adapter(name, "unknown", "unknown", None, None if k else "high-performance")
            for k, name in enumerate(reported)
        ]
    found = vulkan_devices()
    chosen = _preferences([device.kind for device in found])
    return [
        Adapter(x.name, x.kind, x.driver, x.storage_bytes, chosen.get(k))
        for k, x in enumerate(found)
    ]


def _preferences(kinds: Sequence[str]) -> dict[int, str]:
    """The preference that leads to each adapter: the first of a kind is taken, and one that is not
    preferred only if no other is there."""
    found: dict[int, str] = {}
    for preference, preferred in PREFERENCES.items():
        order = [*preferred, *(kind for kind in kinds if kind not in preferred)]
        real = [kind for kind in order if kind != SOFTWARE]
        first = next((kinds.index(kind) for kind in [*real, *order] if kind in kinds), None)
        if first is not None:
            found.setdefault(first, preference)
    return found


def software_is_allowed() -> bool:
    """Whether the plugin's own switch allows software adapters that nobody named."""
    return os.environ.get(ALLOW_SOFTWARE) == "1"


def choose_adapter(
    found: Sequence[Adapter], device: str | None = None, *, software: bool = False
) -> Adapter:
    """The adapter of that number or name; None chooses the fastest GPU.

    Args:
        found: all adapters.
        device: a number, from 0, or a part of a name.
        software: whether a software adapter that is not named will do.

    Raises:
        OptionError: no adapter has this number or name.
        RuntimeUnavailableError: there is no GPU, or the plugin cannot choose that adapter.
    """
    if not found:
        raise RuntimeUnavailableError(
            "There is no WebGPU adapter: no driver offers a GPU to this process. Install the "
            "Vulkan driver of the GPU, or use --runtime cpu."
        )
    if device is not None:
        return _named(found, device)
    gpus = [adapter for adapter in found if adapter.is_gpu]
    if not gpus and not software:
        raise RuntimeUnavailableError(
            f"The only WebGPU adapter is a software one ({found[0].name}), which is slower than "
            "--runtime cpu; name it with --device to use it anyway."
        )
    order = list(PREFERENCES)
    usable = [adapter for adapter in gpus or found if adapter.preference]
    return min(usable, key=lambda adapter: order.index(adapter.preference or ""))


def _named(found: Sequence[Adapter], device: str) -> Adapter:
    listed = ", ".join(f"{k} ({adapter.name})" for k, adapter in enumerate(found))
    if device.isdecimal():
        fits = [adapter for k, adapter in enumerate(found) if k == int(device[:9])]
    else:
        fits = [x for x in found if device.strip() and device.strip().lower() in x.name.lower()]
    if not fits:
        raise OptionError(f"--device {quote(device)} is not an adapter; there are {listed}.")
    for adapter in fits:
        if adapter.preference:
            return adapter
    usable = ", ".join(str(k) for k, adapter in enumerate(found) if adapter.preference)
    raise RuntimeUnavailableError(
        f"The WebGPU plugin cannot choose {fits[0].name}; of the adapters {listed} it can use "
        f"{usable}. Hide the others with VK_DRIVER_FILES."
    )
