"""Datasets through the client: paths, ranges, streams, files, processes."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cairn_data import Client, errors
from conftest import World
from support import MIB, Proxy


def test_every_file_is_read_as_it_is(world: World) -> None:
    dataset = world.client().dataset(world.root)
    entries = list(dataset.walk())
    expected = sorted(str(path.relative_to(world.folder)) for path in world.folder.rglob("*") if path.is_file())
    assert sorted(entry.path for entry in entries) == expected
    for entry in entries:
        if not entry.path.startswith("many/"):
            assert b"".join(dataset.file(entry.path).stream()) == world.bytes(entry.path), entry.path


def test_a_sharded_folder_is_looked_up_and_listed(world: World) -> None:
    dataset = world.client().dataset(world.root)
    assert dataset.file("many/sample-000777.txt").read() == b"777"
    names = [entry.path for entry in dataset.entries("many")]
    assert names == [f"many/sample-{number:06d}.txt" for number in range(1200)]
    with pytest.raises(errors.NotInDataset):
        dataset.entry("many/sample-001200.txt")


def test_ranges_are_exact_and_cost_their_leaves_alone(world: World, meter: Proxy) -> None:
    client = world.client(meter.url)
    file, whole = client.dataset(world.root).file("big.bin"), world.bytes("big.bin")
    ranges = [(0, 10), (MIB - 1, MIB + 1), (5 * MIB, 5 * MIB), (20 * MIB + 5, 20 * MIB + 9), (len(whole) - 3, 1 << 40)]
    assert client.read_ranges([(file, *each) for each in ranges]) == [whole[a:b] for a, b in ranges]
    stats = client.stats()
    assert stats.bytes_needed == stats.bytes_requested == 3 * MIB + 12_345
    wanted = {each for _, path, each in meter.log if path.startswith("/data/")}
    assert wanted == {"bytes=0-2097151", f"bytes={20 * MIB}-{21 * MIB - 1}", f"bytes={24 * MIB}-{len(whole) - 1}"}
    client.read_ranges([(file, 5, 100)])
    assert client.stats().bytes_requested == stats.bytes_requested, "what is in memory is not asked for again"


def test_random_ranges(world: World) -> None:
    client = world.client(memory_bytes=0)
    file, whole = client.dataset(world.root).file("big.bin"), world.bytes("big.bin")
    draw = random.Random(3)
    ranges = []
    for _ in range(60):
        start = draw.randrange(len(whole) + 10)
        ranges.append((file, start, start + draw.choice([0, 1, 1000, MIB, 3 * MIB])))
    for (_, start, end), data in zip(ranges, client.read_ranges(ranges), strict=True):
        assert data == whole[start:end]


def test_without_verification_ranges_are_exact_to_the_byte(world: World, meter: Proxy) -> None:
    client = world.client(meter.url, verify=False)
    file, whole = client.dataset(world.root).file("big.bin"), world.bytes("big.bin")
    ranges = [(100, 200), (150, 300), (300, 310), (9 * MIB, 9 * MIB + 7), (50, 50)]
    assert client.read_ranges([(file, *each) for each in ranges]) == [whole[a:b] for a, b in ranges]
    assert client.stats().bytes_requested == 210 + 7
    assert b"".join(file.stream(3 * MIB + 1, 7 * MIB)) == whole[3 * MIB + 1 : 7 * MIB]


def test_equal_leaves_are_fetched_once(world: World) -> None:
    client = world.client()
    assert client.dataset(world.root).file("zeros.bin").read() == bytes(3 * MIB)
    assert client.stats().bytes_requested == MIB


def test_file_objects(world: World, meter: Proxy) -> None:
    client = world.client(meter.url)
    whole = world.bytes("big.bin")
    with client.dataset(world.root).file("big.bin").open() as reader:
        assert reader.seek(-5, io.SEEK_END) == len(whole) - 5
        assert reader.read() == whole[-5:]
        reader.seek(MIB - 2)
        assert reader.read(2) == whole[MIB - 2 : MIB]
        assert client.stats().bytes_requested == 12_345 + MIB, "a buffer does not reach into the next leaf"
        again = pickle.loads(pickle.dumps(reader))
        assert again.read(100) == whole[MIB : MIB + 100]
        reader.seek(0)
        pieces = []
        while piece := reader.read(100_003):
            pieces.append(piece)
        assert b"".join(pieces) == whole
    assert meter.bytes < len(whole) * 1.1


def test_what_is_not_there_is_said_by_kind(world: World) -> None:
    dataset = world.client().dataset(world.root)
    for path in ["nothing", "big.bin/x", "deep/nothing", "empty.txt/x"]:
        with pytest.raises(FileNotFoundError):
            dataset.entry(path)
    with pytest.raises(IsADirectoryError):
        dataset.file("deep")
    with pytest.raises(NotADirectoryError):
        dataset.entries("big.bin")
    with pytest.raises(errors.RequestRejection):
        dataset.entry("deep/../big.bin")
    with pytest.raises(errors.UnknownDataset):
        world.client().dataset("digits@1")
    with pytest.raises(errors.UrlRejection):
        Client(["ftp://x"])
    with pytest.raises(errors.RequestRejection):
        Client(["http://x"], paralel=3)
    with pytest.raises(errors.OptionRejection):
        Client(["http://x"], parallel=0)


def test_names_resolve(world: World) -> None:
    client = Client([world.url], names={"demo@1": world.root})
    assert client.file("cairn://demo@1/deep/er/est.txt").read() == b"deep"


def _in_child(client: Client, address: str, queue: multiprocessing.Queue[bytes]) -> None:
    queue.put(client.file(address).read(0, 100))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_client_works_in_children_of_a_process_that_reads(world: World, method: str) -> None:
    client = world.client()
    file = client.dataset(world.root).file("big.bin")
    stream = file.stream()
    next(stream)  # threads and connections are alive at the fork
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(client, world.address("big.bin"), queue))
    child.start()
    assert queue.get(timeout=60) == world.bytes("big.bin")[:100]
    child.join(60)
    assert child.exitcode == 0
    assert b"".join(stream) == world.bytes("big.bin")[MIB:]


def test_importing_costs_nothing_heavy() -> None:
    code = "import sys, cairn_data; print({'http', 'socket', 'ssl', 'hashlib', 'threading', 'asyncio'} & set(sys.modules))"
    path = f"import sys; sys.path[:0] = {sys.path!r}; "
    light = subprocess.run([sys.executable, "-S", "-c", path + code], capture_output=True, text=True, check=True)
    assert light.stdout.strip() == "set()"
    code = "import sys, cairn_data.cli, cairn_data.shards; print({'fsspec', 'torch', 'numpy'} & set(sys.modules))"
    heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.stdout.strip() == "set()"


def test_threads_that_share_a_position_are_told(world: World) -> None:
    """One thread's seek, another's seek, the first one's read: an error, and never another place's bytes."""
    whole = world.bytes("big.bin")
    reader = world.client().dataset(world.root).file("big.bin").open()
    reader.seek(100)

    def elsewhere() -> bytes:
        reader.seek(5_000_000)
        return reader.read(10)

    with ThreadPoolExecutor(1) as other:
        assert other.submit(elsewhere).result() == whole[5_000_000:5_000_010]
        with pytest.raises(errors.ConcurrentUse, match=r"big\.bin"):
            reader.read(10)
        reader.seek(200)
        assert reader.read(10) == whole[200:210]
        assert other.submit(reader.read, 10).result() == whole[210:220], "handed over, it reads on"
        assert reader.read(10) == whole[220:230]


def test_verification_by_name(world: World) -> None:
    for given, kept in [("leaves", True), ("off", False), (True, True), (False, False)]:
        assert world.client(verify=given).options.verify is kept
    for wrong in ["on", "", 1, None]:
        with pytest.raises(errors.OptionRejection, match="leaves, manifest or off"):
            world.client(verify=wrong)
