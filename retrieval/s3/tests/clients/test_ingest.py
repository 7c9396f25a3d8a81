"""Uploads by clients as they ship: what was acknowledged survives a kill, and the folder is a dataset."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import ACCESS, BINARY, MIB, REGION, SECRET, noise, write_secret

FILES = {"small.txt": b"small", "deep/er/empty.bin": b"", "big.bin": noise("upload", 20 * MIB + 7)}


def gateway(folder: Path, keys: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    command = [str(BINARY), "gateway", "--listen", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--json"]
    command += ["--s3-key", str(keys), "--s3-ingest", str(folder), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        said = json.loads(line)
        if said["kind"] == "s3":
            return process, said["url"]
    raise RuntimeError(f"the gateway ended with {process.wait()}")


def client(endpoint: str, secret: str = SECRET):
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS,
        aws_secret_access_key=secret,
        region_name=REGION,
        config=config,
    )


def test_boto3_uploads_survive_a_kill_and_become_a_dataset(tmp_path: Path) -> None:
    keys, folder, source = tmp_path / "keys", tmp_path / "ingest", tmp_path / "source"
    write_secret(keys, f"{ACCESS} {SECRET} write\n")
    for name, data in FILES.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    process, endpoint = gateway(folder, keys)
    try:
        s3 = client(endpoint)
        s3.create_bucket(Bucket="fresh")
        for name in FILES:
            s3.upload_file(str(source / name), "fresh", name)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="fresh", Key="small.txt", Body=b"other", IfNoneMatch="*")
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            client(endpoint, "wrong").put_object(Bucket="fresh", Key="x", Body=b"x")
    finally:
        process.kill()
        process.wait()
    process, endpoint = gateway(folder, keys)
    try:
        s3 = client(endpoint)
        listed = [line["Key"] for line in s3.list_objects_v2(Bucket="fresh")["Contents"]]
        assert listed == sorted(FILES)
        for name, data in FILES.items():
            assert s3.get_object(Bucket="fresh", Key=name)["Body"].read() == data, name
    finally:
        process.kill()
        process.wait()
    written = {str(path.relative_to(folder / "fresh")) for path in (folder / "fresh").rglob("*") if path.is_file()}
    assert written == set(FILES)
    roots = []
    for path in (folder / "fresh", source):
        command = [str(BINARY), "gateway", "--listen", "127.0.0.1:0", "--json", "--data", str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = (json.loads(line) for line in process.stdout)
        roots.append(next(line["root"] for line in lines if line["kind"] == "dataset"))
        process.kill()
        process.wait()
    assert roots[0] == roots[1]
