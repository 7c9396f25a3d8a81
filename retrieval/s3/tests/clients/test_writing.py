"""Clients that write, as they ship: small and large objects, copies, moves, deletions of many. Each has a bucket of its own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import ACCESS, MIB, REGION, SECRET, Staging, boto, client, code, duckdb_connection, noise, program
from conftest import rclone_remote, run, s5cmd_settings

BIG = noise("written", 12 * MIB + 345)
SMALL = noise("few", 1000)


def test_boto3(staging: Staging) -> None:
    s3 = boto(staging.endpoint)
    from boto3.s3.transfer import TransferConfig

    at = {"Bucket": "by-boto3"}
    s3.create_bucket(**at)
    assert "by-boto3" in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        s3.put_object(**at, Key=f"small {algorithm} &<>", Body=SMALL, ChecksumAlgorithm=algorithm)
        s3.upload_fileobj(io.BytesIO(BIG), "by-boto3", f"big {algorithm}", {"ChecksumAlgorithm": algorithm}, Config=config)
    s3.copy({"Bucket": "by-boto3", "Key": "small SHA1 &<>"}, "by-boto3", "copies/small")
    s3.copy({"Bucket": "by-boto3", "Key": "big SHA1"}, "by-boto3", "copies/big", Config=config)
    written = staging.written("by-boto3")
    assert len(written) == 8 and all(data == (BIG if "big" in key else SMALL) for key, data in written.items())

    upload = s3.create_multipart_upload(**at, Key="open")["UploadId"]
    part = s3.upload_part(**at, Key="open", UploadId=upload, PartNumber=7, Body=SMALL)
    listed = s3.list_parts(**at, Key="open", UploadId=upload)
    assert [(entry["PartNumber"], entry["ETag"]) for entry in listed["Parts"]] == [(7, part["ETag"])]
    assert [entry["Key"] for entry in s3.list_multipart_uploads(**at)["Uploads"]] == ["open"]
    s3.abort_multipart_upload(**at, Key="open", UploadId=upload)
    assert code(s3.list_parts, **at, Key="open", UploadId=upload) == ("NoSuchUpload", 404)

    keys = [{"Key": key} for key in written]
    done = s3.delete_objects(**at, Delete={"Objects": [*keys[1:], {"Key": "missing"}]})
    assert len(done["Deleted"]) == 8 and "Errors" not in done
    etag = s3.head_object(**at, **keys[0])["ETag"]
    done = s3.delete_objects(**at, Delete={"Objects": [{**keys[0], "ETag": "other"}], "Quiet": True})
    assert [entry["Code"] for entry in done["Errors"]] == ["PreconditionFailed"]
    assert "Deleted" not in s3.delete_objects(**at, Delete={"Objects": [{**keys[0], "ETag": etag}], "Quiet": True})
    s3.delete_bucket(**at)
    assert code(s3.head_bucket, **at)[1] == 404


def test_s3fs(staging: Staging) -> None:
    s3fs = client("s3fs")
    files = s3fs.S3FileSystem(
        key=ACCESS, secret=SECRET, endpoint_url=staging.endpoint, client_kwargs={"region_name": REGION}, use_listings_cache=False
    )
    files.mkdir("by-s3fs")
    files.pipe("by-s3fs/a/small", SMALL)
    with files.open("by-s3fs/a/big", "wb", block_size=5 * MIB) as file:
        file.write(BIG)
    files.cp("by-s3fs/a/big", "by-s3fs/b/copy")
    files.mv("by-s3fs/a/small", "by-s3fs/b/moved")
    assert staging.written("by-s3fs") == {"a/big": BIG, "b/copy": BIG, "b/moved": SMALL}
    assert files.cat("by-s3fs/b/moved") == SMALL
    files.rm("by-s3fs/b", recursive=True)
    assert files.find("by-s3fs") == ["by-s3fs/a/big"]
    files.rm("by-s3fs", recursive=True)
    assert not files.exists("by-s3fs")


def test_pyarrow(staging: Staging) -> None:
    pyarrow = client("pyarrow")
    import pyarrow.fs
    import pyarrow.parquet

    files = pyarrow.fs.S3FileSystem(
        access_key=ACCESS,
        secret_key=SECRET,
        region=REGION,
        scheme="http",
        endpoint_override=staging.host,
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )
    files.create_dir("by-pyarrow/tables")
    with files.open_output_stream("by-pyarrow/big") as stream:
        stream.write(BIG)
    table = pyarrow.table({"c": list(range(200_000))})
    pyarrow.parquet.write_table(table, "by-pyarrow/tables/one.parquet", filesystem=files)
    files.copy_file("by-pyarrow/big", "by-pyarrow/copies/big")
    files.move("by-pyarrow/tables/one.parquet", "by-pyarrow/tables/two.parquet")
    assert pyarrow.parquet.read_table("by-pyarrow/tables/two.parquet", filesystem=files) == table
    written = staging.written("by-pyarrow")
    assert written.keys() == {"big", "copies/big", "tables/two.parquet"} and written["copies/big"] == BIG
    files.delete_dir("by-pyarrow/copies")
    files.delete_file("by-pyarrow/big")
    assert staging.written("by-pyarrow").keys() == {"tables/two.parquet"}
    files.delete_dir("by-pyarrow")
    assert not (staging.folder / "by-pyarrow").exists()


def test_obstore(staging: Staging) -> None:
    obstore = client("obstore")
    from obstore.exceptions import AlreadyExistsError
    from obstore.store import S3Store

    boto(staging.endpoint).create_bucket(Bucket="by-obstore")
    store = S3Store(
        "by-obstore",
        endpoint=staging.endpoint,
        access_key_id=ACCESS,
        secret_access_key=SECRET,
        region=REGION,
        client_options={"allow_http": True},
    )
    obstore.put(store, "small", SMALL, use_multipart=False)
    obstore.put(store, "big", BIG, use_multipart=True, chunk_size=5 * MIB)
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "small", b"other", mode="create")
    obstore.copy(store, "big", "copies/big")
    obstore.rename(store, "small", "copies/small")
    assert staging.written("by-obstore") == {"big": BIG, "copies/big": BIG, "copies/small": SMALL}
    obstore.delete(store, ["big", "copies/big", "copies/small"])
    assert staging.written("by-obstore") == {}


def test_duckdb(staging: Staging) -> None:
    base = duckdb_connection(staging.endpoint)
    boto(staging.endpoint).create_bucket(Bucket="by-duckdb")
    numbers = "SELECT range AS n, range % 3 AS part FROM range(300000)"
    base.execute(f"COPY ({numbers}) TO 's3://by-duckdb/one.parquet' (FORMAT parquet)")
    base.execute(f"COPY ({numbers}) TO 's3://by-duckdb/one.csv' (FORMAT csv)")
    base.execute(f"COPY ({numbers}) TO 's3://by-duckdb/parts' (FORMAT parquet, PARTITION_BY (part), OVERWRITE_OR_IGNORE)")
    for source in ("one.parquet", "one.csv", "parts/*/*.parquet"):
        got = base.execute(f"SELECT count(*), sum(n), sum(part) FROM 's3://by-duckdb/{source}'").fetchone()
        assert got == (300_000, sum(range(300_000)), 300_000), source
    top = {key.split("/")[0] for key in staging.written("by-duckdb")}
    assert top == {"one.parquet", "one.csv", "parts"}


def test_minio(staging: Staging) -> None:
    minio = client("minio")
    from minio.commonconfig import ComposeSource, CopySource
    from minio.deleteobjects import DeleteObject

    s3 = minio.Minio(endpoint=staging.host, access_key=ACCESS, secret_key=SECRET, region=REGION, secure=False)
    at = {"bucket_name": "by-minio"}
    s3.make_bucket(**at)
    s3.put_object(**at, object_name="small", data=io.BytesIO(SMALL), length=len(SMALL))
    s3.put_object(**at, object_name="big", data=io.BytesIO(BIG), length=-1, part_size=5 * MIB)
    s3.copy_object(**at, object_name="copy", source=CopySource("by-minio", "small"))
    s3.compose_object(**at, object_name="joined", sources=[ComposeSource("by-minio", "big"), ComposeSource("by-minio", "small")])
    assert staging.written("by-minio") == {"small": SMALL, "big": BIG, "copy": SMALL, "joined": BIG + SMALL}
    errors = s3.remove_objects(**at, delete_object_list=[DeleteObject(name) for name in ("small", "big", "copy")])
    assert list(errors) == []
    s3.remove_object(**at, object_name="joined")
    s3.remove_bucket(**at)
    assert not s3.bucket_exists(**at)


def make_source(folder: Path) -> dict[str, bytes]:
    files = {"big.bin": BIG, "small": SMALL, "deep/er/a b+c&d.txt": b"deep", "empty": b""}
    for key, data in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def test_rclone(staging: Staging, tmp_path: Path) -> None:
    rclone = program("rclone", "version")
    remote = rclone_remote(staging.endpoint, tmp_path / "rclone.conf")
    files = make_source(tmp_path / "source")
    limits = [f"--s3-{name}=5Mi" for name in ("upload-cutoff", "chunk-size", "copy-cutoff")]
    run(rclone, "mkdir", "C:by-rclone", **remote)
    run(rclone, "copy", str(tmp_path / "source"), "C:by-rclone/in", *limits, **remote)
    run(rclone, "check", "--download", str(tmp_path / "source"), "C:by-rclone/in", **remote)
    run(rclone, "move", "C:by-rclone/in", "C:by-rclone/out", *limits, **remote)
    assert staging.written("by-rclone") == {f"out/{key}": data for key, data in files.items()}
    run(rclone, "rcat", "C:by-rclone/streamed", *limits, given="piped", **remote)
    assert staging.written("by-rclone")["streamed"] == b"piped"
    run(rclone, "deletefile", "C:by-rclone/out/small", **remote)
    assert staging.written("by-rclone").keys() == {"streamed", *(f"out/{key}" for key in files if key != "small")}
    run(rclone, "purge", "C:by-rclone", **remote)
    assert not (staging.folder / "by-rclone").exists()


def test_s5cmd(staging: Staging, tmp_path: Path) -> None:
    s5cmd = program("s5cmd", "version")
    settings = s5cmd_settings(staging.endpoint)
    files = make_source(tmp_path / "source")
    run(s5cmd, "mb", "s3://by-s5cmd", **settings)
    run(s5cmd, "cp", "--part-size", "5", f"{tmp_path / 'source'}/", "s3://by-s5cmd/in/", **settings)
    assert staging.written("by-s5cmd") == {f"in/{key}": data for key, data in files.items()}
    run(s5cmd, "cp", "s3://by-s5cmd/in/big.bin", "s3://by-s5cmd/copy", **settings)
    run(s5cmd, "mv", "s3://by-s5cmd/in/small", "s3://by-s5cmd/moved", **settings)
    assert staging.written("by-s5cmd").keys() == {"copy", "moved", *(f"in/{key}" for key in files if key != "small")}
    run(s5cmd, "rm", "s3://by-s5cmd/*", **settings)
    run(s5cmd, "rb", "s3://by-s5cmd", **settings)
    assert not (staging.folder / "by-s5cmd").exists()
