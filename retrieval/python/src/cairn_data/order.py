"""The order of training data, as pure functions of (seed, epoch, rank, worker).

Everything is drawn from SHA-256, so an order is the same on every machine, Python version and day.

1. The shards of an epoch are sorted by the hash of (seed, epoch, shard number).
2. Consumer ``rank * workers + worker`` of ``world * workers`` takes every such one of them, beginning with its own number.
   All consumers together read every shard once per epoch.
3. The n-th draw from a consumer's shuffle buffer is the hash of (seed, epoch, consumer, n), modulo the buffer's fill.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .errors import OptionRejection


@dataclass(frozen=True, slots=True)
class Place:
    """Which consumer this is."""

    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.world and 0 <= self.worker < self.workers):
            raise OptionRejection(f"{self}: expected 0 <= rank < world and 0 <= worker < workers")

    @property
    def number(self) -> int:
        """Number of this consumer among all."""
        return self.rank * self.workers + self.worker

    @property
    def count(self) -> int:
        """Number of consumers."""
        return self.world * self.workers


def _draw(*what: object) -> int:
    text = ":".join(str(each) for each in what)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def shard_order(seed: int, epoch: int, shards: int, shuffle: bool = True) -> list[int]:
    """Numbers of all shards in the order of an epoch."""
    if not shuffle:
        return list(range(shards))
    return sorted(range(shards), key=lambda shard: _draw("shard", seed, epoch, shard))


def shards_of(place: Place, seed: int, epoch: int, shards: int, shuffle: bool = True) -> list[int]:
    """Numbers of the shards that one consumer reads, in its order."""
    return shard_order(seed, epoch, shards, shuffle)[place.number :: place.count]


def buffer_draw(place: Place, seed: int, epoch: int, draw: int, fill: int) -> int:
    """Which of ``fill`` buffered samples comes next."""
    return _draw("sample", seed, epoch, place.number, place.count, draw) % fill


def detect_place() -> Place:
    """This consumer by torch's word, if torch is loaded; otherwise the only one. Never imports torch."""
    import sys

    rank, world, worker, workers = 0, 1, 0, 1
    torch = sys.modules.get("torch")
    data = sys.modules.get("torch.utils.data")
    if torch is not None and data is not None:
        distributed = getattr(torch, "distributed", None)
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            rank, world = distributed.get_rank(), distributed.get_world_size()
        info = data.get_worker_info()
        if info is not None:
            worker, workers = info.id, info.num_workers
    return Place(rank, world, worker, workers)
