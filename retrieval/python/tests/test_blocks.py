"""Reads below a leaf, checked by tables that a signed manifest names: exact, cheap, and never unverified."""

from __future__ import annotations

import copy
import hashlib
import pickle
import random
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cairn_data import Client, blocks, ed25519, errors, manifest
from cairn_data.cid import RAW, Cid
from conftest import PUBLISHER_SECRET, Fine, served
from support import MIB, Gateway, Proxy, noise, proxies

BLOCK = blocks.BLOCK_BYTES


def resigned(fine: Fine, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(fine.manifest)
    change(next(each for each in document["distribution"] if each["cairn:path"] == "big.bin"))
    return manifest.sign(document, PUBLISHER_SECRET)


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * MIB + 7])
def test_tables_are_the_digests(tmp_path: Path, size: int) -> None:
    """However the bytes arrive, the table is the naive one."""
    data, draw, at = noise(size, size), random.Random(size), 0
    writer = blocks.TableWriter(tmp_path)
    while at < size:
        step = draw.randrange(1, 300_000)
        writer.update(data[at : at + step])
        at += step
    naive = b"".join(hashlib.sha256(data[at : at + BLOCK]).digest() for at in range(0, size, BLOCK))
    expected = {} if size <= BLOCK else {str(Cid.of(RAW, naive)): naive}
    assert writer.finish() == list(expected)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == expected


def test_a_table_ends_after_128_mib(tmp_path: Path) -> None:
    writer, mib = blocks.TableWriter(tmp_path), bytes(MIB)
    for _ in range(128):
        writer.update(mib)
    writer.update(b"x")
    full, last = writer.finish()
    zero, more = hashlib.sha256(bytes(BLOCK)).digest(), hashlib.sha256(b"x").digest()
    assert (tmp_path / full).read_bytes() == zero * blocks.TABLE_BLOCKS
    assert (tmp_path / last).read_bytes() == more


def test_random_ranges(fine: Fine) -> None:
    draw = random.Random(11)
    paths = [str(path.relative_to(fine.folder)) for path in fine.folder.iterdir()]
    for _ in range(20):
        client = fine.client()
        ranges = []
        for _ in range(draw.randrange(1, 12)):
            file = client.file(fine.address(draw.choice(paths)))
            start = draw.randrange(file.size + 1)
            ranges.append((file, start, min(start + draw.choice([1, 100, BLOCK, 300_000, 3 * MIB]), file.size)))
        got = client.read_ranges(ranges)
        assert got == [fine.bytes(file.entry.path)[start:end] for file, start, end in ranges]
        file, start, end = ranges[0]
        assert b"".join(file.stream(start, end)) == fine.bytes(file.entry.path)[start:end]


def test_what_a_small_read_costs(fine: Fine) -> None:
    client = fine.client()
    file = client.file(fine.address("big.bin"))
    assert file.read(5 * MIB + 10, 5 * MIB + 20) == fine.bytes("big.bin")[5 * MIB + 10 : 5 * MIB + 20]
    assert client.stats().bytes_requested == BLOCK
    assert file.read(7 * MIB, 8 * MIB) == fine.bytes("big.bin")[7 * MIB : 8 * MIB]
    assert client.stats().bytes_requested == BLOCK + MIB, "a whole leaf is fetched as one"
    file.read(7 * MIB + 5, 7 * MIB + 6)
    file.read(5 * MIB, 5 * MIB + 1)
    assert client.stats().bytes_requested == BLOCK + MIB, "what is held is not fetched again"
    again = pickle.loads(pickle.dumps(client))
    assert again.file(fine.address("big.bin")).read(9, 12) == fine.bytes("big.bin")[9:12]
    assert again.stats().bytes_requested == BLOCK


def test_the_local_proxy_reads_blocks(fine: Fine) -> None:
    client = fine.client()
    with served(client) as url:
        request = urllib.request.Request(f"{url}/data/{fine.root}/big.bin", headers={"Range": "bytes=3000000-3000099"})
        assert urllib.request.urlopen(request).read() == fine.bytes("big.bin")[3_000_000:3_000_100]
    assert client.stats().bytes_requested <= 2 * BLOCK


def test_a_wrong_byte_names_its_provider(fine: Fine) -> None:
    with proxies(fine.url, {"flip": True}) as broken, pytest.raises(errors.FetchError) as caught:
        fine.client(broken[0].url).file(fine.address("big.bin")).read(70_000, 70_010)
    assert any(isinstance(fault, errors.BadBytes) for fault in caught.value.failures)
    with proxies(fine.url, {"flip": True}) as broken:
        client = fine.client(broken[0].url, fine.url)
        for at in range(70_000, 20 * MIB, MIB):
            assert client.file(fine.address("big.bin")).read(at, at + 10) == fine.bytes("big.bin")[at : at + 10]


def test_without_tables_leaves_are_read_whole(fine: Fine) -> None:
    gateway = Gateway(fine.folder)
    try:
        proxy = Proxy(gateway.url)
        client = fine.client(proxy.url)
        for at in (5, 2 * MIB):
            assert client.file(fine.address("big.bin")).read(at, at + 5) == fine.bytes("big.bin")[at : at + 5]
        assert client.stats().bytes_requested == 2 * MIB
        table = next(each for each in fine.manifest["distribution"] if each["cairn:path"] == "big.bin")["cairn:blockTables"][0]
        assert sum(table in path for _, path, _ in proxy.log) == 1, "asked for once"
        proxy.stop()
    finally:
        gateway.stop()


def test_tables_that_lie(fine: Fine, tmp_path: Path) -> None:
    """What a provider sends in a table's place has another CID; what a signer lists wrongly reads as nothing at all."""
    other = next(each for each in fine.manifest["distribution"] if each["cairn:path"] == "exact.bin")["cairn:blockTables"]
    short = resigned(fine, lambda file: file.update({"cairn:blockTables": other}))
    with pytest.raises(errors.ManifestRejection, match="expected"):
        fine.client(manifests=short).file(fine.address("big.bin")).read(5, 6)
    count = -(-len(fine.bytes("big.bin")) // BLOCK)
    table = noise("lie", 32 * count)
    lying = str(Cid.of(RAW, table))
    (tmp_path / lying).write_bytes(table)
    gateway = Gateway(fine.folder, tmp_path)
    try:
        signed = resigned(fine, lambda file: file.update({"cairn:blockTables": [lying]}))
        with pytest.raises(errors.FetchError):
            fine.client(gateway.url, manifests=signed).file(fine.address("big.bin")).read(5, 6)
    finally:
        gateway.stop()


def test_what_is_refused(fine: Fine) -> None:
    publisher = ed25519.public_key(PUBLISHER_SECRET).hex()
    for verify in ["blake3", "", "Manifest", None, 2]:
        with pytest.raises(errors.OptionRejection, match="expected leaves, manifest or off"):
            Client([fine.url], verify=verify)
    with pytest.raises(errors.OptionRejection, match="needs manifests="):
        Client([fine.url], verify="manifest")
    with pytest.raises(errors.OptionRejection, match="needs publisher="):
        Client([fine.url], verify="manifest", manifests=fine.manifest)
    with pytest.raises(errors.ManifestRejection, match="signed by"):
        fine.client(publisher="11" * 32)
    changed = copy.deepcopy(fine.manifest)
    changed["distribution"][0]["cairn:blockTables"] = []
    with pytest.raises(errors.ManifestRejection, match="signature"):
        fine.client(manifests=changed)
    for change in [
        {"cairn:blockBytes": 1 << 14},
        {"cairn:blockTables": ["bafy"]},
        {"cairn:blockTables": [fine.root]},
        {"cairn:blockTables": "x"},
        {"cairn:size": "1"},
        {"cairn:unixfsRoot": 5},
    ]:
        with pytest.raises(errors.ManifestRejection):
            fine.client(manifests=resigned(fine, lambda file, change=change: file.update(change)))
    other = resigned(fine, lambda file: file.update({"cairn:unixfsRoot": fine.root}))
    with pytest.raises(errors.ManifestRejection, match="the manifest says"):
        fine.client(manifests=other).file(fine.address("big.bin")).read(0, 1)
    absent = resigned(fine, lambda file: file.update({"cairn:path": "elsewhere"}))
    with pytest.raises(errors.ManifestRejection, match="does not list it"):
        fine.client(manifests=absent, publisher=publisher).file(fine.address("big.bin")).read(0, 1)
