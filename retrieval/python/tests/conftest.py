from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from cairn_data import Client, ed25519, manifest
from cairn_data.serve import Certificate, ProxyServer
from support import MIB, REPOSITORY, Gateway, Proxy, noise, proxies, tar_shard

SHARDS = 4
SAMPLES_PER_SHARD = 40


@dataclass
class World:
    """A folder, its root, and a gateway that serves it."""

    folder: Path
    root: str
    url: str

    def bytes(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def client(self, *providers: str, **options: object) -> Client:
        return Client(providers or [self.url], **options)

    def address(self, path: str) -> str:
        return f"cairn://{self.root}/{path}"


def make_dataset(folder: Path) -> None:
    """The repository's demo dataset, and generated files of every shape."""
    shutil.copytree(REPOSITORY / "fixtures" / "dataset" / "data", folder)
    (folder / "big.bin").write_bytes(noise("big", 24 * MIB + 12_345))
    (folder / "exact.bin").write_bytes(noise("exact", 2 * MIB))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "table ä #1?.json").write_bytes(b'{"a": 1}')
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "est.txt").write_text("deep")
    (folder / "zeros.bin").write_bytes(bytes(3 * MIB))
    many = folder / "many"
    many.mkdir()
    for number in range(1200):
        (many / f"sample-{number:06d}.txt").write_text(str(number))
    shards = folder / "shards"
    shards.mkdir()
    for number in range(SHARDS):
        (shards / f"{number:06d}.tar").write_bytes(tar_shard(f"s{number}", SAMPLES_PER_SHARD, 60_000))
    _loaders_data(folder)


def _loaders_data(folder: Path) -> None:
    """Data in the formats of the loaders, where the libraries that write them are there."""
    try:
        import numpy
        import pyarrow
        import pyarrow.parquet
        import zarr
    except ImportError:
        return

    draw = numpy.random.default_rng(5)
    rows = 120_000
    table = pyarrow.table(
        {f"c{column}": draw.integers(0, 1 << 62, rows) for column in range(6)} | {"label": numpy.arange(rows) % 7}
    )
    pyarrow.parquet.write_table(table, folder / "wide.parquet", row_group_size=60_000, compression="none")
    array = zarr.create_array(str(folder / "array.zarr"), shape=(64, 64, 64), chunks=(16, 64, 64), dtype="f4", compressors=None)
    array[:] = draw.random((64, 64, 64), dtype="f4")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world") / "dataset"
    make_dataset(folder)
    gateway = Gateway(folder)
    yield World(folder, gateway.root, gateway.url)
    gateway.stop()


@pytest.fixture(scope="session")
def small(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Some of the files, in a dataset of their own: for what takes its time with each file."""
    folder = tmp_path_factory.mktemp("small") / "dataset"
    folder.mkdir()
    for path in ["big.bin", "empty.txt", "table ä #1?.json", "deep", "shards", "tables"]:
        source = world.folder / path
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / path)
    gateway = Gateway(folder)
    yield World(folder, gateway.root, gateway.url)
    gateway.stop()


PUBLISHER_SECRET = bytes(range(32))


@dataclass
class Fine(World):
    """A dataset whose signed manifest has tables of blocks, served beside it."""

    manifest: dict[str, Any]

    def client(self, *providers: str, **options: object) -> Client:
        publisher = ed25519.public_key(PUBLISHER_SECRET).hex()
        given: dict[str, Any] = {"verify": "manifest", "manifests": self.manifest, "publisher": publisher}
        return super().client(*providers, **(given | options))


@pytest.fixture(scope="session")
def fine(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fine]:
    base = tmp_path_factory.mktemp("fine")
    folder, tables = base / "dataset", base / "tables"
    folder.mkdir()
    for path in ["big.bin", "exact.bin", "empty.txt", "zeros.bin", "wide.parquet"]:
        if (world.folder / path).exists():
            shutil.copyfile(world.folder / path, folder / path)
    (folder / "block.bin").write_bytes(noise("block", 64 << 10))
    (folder / "more.bin").write_bytes(noise("more", (64 << 10) + 1))
    bare = Gateway(folder)
    words = {"name": "fine", "version": "1", "description": "", "license": "MIT"}
    document = manifest.build(Client([bare.url]).dataset(bare.root), blocks=tables, **words)
    bare.stop()
    gateway = Gateway(folder, tables)
    yield Fine(folder, bare.root, gateway.url, manifest.sign(document, PUBLISHER_SECRET))
    gateway.stop()


@pytest.fixture
def meter(world: World) -> Iterator[Proxy]:
    """A proxy that does nothing but count."""
    proxy = Proxy(world.url)
    yield proxy
    proxy.stop()


@dataclass
class Row:
    """One line of the loaders' table."""

    loader: str
    way: str
    samples: int
    needed: int
    requested: int
    seconds: float
    longest_wait: float | None


ROWS: list[Row] = []
BAD = ({"flip": True}, {"stall": True}, {"cut": 0.01})
"""What is wrong with the three bad providers."""


@pytest.fixture(params=["good", "bad"])
def client(request: pytest.FixtureRequest, world: World) -> Iterator[Client]:
    """A client of one good provider, or of three bad ones."""
    if request.param == "good":
        yield world.client()
        return
    with proxies(world.url, *BAD) as broken:
        made = world.client(*(proxy.url for proxy in broken), stall_seconds=0.5)
        yield made


def record(loader: str, way: str, client: Client, samples: int, needed: int, started: float) -> None:
    stats = client.stats()
    way += ", bad providers" if len(client.providers) > 1 else ""
    ROWS.append(Row(loader, way, samples, needed, stats.bytes_requested, time.monotonic() - started, stats.longest_wait))
    # A verified read costs at most one leaf at either end of what is needed; what bad providers sent in vain is extra.
    if len(client.providers) == 1:
        assert stats.bytes_requested <= needed + 8 * MIB
        assert stats.bytes_requested == stats.bytes_needed


@contextlib.contextmanager
def served(client: Client, tls: Certificate | None = None, manifests: Sequence[dict[str, Any]] = ()) -> Iterator[str]:
    """`cairn-data serve` in this process."""
    server = ProxyServer(client, tls=tls, manifests=manifests)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.url
    server.shutdown()
    server.server_close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what each loader asked for beside what it needed."""
    if not ROWS:
        return
    terminalreporter.section("loaders: bytes needed, bytes requested")
    head = (
        f"{'loader':<24}{'way':<34}{'samples':>8}{'needed':>12}{'requested':>12}{'ratio':>7}{'seconds':>9}{'longest wait':>14}"
    )
    terminalreporter.write_line(head)
    for row in ROWS:
        wait = f"{row.longest_wait:.2f} s" if row.longest_wait is not None else "-"
        line = f"{row.loader:<24}{row.way:<34}{row.samples:>8}{row.needed:>12}{row.requested:>12}"
        terminalreporter.write_line(f"{line}{row.requested / row.needed:>7.2f}{row.seconds:>9.2f}{wait:>14}")
    for row in ROWS:
        held = {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(row).items()}
        terminalreporter.write_line(f"loader {json.dumps(held)}")
