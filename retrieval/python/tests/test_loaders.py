"""Data loaders as their authors ship them, on good providers and on three bad ones: same samples, none lost.

Bad providers: one cuts connections (1 % per 64 KiB of a body), one flips a byte per MiB, one stalls in every body. Loaders
that speak fsspec read ``cairn://``; those that speak HTTP alone read from ``cairn-data serve``. "Needed" is what the samples
hold at the loader's own granularity (shards, column chunks and footer, array chunks); "requested" is what came over the
network, which with verification is whole leaves of 1 MiB.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
import webdataset
import zarr

from cairn_data import Client
from cairn_data.fs import CairnFileSystem
from conftest import BAD, SAMPLES_PER_SHARD, SHARDS, Fine, World, record, served
from support import MIB, proxies

COLUMNS = ["c1", "label"]


def parquet_needed(world: World, columns: list[str]) -> int:
    """Bytes of the column chunks and of the footer with its length."""
    path = world.folder / "wide.parquet"
    meta = pyarrow.parquet.read_metadata(path)
    chunks = 0
    for group in range(meta.num_row_groups):
        for column in range(meta.num_columns):
            chunk = meta.row_group(group).column(column)
            if chunk.path_in_schema in columns:
                chunks += chunk.total_compressed_size
    return chunks + meta.serialized_size + 8


def shards_needed(world: World) -> int:
    return sum((world.folder / f"shards/{number:06d}.tar").stat().st_size for number in range(SHARDS))


@pytest.mark.skipif(shutil.which("curl") is None, reason="webdataset reads HTTP by curl")
def test_webdataset_over_http(world: World, client: Client) -> None:
    started = time.monotonic()
    with served(client) as url:
        urls = [f"{url}/data/{world.root}/shards/{number:06d}.tar" for number in range(SHARDS)]
        got = [(each["__key__"], each["bin"]) for each in webdataset.WebDataset(urls, shardshuffle=False)]
    local = [str(world.folder / f"shards/{number:06d}.tar") for number in range(SHARDS)]
    assert got == [(each["__key__"], each["bin"]) for each in webdataset.WebDataset(local, shardshuffle=False)]
    assert len(got) == SHARDS * SAMPLES_PER_SHARD
    record("webdataset", "curl, cairn-data serve", client, len(got), shards_needed(world), started)


def test_pyarrow_columns(world: World, client: Client) -> None:
    started = time.monotonic()
    fs = CairnFileSystem(client=client, skip_instance_cache=True)
    with fs.open(world.address("wide.parquet")) as file:
        table = pyarrow.parquet.ParquetFile(file, pre_buffer=True).read(columns=COLUMNS)
    assert table.equals(pyarrow.parquet.read_table(world.folder / "wide.parquet", columns=COLUMNS))
    record("PyArrow", "fsspec file, 2 of 7 columns", client, table.num_rows, parquet_needed(world, COLUMNS), started)


@pytest.mark.parametrize("way", ["good", "bad"])
def test_pyarrow_columns_by_blocks(fine: Fine, way: str) -> None:
    """With the digests of a signed manifest the same read is verified, and costs about what it needs."""
    with proxies(fine.url, *(BAD if way == "bad" else [])) as broken:
        started = time.monotonic()
        client = fine.client(*(proxy.url for proxy in broken), **({"stall_seconds": 0.5} if broken else {}))
        fs = CairnFileSystem(client=client, skip_instance_cache=True)
        with fs.open(fine.address("wide.parquet")) as file:
            table = pyarrow.parquet.ParquetFile(file, pre_buffer=True).read(columns=COLUMNS)
        assert table.equals(pyarrow.parquet.read_table(fine.folder / "wide.parquet", columns=COLUMNS))
        needed = parquet_needed(fine, COLUMNS)
        record("PyArrow", "the same, verify=manifest", client, table.num_rows, needed, started)
    stats = client.stats()
    assert way == "bad" or stats.bytes_requested + stats.bytes_nodes < 1.5 * needed


def test_pyarrow_columns_unverified(world: World) -> None:
    """Without verification the same read costs what it needs, to the byte but for the footer's guess."""
    started = time.monotonic()
    client = world.client(verify=False)
    fs = CairnFileSystem(client=client, skip_instance_cache=True)
    with fs.open(world.address("wide.parquet")) as file:
        table = pyarrow.parquet.ParquetFile(file, pre_buffer=True).read(columns=COLUMNS)
    assert table.equals(pyarrow.parquet.read_table(world.folder / "wide.parquet", columns=COLUMNS))
    record("PyArrow", "the same, verify=False", client, table.num_rows, parquet_needed(world, COLUMNS), started)
    assert client.stats().bytes_requested < 1.1 * parquet_needed(world, COLUMNS)


def test_pyarrow_dataset(world: World, client: Client) -> None:
    started = time.monotonic()
    fs = CairnFileSystem(client=client, skip_instance_cache=True)
    dataset = pyarrow.dataset.dataset(f"{world.root}/wide.parquet", filesystem=fs, format="parquet")
    table = dataset.to_table(columns=["label"])
    assert table.equals(pyarrow.parquet.read_table(world.folder / "wide.parquet", columns=["label"]))
    record("PyArrow dataset", "fsspec, 1 of 7 columns", client, table.num_rows, parquet_needed(world, ["label"]), started)


def test_duckdb(world: World, client: Client) -> None:
    """DuckDB's own HTTP, from all its threads. Its Python file systems are not safe; see the README."""
    from duckdb_extensions import import_extension

    import_extension("httpfs")
    started = time.monotonic()
    query = "select label, count(*), sum(c1::hugeint)::varchar from read_parquet('{}') group by label order by label"
    with served(client) as url, duckdb.connect() as connection:
        connection.execute("load httpfs")
        got = connection.execute(query.format(f"{url}/data/{world.root}/wide.parquet")).fetchall()
    assert got == duckdb.connect().execute(query.format(world.folder / "wide.parquet")).fetchall()
    rows = sum(row[1] for row in got)
    record("DuckDB", "httpfs, cairn-data serve", client, rows, parquet_needed(world, COLUMNS), started)


def test_zarr(world: World, client: Client) -> None:
    started = time.monotonic()
    address = world.address("array.zarr")
    array = zarr.open_array(address, mode="r", storage_options={"client": client, "skip_instance_cache": True})
    got = array[16:48]
    assert (got == zarr.open_array(str(world.folder / "array.zarr"), mode="r")[16:48]).all()
    chunk = 16 * 64 * 64 * 4
    record("Zarr", "fsspec, 2 of 4 chunks", client, 2, 2 * chunk, started)


def test_obstore(world: World, client: Client) -> None:
    import obstore

    started = time.monotonic()
    whole = world.bytes("big.bin")
    with served(client) as url:
        store = obstore.store.HTTPStore.from_url(f"{url}/data/{world.root}", client_options={"allow_http": True})
        ranges = [(5, 1000), (3 * MIB + 5, 5 * MIB), (20 * MIB, 20 * MIB + 9)]
        starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
        got = obstore.get_ranges(store, "big.bin", starts=starts, ends=ends)
        assert [bytes(each) for each in got] == [whole[start:end] for start, end in ranges]
        body = bytes(obstore.get(store, "shards/000000.tar").bytes())
        assert body == world.bytes("shards/000000.tar")
    needed = sum(end - start for start, end in ranges) + len(body)
    record("obstore", "HTTP store, cairn-data serve", client, len(ranges) + 1, needed, started)


def test_pyarrow_s3(world: World, client: Client) -> None:
    started = time.monotonic()
    with served(client) as url:
        s3 = pyarrow.fs.S3FileSystem(
            access_key="any", secret_key="any", region="us-east-1", scheme="http", endpoint_override=url.removeprefix("http://")
        )
        dataset = pyarrow.dataset.dataset(f"{world.root}/wide.parquet", filesystem=s3, format="parquet")
        table = dataset.to_table(columns=COLUMNS)
        listed = s3.get_file_info(pyarrow.fs.FileSelector(f"{world.root}/shards"))
    assert table.equals(pyarrow.parquet.read_table(world.folder / "wide.parquet", columns=COLUMNS))
    assert sorted(each.base_name for each in listed) == [f"{number:06d}.tar" for number in range(SHARDS)]
    needed = parquet_needed(world, COLUMNS)
    record("PyArrow S3", "S3, cairn-data serve", client, table.num_rows, needed, started)


def test_obstore_s3(world: World, client: Client) -> None:
    import obstore

    started = time.monotonic()
    with served(client) as url:
        store = obstore.store.S3Store(
            world.root,
            endpoint=url,
            region="us-east-1",
            virtual_hosted_style_request=False,
            skip_signature=True,
            client_options={"allow_http": True},
        )
        keys = sorted(each["path"] for batch in obstore.list(store, "shards") for each in batch)
        bodies = [bytes(obstore.get(store, key).bytes()) for key in keys]
    assert bodies == [world.bytes(f"shards/{number:06d}.tar") for number in range(SHARDS)]
    record("obstore S3", "S3, cairn-data serve", client, len(bodies), shards_needed(world), started)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def hugging_face(world: World, client: Client, kind: str, paths: list[str]) -> Any:
    import datasets

    return datasets.load_dataset(
        kind,
        data_files=[world.address(path) for path in paths],
        split="train",
        streaming=True,
        storage_options={"client": client},
    )


def test_hugging_face_parquet(world: World, client: Client, offline: None) -> None:
    started = time.monotonic()
    digest = hashlib.sha256()
    count = 0
    for batch in hugging_face(world, client, "parquet", ["wide.parquet"]).select_columns(COLUMNS).iter(batch_size=5000):
        for one, two in zip(batch["c1"], batch["label"], strict=True):
            digest.update(b"%d %d\n" % (one, two))
            count += 1
    expected = hashlib.sha256()
    table = pyarrow.parquet.read_table(world.folder / "wide.parquet", columns=COLUMNS)
    for one, two in zip(*(table.column(name).to_pylist() for name in COLUMNS), strict=True):
        expected.update(b"%d %d\n" % (one, two))
    assert (count, digest.digest()) == (table.num_rows, expected.digest())
    every = [f"c{number}" for number in range(6)] + ["label"]
    record("HF datasets, Parquet", "streaming", client, count, parquet_needed(world, every), started)


def test_hugging_face_webdataset(world: World, client: Client, offline: None) -> None:
    started = time.monotonic()
    paths = [f"shards/{number:06d}.tar" for number in range(SHARDS)]
    rows = hugging_face(world, client, "webdataset", paths)
    got = [(row["__key__"], row["cls"]) for row in rows]
    local = [str(world.folder / path) for path in paths]
    expected = [(each["__key__"], int(each["cls"])) for each in webdataset.WebDataset(local, shardshuffle=False)]
    assert got == expected
    record("HF datasets, WebDataset", "streaming", client, len(got), shards_needed(world), started)
