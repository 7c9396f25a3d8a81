"""torch's DataLoader over shards: workers share them, ranks share them, positions are kept. Needs torch."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cairn_data import Client
from conftest import SAMPLES_PER_SHARD, SHARDS, World, record

torch = pytest.importorskip("torch", reason="no torch here; make test-loaders has it")

from cairn_data.shards import ShardStream  # noqa: E402
from cairn_data.torch import ShardDataset  # noqa: E402


def key(sample: dict[str, Any]) -> str:
    return str(sample["__key__"])


def dataset(world: World, **more: Any) -> ShardDataset:
    urls = [world.address(f"shards/{number:06d}.tar") for number in range(SHARDS)]
    return ShardDataset(ShardStream(world.client(), urls, seed=4, **more), transform=key)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_share_an_epoch(world: World, workers: int, method: str) -> None:
    whole = sorted(dataset(world))
    assert len(set(whole)) == SHARDS * SAMPLES_PER_SHARD
    made = dataset(world, buffer=16)
    next(iter(made))  # threads and connections are alive before the workers start
    context = method if workers else None
    loader = torch.utils.data.DataLoader(made, batch_size=None, num_workers=workers, multiprocessing_context=context)
    made.set_epoch(0)
    first = list(loader)
    assert sorted(first) == whole
    made.set_epoch(0)
    assert list(loader) == first, "the order is the same every time"
    made.set_epoch(1)
    assert list(loader) != first


def test_a_position_is_kept(world: World) -> None:
    whole = list(dataset(world, buffer=16))
    running = dataset(world, buffer=16)
    iterator = iter(running)
    assert [next(iterator) for _ in range(50)] == whole[:50]
    resumed = dataset(world, buffer=16)
    resumed.load_state_dict(running.state_dict())
    assert list(resumed) == whole[50:]


def test_tensors_are_batched(world: World) -> None:
    urls = [world.address("shards/000000.tar")]
    made = ShardDataset(ShardStream(world.client(), urls), transform=lambda sample: torch.tensor(int(sample["cls"])))
    batches = list(torch.utils.data.DataLoader(made, batch_size=8))
    assert [tuple(batch.shape) for batch in batches] == [(8,)] * (SAMPLES_PER_SHARD // 8)


def test_a_loader_on_good_and_bad_providers(world: World, client: Client) -> None:
    urls = [world.address(f"shards/{number:06d}.tar") for number in range(SHARDS)]
    started = time.monotonic()
    made = ShardDataset(ShardStream(client, urls, shuffle_shards=False), transform=lambda sample: (key(sample), sample["bin"]))
    got = [(name, data) for name, data in torch.utils.data.DataLoader(made, batch_size=None)]
    local = ShardStream(world.client(), urls, shuffle_shards=False)
    assert got == [(key(sample), sample["bin"]) for sample in local]
    assert len(got) == SHARDS * SAMPLES_PER_SHARD
    needed = sum((world.folder / f"shards/{number:06d}.tar").stat().st_size for number in range(SHARDS))
    record("torch DataLoader", "ShardDataset", client, len(got), needed, started)
    assert client.stats().longest_wait < 2.0
