"""Uploads and kills: what was acknowledged survives, and the folder is a dataset."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import ACCESS, BINARY, MIB, SECRET, boto, end, noise, start, write_secret

FILES = {"small.txt": b"small", "deep/er/empty.bin": b"", "big.bin": noise("upload", 20 * MIB + 7)}


@contextmanager
def killed(folder: Path) -> Iterator[str]:
    """A gateway over a folder, killed at the end; gives its S3 endpoint."""
    keys = folder.parent / "keys"
    if not keys.exists():
        write_secret(keys, f"{ACCESS} {SECRET} write\n")
    process, lines = start("--s3-key", str(keys), "--s3-ingest", str(folder), until="s3")
    try:
        yield str(lines[-1]["url"])
    finally:
        end(process, kill=True)


def root_of(folder: Path) -> str:
    command = [str(BINARY), "gateway", "--listen", "127.0.0.1:0", "--json", "--data", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = (json.loads(line) for line in process.stdout)
    root = next(line["root"] for line in lines if line["kind"] == "dataset")
    end(process, kill=True)
    return root


def test_boto3_uploads_survive_a_kill_and_become_a_dataset(tmp_path: Path) -> None:
    from botocore.exceptions import ClientError

    folder, source = tmp_path / "ingest", tmp_path / "source"
    for name, data in FILES.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with killed(folder) as endpoint:
        s3 = boto(endpoint)
        s3.create_bucket(Bucket="fresh")
        for name in FILES:
            s3.upload_file(str(source / name), "fresh", name)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="fresh", Key="small.txt", Body=b"other", IfNoneMatch="*")
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            boto(endpoint, secret="wrong").put_object(Bucket="fresh", Key="x", Body=b"x")
    with killed(folder) as endpoint:
        s3 = boto(endpoint)
        listed = [line["Key"] for line in s3.list_objects_v2(Bucket="fresh")["Contents"]]
        assert listed == sorted(FILES)
        for name, data in FILES.items():
            assert s3.get_object(Bucket="fresh", Key=name)["Body"].read() == data, name
    written = {str(path.relative_to(folder / "fresh")) for path in (folder / "fresh").rglob("*") if path.is_file()}
    assert written == set(FILES)
    assert root_of(folder / "fresh") == root_of(source)


def test_a_multipart_upload_goes_on_after_a_kill_with_every_part_that_was_acknowledged(tmp_path: Path) -> None:
    parts = [noise(f"part {number}", 5 * MIB + number) for number in range(3)]
    folder, at = tmp_path / "ingest", {"Bucket": "fresh", "Key": "deep/whole.bin"}
    with killed(folder) as endpoint:
        s3 = boto(endpoint)
        s3.create_bucket(Bucket="fresh")
        upload = s3.create_multipart_upload(**at)["UploadId"]
        etags = [
            s3.upload_part(**at, UploadId=upload, PartNumber=number + 1, Body=parts[number])["ETag"] for number in range(2)
        ]
        # The third part is under way, and the second is being replaced, when the gateway is killed: neither is whole.
        cut = []
        for number in (2, 3):
            url = urlsplit(
                s3.generate_presigned_url("upload_part", Params={**at, "UploadId": upload, "PartNumber": number})
            )
            connection = http.client.HTTPConnection(url.netloc)
            connection.putrequest("PUT", f"{url.path}?{url.query}")
            connection.putheader("Content-Length", str(5 * MIB))
            connection.endheaders()
            connection.send(bytes(MIB))
            cut.append(connection)
    for connection in cut:
        connection.close()
    with killed(folder) as endpoint:
        s3 = boto(endpoint)
        assert [open_["UploadId"] for open_ in s3.list_multipart_uploads(Bucket="fresh")["Uploads"]] == [upload]
        listed = s3.list_parts(**at, UploadId=upload)["Parts"]
        assert [(part["PartNumber"], part["ETag"], part["Size"]) for part in listed] == [
            (number + 1, etags[number], len(parts[number])) for number in range(2)
        ]
        etags.append(s3.upload_part(**at, UploadId=upload, PartNumber=3, Body=parts[2])["ETag"])
        done = [{"PartNumber": number + 1, "ETag": etag} for number, etag in enumerate(etags)]
        s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": done})
    with killed(folder) as endpoint:
        s3 = boto(endpoint)
        assert s3.get_object(**at)["Body"].read() == b"".join(parts)
        assert "Uploads" not in s3.list_multipart_uploads(Bucket="fresh")
    left = sorted(path.name for path in (folder / ".staging").rglob("*"))
    assert left == ["lock", "uploads"]
