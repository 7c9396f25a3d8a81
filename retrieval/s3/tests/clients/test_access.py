"""S3 behind the gatekeeper: what is denied, what a key opens, how many bytes it has."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import BINARY, MIB, SECRET, boto, code, end, noise, start, write_secret


def test_keys_stand_for_tokens_and_what_is_denied_is_served_to_nobody(tmp_path: Path) -> None:
    for name, files in {"guarded": {"a.bin": 2 * MIB, "out/b.bin": 100, "not.bin": 50}, "free": {"c.bin": 10}}.items():
        for key, size in files.items():
            path = tmp_path / name / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(noise(key, size))
    data = [argument for name in ("guarded", "free") for argument in ("--data", str(tmp_path / name))]
    process, lines = start(*data)
    assert process.stdout is not None
    lines.append(json.loads(process.stdout.readline()))
    roots = {str(line["name"]): str(line["root"]) for line in lines if line["kind"] == "dataset"}
    end(process)
    subprocess.run([BINARY, "wallet", "new", "--out", tmp_path / "gateway.key"], check=True, capture_output=True)
    (tmp_path / "denied.txt").write_text(f"/ipfs/{roots['guarded']}/not.bin http=451\n")
    policy = {"key": "gateway.key", "state": "state", "free": [roots["free"]], "denylist": "denied.txt"}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    keys = tmp_path / "keys.txt"
    limit = 2 * MIB + 60
    write_secret(keys, f"ALL {SECRET} read\nFEW {SECRET} read bytes={limit}\nOUT {SECRET} read guarded/out\nanonymous read\n")
    arguments = [*data, "--s3-key", str(keys), "--access", str(tmp_path / "policy.json")]
    process, lines = start(*arguments)
    try:
        endpoint = next(str(line["url"]) for line in lines if line["kind"] == "s3")
        everything, few, out, nameless = (boto(endpoint, access) for access in ("ALL", "FEW", "OUT", None))

        def get(s3, key: str, bucket: str = "guarded", **more: str) -> bytes:
            return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()

        at = {"Bucket": "guarded"}
        for s3 in (everything, nameless):
            assert code(s3.get_object, **at, Key="not.bin") == ("UnavailableForLegalReasons", 451)
        assert code(everything.head_object, **at, Key="not.bin")[1] == 451
        assert get(nameless, "c.bin", "free") == noise("c.bin", 10)
        assert code(nameless.get_object, **at, Key="a.bin") == ("AccessDenied", 403)
        assert [entry["Name"] for entry in nameless.list_buckets()["Buckets"]] == ["free"]
        assert [entry["Name"] for entry in everything.list_buckets()["Buckets"]] == ["free", "guarded"]
        assert get(out, "out/b.bin") == noise("out/b.bin", 100)
        assert code(out.get_object, **at, Key="a.bin") == ("AccessDenied", 403)
        assert [entry["Key"] for entry in out.list_objects_v2(**at)["Contents"]] == ["out/b.bin"]
        assert get(few, "a.bin") == noise("a.bin", 2 * MIB)
        assert get(few, "out/b.bin", Range="bytes=0-39") == noise("out/b.bin", 100)[:40]
        assert code(few.get_object, **at, Key="out/b.bin") == ("AccessDenied", 403)
    finally:
        end(process)
    # An orderly end writes what was truly read, key by key.
    assert 2 * MIB + 40 in [int(path.read_text()) for path in (tmp_path / "state").glob("key-*")]
    process, lines = start(*arguments)
    try:
        endpoint = next(str(line["url"]) for line in lines if line["kind"] == "s3")
        few = boto(endpoint, "FEW")
        assert code(few.get_object, Bucket="guarded", Key="out/b.bin") == ("AccessDenied", 403)
        url = few.generate_presigned_url("get_object", Params={"Bucket": "guarded", "Key": "out/b.bin"}, ExpiresIn=60)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url)
        assert caught.value.code == 403 and b"bytes" in caught.value.read()
    finally:
        end(process)
