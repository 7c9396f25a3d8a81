"""Loaders of training jobs as their authors ship them, unchanged, over the S3 of `cairn-data serve`: good and bad providers.

Needs what scripts/test-loaders.sh installs. The data is written by each loader's own writer and read in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cairn_data import Client, manifest, shards
from cairn_data.serve import Certificate, make_certificate
from conftest import BAD, SAMPLES_PER_SHARD, SHARDS, World, record, served
from read_with import TAKEN
from support import Gateway, noise, proxies

pytest.importorskip("streaming", reason="no mosaicml-streaming here; make test-loaders has it")

SAMPLES = 2000
SAMPLE_BYTES = 6000
LONGEST_WAIT_SECONDS = 2.0


def sample(number: int) -> bytes:
    return noise(("training", number), SAMPLE_BYTES + number % 7)


def expected(numbers: range | list[int]) -> list[list[object]]:
    return [[number, hashlib.sha256(sample(number)).hexdigest()] for number in numbers]


def _write(folder: Path) -> None:
    import lance
    import pyarrow
    from litdata.streaming.writer import BinaryWriter
    from streaming import MDSWriter

    with MDSWriter(out=str(folder / "mds"), columns={"number": "int", "data": "bytes"}, size_limit=3 << 20) as mds:
        for number in range(SAMPLES):
            mds.write({"number": number, "data": sample(number)})
    (folder / "litdata").mkdir()
    writer = BinaryWriter(str(folder / "litdata"), chunk_bytes=3 << 20)
    for number in range(SAMPLES):
        writer[number] = {"number": number, "data": sample(number)}
    writer.done()
    writer.merge()
    rows = pyarrow.table({"number": range(SAMPLES), "data": [sample(number) for number in range(SAMPLES)]})
    lance.write_dataset(rows, str(folder / "rows.lance"), max_rows_per_file=700)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("trained") / "dataset"
    folder.mkdir()
    _write(folder)
    gateway = Gateway(folder)
    yield World(folder, gateway.root, gateway.url)
    gateway.stop()


@pytest.fixture(params=["good", "bad"])
def providers(request: pytest.FixtureRequest, trained: World) -> Iterator[Client]:
    if request.param == "good":
        yield trained.client()
        return
    with proxies(trained.url, *BAD) as broken:
        yield trained.client(*(proxy.url for proxy in broken), stall_seconds=0.5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def read(how: str, remote: str, endpoint: str, cache: Path, authority: Path) -> list[list[object]]:
    environment = {
        **os.environ,
        "S3_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CA_BUNDLE": str(authority),
        "SSL_CERT_FILE": str(authority),
        "NO_PROXY": "127.0.0.1,localhost",
        "HOME": str(cache.parent),
    }
    command = [sys.executable, str(Path(__file__).with_name("read_with.py")), how, remote, endpoint, str(cache)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("how", "loader", "folder", "rows"),
    [
        ("mds", "mosaicml-streaming", "mds", None),
        ("litdata", "litdata, DataLoader", "litdata", None),
        ("lance", "lance", "rows.lance", None),
        ("lance-take", "lance, 4 rows", "rows.lance", TAKEN),
    ],
)
def test_samples(
    trained: World,
    providers: Client,
    certificate: Certificate,
    tmp_path: Path,
    how: str,
    loader: str,
    folder: str,
    rows: list[int] | None,
) -> None:
    tls = certificate if how == "litdata" else None
    started = time.monotonic()
    with served(providers, tls) as url:
        got = read(how, f"s3://{trained.root}/{folder}", url, tmp_path / "cache", certificate.chain.with_name("authority.pem"))
    assert got == expected(range(SAMPLES) if rows is None else rows)
    if rows is None:
        needed = sum(path.stat().st_size for path in (trained.folder / folder).rglob("*") if path.is_file())
    else:
        needed = sum(len(sample(number)) for number in rows)
    record(loader, f"S3{'' if tls is None else ' over TLS'}, cairn-data serve", providers, len(got), needed, started)
    assert providers.stats().longest_wait < LONGEST_WAIT_SECONDS


def test_wids_reads_the_index_that_is_made(world: World, client: Client, tmp_path: Path) -> None:
    """WebDataset's random access: the index from beside the manifest, samples by number, each shard fetched when first used."""
    import wids

    dataset = world.client().dataset(world.root)
    document = manifest.build(dataset, name="world", version="1", description="", license="MIT")
    local = [
        sample for number in range(SHARDS) for _, _, sample in shards.samples(dataset.file(f"shards/{number:06d}.tar"), "")
    ]
    started = time.monotonic()
    with served(client, manifests=[document]) as url:
        index = f"{url}/manifest/{world.root}/shards/wids.json"
        opened = wids.ShardListDataset(index, cache_dir=str(tmp_path), transformations=[])
        assert len(opened) == SHARDS * SAMPLES_PER_SHARD
        taken = [0, SAMPLES_PER_SHARD, len(opened) - 1, 7]
        got = [(opened[number][".bin"].read(), opened[number]["__key__"]) for number in taken]
    assert got == [(local[number]["bin"], local[number]["__key__"]) for number in taken]
    needed = sum((world.folder / f"shards/{number:06d}.tar").stat().st_size for number in (0, 1, SHARDS - 1))
    record("wids", "cairn-data serve, index made", client, len(taken), needed, started)
