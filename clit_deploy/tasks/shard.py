"""One part of the images, for one of several processes or machines that share the work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """Every `count`-th image, from the one at `index` on; it counts from 1.

    The images are taken in the order in which they are named, so that all shards of a command
    agree on it, whatever the images contain.
    """

    index: int
    count: int

    def has(self, position: int) -> bool:
        """Whether the image at this position, from 0 on, belongs to the shard."""
        return position % self.count == self.index - 1


ALL = Shard(1, 1)
