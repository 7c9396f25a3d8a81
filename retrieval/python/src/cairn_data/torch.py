"""Shards for ``torch.utils.data.DataLoader``: the one module that imports torch.

``ShardDataset`` is a :class:`~cairn_data.shards.ShardStream` that torch knows as an ``IterableDataset``. Rank and worker are
asked of torch in each worker, so ranks and workers share the shards without overlap. ``state_dict`` and ``load_state_dict``
are the ones that torchdata's ``StatefulDataLoader`` calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import IterableDataset

from .shards import ShardStream


class ShardDataset(IterableDataset):  # type: ignore[misc]
    """A shard stream as a torch dataset."""

    def __init__(self, stream: ShardStream, transform: Callable[[dict[str, Any]], Any] | None = None) -> None:
        """``transform`` is applied to every sample, in the worker."""
        super().__init__()
        self.stream = stream
        self.transform = transform

    def __iter__(self) -> Iterator[Any]:
        for sample in self.stream:
            yield sample if self.transform is None else self.transform(sample)

    def set_epoch(self, epoch: int) -> None:
        """Goes to the start of an epoch."""
        self.stream.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The position after the last sample."""
        return self.stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a saved position."""
        self.stream.load_state_dict(state)
