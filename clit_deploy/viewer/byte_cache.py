"""Encoded tiles that are kept: what was not asked for the longest time goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

Key = TypeVar("Key", bound="Hashable")


class ByteCache(Generic[Key]):
    """Bytes by key, for several threads.

    Args:
        limit: bytes that are kept in all.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self._held = limit, 0
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._changing = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are kept now."""
        return self._held

    def get(self, key: Key) -> bytes | None:
        """What is kept under a key; None if it is not."""
        with self._changing:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Key, content: bytes) -> None:
        """Keep something, as far as the limit allows."""
        with self._changing:
            self._held += len(content) - len(self._kept.pop(key, b""))
            self._kept[key] = content
            while self._held > self.limit:
                _, dropped = self._kept.popitem(last=False)
                self._held -= len(dropped)
