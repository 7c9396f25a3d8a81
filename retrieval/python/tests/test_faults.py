"""Providers that break off, lie, stall, are busy or away: the bytes are the same, or the error says who did what."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from pathlib import Path

import pytest

from cairn_data import Client, errors
from cairn_data.cid import Cid
from cairn_data.unixfs import decode_node
from conftest import World
from support import MIB, Proxy, proxies

CUT, FLIP, STALL = {"cut": 0.01}, {"flip": True}, {"stall": True}


def test_breaks_lies_and_stalls_change_nothing(world: World) -> None:
    whole = world.bytes("big.bin")
    with proxies(world.url, {"cut": 0.05}, FLIP, STALL) as (cutting, flipping, stalling):
        client = world.client(flipping.url, stalling.url, cutting.url, stall_seconds=0.3)
        file = client.dataset(world.root).file("big.bin")
        assert b"".join(file.stream()) == whole
        assert file.read() == whole
        report = {each["provider"]: each for each in client.report()}
        assert report[flipping.url]["blacklisted"], report
        assert "expected bafk" in report[flipping.url]["blacklisted"]
        assert report[cutting.url]["blacklisted"] is None
        assert cutting.cuts > 0
        print(f"longest wait {client.stats().longest_wait:.2f} s, {report}")


def test_a_break_is_resumed_where_it_was(world: World) -> None:
    whole = world.bytes("big.bin")
    with proxies(world.url, {"cut": 0.03}) as (proxy,):
        client = world.client(proxy.url, backoff_seconds=0.01, retries=50)
        assert b"".join(client.dataset(world.root).file("big.bin").stream()) == whole
        assert proxy.cuts > 0
        # What is lost is in the buffers of broken connections, never a leaf that had begun.
        assert client.stats().bytes_requested <= len(whole) + proxy.cuts * MIB
        starts = [int(each.split("=")[1].split("-")[0]) for _, path, each in proxy.log if each]
        assert any(start % MIB for start in starts), "at least one request began within a leaf"


def test_the_only_provider_lies(world: World) -> None:
    with proxies(world.url, FLIP) as (proxy,):
        client = world.client(proxy.url)
        file = client.dataset(world.root).file("big.bin")
        with pytest.raises(errors.FetchError) as caught:
            file.read(0, 10)
        assert isinstance(caught.value.failures[0], errors.BadBytes)
        assert proxy.url in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert [type(each) for each in again.failures] == [type(each) for each in caught.value.failures]
        with pytest.raises(errors.FetchError):
            file.read(5 * MIB, 5 * MIB + 1)
        assert sum(path.startswith("/data/") for _, path, _ in proxy.log) == 1, "a liar is not asked again"


def test_busy_providers_are_waited_for(world: World) -> None:
    with proxies(world.url, {"busy": 3}) as (proxy,):
        client = world.client(proxy.url, backoff_seconds=0.01)
        assert client.file(world.address("deep/er/est.txt")).read() == b"deep"
        assert client.report()[0]["faults"] == {"Busy": 3}


def test_a_provider_without_the_dataset_is_left_out(world: World, meter: Proxy) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        elsewhere = f"http://127.0.0.1:{server.getsockname()[1]}"
        client = world.client(elsewhere, meter.url)
        assert client.dataset(world.root).file("big.bin").read() == world.bytes("big.bin")
        assert client.report()[0]["faults"] == {"Refused": 1}
        with pytest.raises(errors.FetchError, match="status 404"):
            world.client(elsewhere).dataset(world.root).entry("big.bin")


def test_nobody_is_there(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(OSError, match="no connection") as caught:
        world.client(gone, backoff_seconds=0.001, retries=2).dataset(world.root).entry("big.bin")
    assert isinstance(caught.value, errors.CairnDataError)
    assert world.client(gone, world.url).file(world.address("deep/er/est.txt")).read() == b"deep"


def test_slow_answers_are_hedged(world: World) -> None:
    with proxies(world.url, STALL, {}) as (stalling, good):
        client = world.client(stalling.url, good.url, stall_seconds=30.0, hedge_share=1.0)
        file = client.dataset(world.root).file("big.bin")
        assert file.read() == world.bytes("big.bin")
        assert client.stats().hedges >= 1


def test_many_threads_share_one_fetch(world: World, meter: Proxy) -> None:
    client = world.client(meter.url)
    file, whole = client.dataset(world.root).file("big.bin"), world.bytes("big.bin")
    wrong = []

    def read(number: int) -> None:
        start = 3 * MIB + number * 1000
        if file.read(start, start + 500) != whole[start : start + 500]:
            wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert client.stats().bytes_requested == MIB, "sixteen readers of one leaf fetch it once"


def test_the_cache_is_shared_bounded_and_never_believed(world: World, meter: Proxy, tmp_path: Path) -> None:
    whole = world.bytes("big.bin")
    first = world.client(meter.url, cache=tmp_path)
    assert first.dataset(world.root).file("big.bin").read() == whole
    meter.reset()
    second = world.client(meter.url, cache=tmp_path)
    assert second.dataset(world.root).file("big.bin").read() == whole
    assert meter.requests == 0, "all of it, nodes too, came from the folder"
    blocks = sorted(path for path in tmp_path.rglob("b*") if path.is_file() and path.stat().st_size == MIB)
    blocks[0].write_bytes(b"\0" * MIB)
    blocks[1].write_bytes(b"short")
    third = world.client(meter.url, cache=tmp_path)
    assert third.dataset(world.root).file("big.bin").read() == whole
    assert third.stats().bytes_requested == 2 * MIB, "damaged blocks are fetched again, and only they"
    small = world.client(cache=tmp_path / "small", cache_bytes=32 * MIB)
    for path in ["big.bin", "wide.parquet", "exact.bin", "zeros.bin", "shards/000000.tar", "shards/000001.tar"]:
        assert small.dataset(world.root).file(path).read() == world.bytes(path)
    held = sum(path.stat().st_size for path in (tmp_path / "small").rglob("b*") if path.is_file())
    assert held <= 32 * MIB + 4 * MIB
    with pytest.raises(errors.OptionRejection):
        Client(["http://x"], cache=tmp_path, cache_bytes=1)


def test_foreign_nodes_never_break_the_decoder(world: World) -> None:
    """Every byte of a real node, damaged: refused by name, or another valid node."""
    client = world.client()
    root = Cid.parse(world.root)
    block = client.engine.blocks(world.root, [root])[root]
    refused = 0
    for at in range(len(block)):
        for bit in (1, 0x80):
            damaged = bytearray(block)
            damaged[at] ^= bit
            try:
                decode_node(root, bytes(damaged))
            except errors.NodeRejection:
                refused += 1
    for length in range(len(block)):
        with contextlib.suppress(errors.NodeRejection):
            decode_node(root, block[:length])
    assert refused > len(block) // 4
