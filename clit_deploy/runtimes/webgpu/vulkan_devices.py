"""The Vulkan devices of this machine, asked of the Vulkan loader itself.

The WebGPU plugin does not report what it chooses from. Structures are those of `vulkan_core.h`.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from dataclasses import dataclass
from typing import Any

from clit_deploy.errors import RuntimeUnavailableError, printable

LOADERS = {"linux": "libvulkan.so.1", "win32": "vulkan-1.dll"}

KINDS = {1: "integrated", 2: "discrete", 3: "virtual", 4: "software"}
"""`VkPhysicalDeviceType`; 4 is a CPU that plays a GPU."""

APPLICATION_INFO, INSTANCE_INFO = 0, 1
PROPERTIES_2, DRIVER_PROPERTIES = 1000059001, 1000196000
VERSION_1_1 = 1 << 22 | 1 << 12

NAME_AT, NAME_LENGTH = 20, 256
STORAGE_RANGE_AT = 324
"""Of `limits.maxStorageBufferRange` in `VkPhysicalDeviceProperties`, which has 824 bytes."""
PROPERTIES_SIZE = 824


@dataclass(frozen=True)
class VulkanDevice:
    """A device as its driver describes it."""

    name: str
    kind: str
    """One of `KINDS`, or `unknown`."""
    driver: str
    storage_bytes: int
    """The largest storage buffer that a shader can use."""


@functools.cache
def vulkan_devices() -> tuple[VulkanDevice, ...]:
    """All Vulkan devices, in the loader's order.

    Raises:
        RuntimeUnavailableError: there is no Vulkan loader.
    """
    name = LOADERS.get(sys.platform, "")
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"There is no Vulkan loader ({name}); install it (Debian and Ubuntu: apt install "
            "libvulkan1) with the Vulkan driver of the GPU."
        ) from error
    instance = _instance(library)
    if instance is None:
        return ()  # as without a driver
    try:
        return tuple(_described(library, instance, one) for one in _handles(library, instance))
    finally:
        library.vkDestroyInstance(instance, None)


def _instance(library: Any) -> ctypes.c_void_p | None:
    """An instance of Vulkan 1.1, which describes drivers; None if there is no driver for it."""
    application = struct.pack("@iPPIPII", APPLICATION_INFO, 0, 0, 0, 0, 0, VERSION_1_1)
    held = ctypes.create_string_buffer(application)
    info = struct.pack("@iPIPIPIP", INSTANCE_INFO, 0, 0, ctypes.addressof(held), 0, 0, 0, 0)
    instance = ctypes.c_void_p()
    made = library.vkCreateInstance(info, None, ctypes.byref(instance))
    return None if made else instance


def _handles(library: Any, instance: ctypes.c_void_p) -> list[ctypes.c_void_p]:
    count = ctypes.c_uint32()
    if library.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None):
        return []
    handles = (ctypes.c_void_p * count.value)()
    if library.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles):
        return []
    return [ctypes.c_void_p(handle) for handle in handles[: count.value]]


def _described(library: Any, instance: ctypes.c_void_p, device: ctypes.c_void_p) -> VulkanDevice:
    library.vkGetInstanceProcAddr.restype = ctypes.c_void_p
    address = library.vkGetInstanceProcAddr(instance, b"vkGetPhysicalDeviceProperties2")
    if not address:
        return VulkanDevice("a device without Vulkan 1.1", "unknown", "unknown", 0)
    describe = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)
    driver = ctypes.create_string_buffer(struct.pack("@iP", DRIVER_PROPERTIES, 0), 1024)
    chained = struct.pack("@iP", PROPERTIES_2, ctypes.addressof(driver))
    found = ctypes.create_string_buffer(chained, 16 + PROPERTIES_SIZE + 512)
    describe(device, ctypes.addressof(found))
    properties = found.raw[16 : 16 + PROPERTIES_SIZE]
    kind, storage = (struct.unpack_from("@I", properties, at)[0] for at in (16, STORAGE_RANGE_AT))
    names = (_text(driver.raw, at) for at in (20, 20 + NAME_LENGTH))
    return VulkanDevice(
        _text(properties, NAME_AT),
        KINDS.get(kind, "unknown"),
        " ".join(name for name in names if name) or "unknown",
        int(storage),
    )


def _text(content: bytes, at: int) -> str:
    text = content[at : at + NAME_LENGTH].split(b"\0")[0].decode(errors="replace")
    return printable(text, 100)
