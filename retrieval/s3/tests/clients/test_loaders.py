from __future__ import annotations

from conftest import ACCESS, MIB, REGION, SECRET, Bucket, client, duckdb_connection

PLAIN = ["big.bin", "exact.bin", "empty.txt", "deep/er/est.txt", "a-b", "a/c d", "table \u00e4 #1?+&=%.json"]


def test_s3fs(bucket: Bucket) -> None:
    s3fs = client("s3fs")
    files = s3fs.S3FileSystem(key=ACCESS, secret=SECRET, endpoint_url=bucket.endpoint, client_kwargs={"region_name": REGION})
    for key in PLAIN:
        assert files.cat(f"{bucket.name}/{key}") == bucket.files[key], key
    found = files.find(bucket.name)
    assert sorted(name.removeprefix(f"{bucket.name}/") for name in found) == sorted(bucket.files)
    assert files.isdir(f"{bucket.name}/many") and not files.exists(f"{bucket.name}/missing")
    with files.open(f"{bucket.name}/big.bin", block_size=MIB) as file:
        file.seek(7 * MIB + 3)
        assert file.read(100) == bucket.files["big.bin"][7 * MIB + 3 :][:100]
    assert files.cat_ranges([f"{bucket.name}/big.bin"] * 2, [0, 9 * MIB], [10, 9 * MIB + 10]) == [
        bucket.files["big.bin"][:10],
        bucket.files["big.bin"][9 * MIB :][:10],
    ]


def test_pyarrow(bucket: Bucket) -> None:
    pyarrow = client("pyarrow")
    import pyarrow.dataset
    import pyarrow.fs
    import pyarrow.parquet

    files = pyarrow.fs.S3FileSystem(
        access_key=ACCESS, secret_key=SECRET, region=REGION, scheme="http", endpoint_override=bucket.endpoint.removeprefix("http://")
    )
    for key in PLAIN:
        with files.open_input_file(f"{bucket.name}/{key}") as file:
            assert file.read() == bucket.files[key], key
    listed = files.get_file_info(pyarrow.fs.FileSelector(bucket.name, recursive=True))
    names = [info.path.removeprefix(f"{bucket.name}/") for info in listed if info.type == pyarrow.fs.FileType.File]
    assert sorted(names) == sorted(bucket.files)
    missing = files.get_file_info(f"{bucket.name}/missing")
    assert missing.type == pyarrow.fs.FileType.NotFound
    local = pyarrow.parquet.read_table(bucket.folder / "table.parquet")
    assert pyarrow.parquet.read_table(f"{bucket.name}/table.parquet", filesystem=files) == local
    table = pyarrow.dataset.dataset(f"{bucket.name}/table.parquet", filesystem=files).to_table(columns=["c3"])
    assert table == local.select(["c3"])


def test_obstore(bucket: Bucket) -> None:
    obstore = client("obstore")
    from obstore.store import S3Store

    store = S3Store(
        bucket.name,
        endpoint=bucket.endpoint,
        access_key_id=ACCESS,
        secret_access_key=SECRET,
        region=REGION,
        client_options={"allow_http": True},
    )
    for key in PLAIN:
        assert bytes(obstore.get(store, key).bytes()) == bucket.files[key], key
    listed = [entry["path"] for page in obstore.list(store, chunk_size=500) for entry in page]
    assert sorted(listed) == sorted(bucket.files)
    ranges = obstore.get_ranges(store, "big.bin", starts=[0, 5 * MIB, 20 * MIB], lengths=[10, 20, 30])
    expected = [bucket.files["big.bin"][start : start + length] for start, length in [(0, 10), (5 * MIB, 20), (20 * MIB, 30)]]
    assert [bytes(part) for part in ranges] == expected


def test_minio(bucket: Bucket) -> None:
    minio = client("minio")
    s3 = minio.Minio(
        endpoint=bucket.endpoint.removeprefix("http://"), access_key=ACCESS, secret_key=SECRET, region=REGION, secure=False
    )
    assert s3.bucket_exists(bucket_name=bucket.name) and not s3.bucket_exists(bucket_name="missing")
    for key in PLAIN:
        answer = s3.get_object(bucket_name=bucket.name, object_name=key)
        assert answer.read() == bucket.files[key], key
        answer.close()
    assert [entry.object_name for entry in s3.list_objects(bucket_name=bucket.name, recursive=True)] == bucket.keys


def test_duckdb(bucket: Bucket) -> None:
    base = duckdb_connection(bucket.endpoint)
    total = base.execute(f"SELECT sum(c3), count(*) FROM read_parquet('s3://{bucket.name}/table.parquet')").fetchone()
    assert total == (sum(range(3, 100_003)), 100_000)
    globbed = base.execute(f"SELECT count(*) FROM glob('s3://{bucket.name}/many/*.txt')").fetchone()
    assert globbed == (1200,)
