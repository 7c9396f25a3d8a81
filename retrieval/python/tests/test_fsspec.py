"""cairn:// through fsspec itself."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import threading
from pathlib import Path

import fsspec
import pytest

from cairn_data import errors
from cairn_data.fs import CairnFileSystem
from conftest import World
from support import MIB, Proxy


def filesystem(world: World, *providers: str, **more: object) -> CairnFileSystem:
    return CairnFileSystem(providers=list(providers) or [world.url], skip_instance_cache=True, **more)


def test_it_is_registered_and_reads(world: World) -> None:
    with fsspec.open(world.address("deep/er/est.txt"), "rt", providers=[world.url]) as file:
        assert file.read() == "deep"
    fs = fsspec.filesystem("cairn", providers=(world.url,), names={"demo@2": world.root})
    assert isinstance(fs, CairnFileSystem)
    assert fs.cat("cairn://demo@2/deep/er/est.txt") == b"deep"
    assert pickle.loads(pickle.dumps(fs)).cat_file(world.address("empty.txt")) == b""


def test_looking(world: World) -> None:
    fs = filesystem(world)
    assert fs.ls(world.address("deep"), detail=False) == [f"{world.root}/deep/er"]
    assert fs.info(world.address("exact.bin")) | {"cid": "", "ETag": ""} == {
        "name": f"{world.root}/exact.bin",
        "size": 2 * MIB,
        "type": "file",
        "cid": "",
        "ETag": "",
    }
    assert fs.exists(world.address("deep"))
    assert not fs.exists(world.address("shallow"))
    assert sorted(fs.find(world.address("shards"))) == [f"{world.root}/shards/{n:06d}.tar" for n in range(4)]
    assert fs.glob(world.address("images/photos-*.tar"))[0].endswith("photos-000000.tar")
    assert fs.isdir(world.root)
    with pytest.raises(FileNotFoundError):
        fs.info(world.address("shallow"))


def test_ranges_of_many_files(world: World, meter: Proxy) -> None:
    fs = filesystem(world, meter.url)
    big, exact = world.address("big.bin"), world.address("exact.bin")
    whole, other = world.bytes("big.bin"), world.bytes("exact.bin")
    asked = [(big, 0, 5), (exact, -7, None), (big, 3, 9), (exact, 0, -1), (big, None, 2), (big, -3, -1), (big, 10, 4)]
    got = fs.cat_ranges([path for path, _, _ in asked], [start for _, start, _ in asked], [end for _, _, end in asked])
    assert got == [whole[0:5], other[-7:], whole[3:9], other[0:-1], whole[:2], whole[-3:-1], b""]
    assert fs.client.stats().bytes_requested == MIB + 12_345 + 2 * MIB
    assert fs.cat_file(big, 5 * MIB, 5 * MIB + 3) == whole[5 * MIB : 5 * MIB + 3]
    got = fs.cat_ranges([big, world.address("nothing")], 0, 3)
    assert got[0] == whole[:3]
    assert isinstance(got[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([world.address("nothing")], [0], [3], on_error="raise")


def test_files_and_folders_are_brought(world: World, tmp_path: Path) -> None:
    fs = filesystem(world)
    fs.get(world.address("deep"), str(tmp_path / "deep"), recursive=True)
    assert (tmp_path / "deep" / "er" / "est.txt").read_text() == "deep"
    fs.get_file(world.address("big.bin"), tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == world.bytes("big.bin")


def test_it_is_read_only_and_needs_providers(world: World) -> None:
    with pytest.raises(errors.RequestRejection):
        filesystem(world).open(world.address("new"), "wb")
    with pytest.raises(errors.RequestRejection, match="providers"):
        fsspec.filesystem("cairn", skip_instance_cache=True)


def test_the_asynchronous_interface(world: World, tmp_path: Path) -> None:
    """Every coroutine by fsspec's own names, many at once, on whatever loop runs."""
    fs = filesystem(world, asynchronous=True)
    assert fs.async_impl
    assert fs.asynchronous
    big, whole = world.address("big.bin"), world.bytes("big.bin")

    async def all_of_it() -> None:
        got = await asyncio.gather(*(fs._cat_file(big, at, at + 10) for at in range(0, 50, 10)))
        assert b"".join(got) == whole[:50]
        assert await fs._cat_ranges([big, big], [0, -4], [3, None]) == [whole[:3], whole[-4:]]
        assert (await fs._cat_ranges([big], 0, 3, batch_size=4, on_error="raise")) == [whole[:3]]
        assert (await fs._info(big))["size"] == len(whole)
        assert await fs._isdir(world.address("deep"))
        assert not await fs._exists(world.address("shallow"))
        assert await fs._ls(world.address("deep"), detail=False) == [f"{world.root}/deep/er"]
        assert await fs._find(world.address("deep")) == [f"{world.root}/deep/er/est.txt"]
        assert await fs._cat([world.address("deep/er/est.txt")]) == {f"{world.root}/deep/er/est.txt": b"deep"}
        await fs._get_file(world.address("deep/er/est.txt"), str(tmp_path / "est.txt"))
        with pytest.raises(FileNotFoundError):
            await fs._cat_file(world.address("shallow"))

    asyncio.run(all_of_it())
    asyncio.run(all_of_it())
    assert (tmp_path / "est.txt").read_text() == "deep"
    copy = pickle.loads(pickle.dumps(fs))
    assert copy.asynchronous
    assert asyncio.run(copy._cat_file(big, 7, 9)) == whole[7:9]


def test_nothing_runs_before_a_fork(world: World) -> None:
    """fsspec's own asynchronous file systems start a thread when they are made, and refuse to work in a child."""
    before = threading.active_count()
    fs = filesystem(world)
    assert threading.active_count() == before
    assert fs.cat_file(world.address("big.bin"), 0, 3) == world.bytes("big.bin")[:3]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply(_in_a_child, (fs, world.address("deep")))
    assert found == {f"{world.root}/deep/er/est.txt": b"deep"}


def _in_a_child(fs: CairnFileSystem, folder: str) -> object:
    return {path: fs.cat_file(path) for path in fs.find(folder)}
