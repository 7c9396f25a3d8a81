from __future__ import annotations

import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

import pytest
from conftest import ACCESS, MIB, REGION, SECRET, Bucket, boto, code


def connect(bucket: Bucket, access: str | None = ACCESS, secret: str = SECRET, region: str = REGION, endpoint: str = ""):
    return boto(endpoint or bucket.endpoint, access, secret, region)


def test_every_file_is_the_same(bucket: Bucket, tmp_path: Path) -> None:
    s3 = connect(bucket)
    for key in [key for key in bucket.keys if not key.startswith("many/")]:
        got = s3.get_object(Bucket=bucket.name, Key=key, ChecksumMode="ENABLED")
        assert got["Body"].read() == bucket.files[key], key
        head = s3.head_object(Bucket=bucket.root, Key=key)
        assert head["ETag"] == got["ETag"] and head["ContentLength"] == len(bucket.files[key])
        assert head["LastModified"] <= datetime.now(timezone.utc)
    # Ten parallel ranges, each with If-Match.
    s3.download_file(bucket.name, "big.bin", str(tmp_path / "big"))
    assert (tmp_path / "big").read_bytes() == bucket.files["big.bin"]


def test_ranges_and_conditions(bucket: Bucket) -> None:
    s3 = connect(bucket)
    content = bucket.files["exact.bin"]
    at = {"Bucket": bucket.name, "Key": "exact.bin"}
    etag = s3.head_object(**at)["ETag"]
    for text, expected in [
        ("bytes=0-0", content[:1]),
        ("bytes=5-", content[5:]),
        ("bytes=-7", content[-7:]),
        (f"bytes={MIB}-{9 * MIB}", content[MIB:]),
    ]:
        got = s3.get_object(Range=text, IfMatch=etag, **at)
        assert got["Body"].read() == expected and got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert code(s3.get_object, Range=f"bytes={2 * MIB}-", **at) == ("InvalidRange", 416)
    assert code(s3.get_object, IfMatch='"other"', **at) == ("PreconditionFailed", 412)
    assert code(s3.get_object, IfNoneMatch=etag, **at)[1] == 304
    assert code(s3.get_object, Bucket=bucket.name, Key="missing") == ("NoSuchKey", 404)
    assert code(s3.get_object, Bucket="missing", Key="k") == ("NoSuchBucket", 404)
    assert code(s3.head_object, Bucket=bucket.name, Key="many")[1] == 404
    assert code(s3.put_object, Body=b"x", **at) == ("AccessDenied", 403)
    assert code(s3.get_object_tagging, **at) == ("NotImplemented", 501)


def test_listings_of_both_versions(bucket: Bucket) -> None:
    s3 = connect(bucket)
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation)
        listed = [entry for page in pages.paginate(Bucket=bucket.name) for entry in page.get("Contents", [])]
        assert [entry["Key"] for entry in listed] == bucket.keys, operation
        assert all(entry["Size"] == len(bucket.files[entry["Key"]]) for entry in listed)
        small = [
            line
            for page in pages.paginate(Bucket=bucket.name, Delimiter="/", PaginationConfig={"PageSize": 2})
            for line in [entry["Key"] for entry in page.get("Contents", [])]
            + [group["Prefix"] for group in page.get("CommonPrefixes", [])]
        ]
        top = {key.split("/")[0] + ("/" if "/" in key else "") for key in bucket.keys}
        assert sorted(small) == sorted(top), operation
    page = s3.list_objects_v2(Bucket=bucket.name, Prefix="many/", MaxKeys=1)
    assert page["KeyCount"] == 1 and page["IsTruncated"] and page["Contents"][0]["Key"] == "many/sample-00000.txt"
    page = s3.list_objects_v2(Bucket=bucket.name, Prefix="many/", StartAfter="many/sample-01198.txt")
    assert [entry["Key"] for entry in page["Contents"]] == ["many/sample-01199.txt"]
    assert s3.list_objects_v2(Bucket=bucket.name, Prefix="nothing")["KeyCount"] == 0
    assert [entry["Name"] for entry in s3.list_buckets()["Buckets"]] == [bucket.name]
    assert s3.head_bucket(Bucket=bucket.root)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert code(s3.head_bucket, Bucket="missing")[1] == 404
    assert s3.get_bucket_location(Bucket=bucket.name)["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket.name)


def test_who_may_read(bucket: Bucket) -> None:
    at = {"Bucket": bucket.name, "Key": "deep/er/est.txt"}
    assert code(connect(bucket, access=None).get_object, **at) == ("AccessDenied", 403)
    assert code(connect(bucket, access="other").get_object, **at) == ("InvalidAccessKeyId", 403)
    assert code(connect(bucket, secret="other").get_object, **at) == ("SignatureDoesNotMatch", 403)
    assert code(connect(bucket, region="eu-west-1").get_object, **at) == ("AuthorizationHeaderMalformed", 400)
    for access in (ACCESS, None):
        reader = connect(bucket, access=access, endpoint=bucket.open_endpoint)
        assert reader.get_object(**at)["Body"].read() == b"deep"


def test_presigned_addresses(bucket: Bucket) -> None:
    s3 = connect(bucket)
    key = "table \u00e4 #1?+&=%.json"
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket.name, "Key": key}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == bucket.files[key]
    request = urllib.request.Request(url, headers={"Range": "bytes=1-3"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 206 and answer.read() == bucket.files[key][1:4]
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("Expires=60", "Expires=61"))
    assert caught.value.code == 403 and b"SignatureDoesNotMatch" in caught.value.read()
