"""The commands, as processes."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import xml.etree.ElementTree
from pathlib import Path

import pytest

from cairn_data import errors
from cairn_data.serve import Certificate, make_certificate
from conftest import World
from conftest import served as serving
from support import MIB, proxies


def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cairn_data", *arguments], capture_output=True, text=True, timeout=120, **more)


def test_get_verify_and_ls(small: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    got = run("get", small.root, str(copy), "--from", small.url)
    assert got.returncode == 0, got.stderr
    total = sum(path.stat().st_size for path in small.folder.rglob("*") if path.is_file())
    assert f"{total} fetched, 0 resumed, 0 kept" in got.stdout
    for path in small.folder.rglob("*"):
        if path.is_file():
            assert (copy / path.relative_to(small.folder)).read_bytes() == path.read_bytes()
    assert "all right" in run("verify", small.root, str(copy), "--from", small.url).stdout
    shards, held = f"{small.root}/shards", copy / "shards"
    size = sum(path.stat().st_size for path in held.iterdir())
    assert f"0 fetched, 0 resumed, {size} kept" in run("get", shards, str(held), "--from", small.url).stdout
    (held / "000000.tar").write_bytes(b"x")
    (held / "000001.tar").unlink()
    checked = run("verify", shards, str(held), "--from", small.url)
    assert checked.returncode == 1
    assert "2 differ" in checked.stdout
    refused = run("get", shards, str(held), "--from", small.url)
    assert refused.returncode == 1
    assert "000000.tar is there and differs" in refused.stderr
    assert run("get", shards, str(held), "--from", small.url, "--overwrite").returncode == 0
    assert "all right" in run("verify", f"{small.root}/big.bin", str(copy / "big.bin"), "--from", small.url).stdout
    assert "all right" in run("verify", f"{small.root}/shards", "--from", small.url).stdout
    listed = run("ls", f"{small.root}/deep", "--from", small.url, "--recursive", "--json").stdout
    assert json.loads(listed)["path"] == "deep/er/est.txt"
    assert "shards/" in run("ls", small.root, "--from", small.url).stdout


def test_get_continues_what_was_interrupted(world: World, tmp_path: Path) -> None:
    whole = world.bytes("big.bin")
    part = tmp_path / ".big.bin.cairn-part"
    part.write_bytes(whole[: 5 * MIB] + bytes(3 * MIB) + whole[8 * MIB : 9 * MIB + 5])
    got = run("get", f"{world.root}/big.bin", str(tmp_path / "big.bin"), "--from", world.url)
    assert f"{6 * MIB} resumed" in got.stdout, got
    assert (tmp_path / "big.bin").read_bytes() == whole
    assert not part.exists()


def test_standard_output_and_errors(world: World) -> None:
    got = run("get", f"{world.root}/deep/er/est.txt", "-", "--from", world.url)
    assert (got.returncode, got.stdout) == (0, "deep")
    for arguments, said in [
        (["get", f"{world.root}/nothing", "x"], "is not in"),
        (["get", "bafy", "x"], "neither a root CID"),
        (["ls", f"{world.root}/big.bin/x"], "is not in"),
    ]:
        got = run(*arguments, "--from", world.url)
        assert got.returncode == 1
        assert said in got.stderr
        assert len(got.stderr.splitlines()) == 1
    assert run("get").returncode == 2


def test_wrong_bytes_are_reported_beside_success(world: World) -> None:
    with proxies(world.url, {"flip": True}, {}) as (flipping, good):
        got = run("verify", f"{world.root}/big.bin", "--from", flipping.url, "--from", good.url)
        assert got.returncode == 0
        assert f"wrong bytes from {flipping.url}" in got.stderr


def test_bench_prints_throughput(world: World) -> None:
    got = run("bench", f"{world.root}/big.bin", "--from", world.url)
    assert got.returncode == 0, got.stderr
    assert "GB/s per core" in got.stdout
    print(got.stdout.splitlines()[0])
    print(got.stdout.splitlines()[1])


def heed_interrupts() -> None:
    """A shell that runs the tests in the background lets them ignore SIGINT, and whoever ignores it passes that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def served(world: World, tmp_path: Path) -> object:
    command = [sys.executable, "-m", "cairn_data", "serve", "--from", world.url, "--cache", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
    assert process.stdout is not None
    yield process.stdout.readline().split("http://")[1].strip()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    process.stdout.close()


def test_serve_answers_like_a_gateway(world: World, served: str) -> None:
    connection = http.client.HTTPConnection(served, timeout=60)

    def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers

    whole = world.bytes("big.bin")
    path = f"/data/{world.root}/big.bin"
    status, body, headers = ask(path)
    assert (status, body) == (200, whole)
    etag = headers["ETag"]
    for range_, expected in [
        ("bytes=5-9", whole[5:10]),
        ("bytes=-7", whole[-7:]),
        (f"bytes={MIB}-", whole[MIB:]),
        (f"bytes=10-{1 << 40}", whole[10:]),
        (f"bytes=-{1 << 40}", whole),
    ]:
        status, body, headers = ask(path, Range=range_)
        assert (status, body) == (206, expected), range_
        assert headers["Content-Length"] == str(len(expected))
    assert ask(path, Range=f"bytes={len(whole)}-")[0] == 416
    assert ask(path, Range="bytes=-0")[0] == 416
    for whole_answer in ["bytes=9-5", "bytes=0-1,3-4", "items=1-2", "bytes=-"]:
        assert ask(path, Range=whole_answer)[0] == 200
    assert ask(path, If_None_Match=etag)[:2] == (304, b"")
    assert ask(path, If_Match='"other"')[0] == 412
    assert ask(path, Range="bytes=0-1", If_Range='"other"')[0] == 200
    status, body, headers = ask(path, "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(whole)))
    assert ask(f"/data/{world.root}/nothing")[0] == 404
    assert ask("/data/nothing")[0] == 404
    assert ask("/other")[0] == 404
    assert b"<Code>NoSuchBucket</Code>" in ask("/other/key")[1]
    assert ask(f"/data/{world.root}/empty.txt")[:2] == (200, b"")
    assert ask(f"/data/{world.root}/table%20%C3%A4%20%231%3F.json")[1] == b'{"a": 1}'
    listing = json.loads(ask(f"/data/{world.root}/deep")[1])
    gateway = http.client.HTTPConnection(world.url.removeprefix("http://"), timeout=60)
    gateway.request("GET", f"/data/{world.root}/deep")
    assert listing == json.loads(gateway.getresponse().read())
    assert json.loads(ask("/health")[1])["status"] == "ok"


def test_serve_lists_like_s3(world: World, served: str) -> None:
    connection = http.client.HTTPConnection(served, timeout=60)

    def names(query: str) -> tuple[list[str], list[str], str | None]:
        connection.request("GET", f"/{world.root}?{query}")
        answer = connection.getresponse()
        tree = xml.etree.ElementTree.fromstring(answer.read())
        assert answer.status == 200
        space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
        token = tree.findtext(f"{space}NextContinuationToken") or tree.findtext(f"{space}NextMarker")
        keys = [each.text or "" for each in tree.iter(f"{space}Key")]
        prefixes = [each.findtext(f"{space}Prefix") or "" for each in tree.iter(f"{space}CommonPrefixes")]
        return keys, prefixes, token

    paths = {str(path.relative_to(world.folder)) for path in world.folder.rglob("*") if path.is_file()}
    every = sorted(paths, key=str.encode)
    found: list[str] = []
    token: str | None = None
    while True:
        keys, prefixes, token = names("list-type=2&max-keys=500" + (f"&continuation-token={token}" if token else ""))
        found += keys
        assert prefixes == []
        if token is None:
            break
    assert found == every
    keys, prefixes, _ = names("list-type=2&delimiter=/")
    assert keys == [path for path in every if "/" not in path]
    assert prefixes == sorted({path.split("/")[0] + "/" for path in every if "/" in path})
    assert names("list-type=2&prefix=shards/00000&delimiter=/&max-keys=1")[0] == ["shards/000000.tar"]
    assert names("prefix=shards/&marker=shards/000001.tar&max-keys=1")[::2] == (["shards/000002.tar"], "shards/000002.tar")
    assert names("list-type=2&prefix=sha&delimiter=/")[1] == ["shards/"]
    assert names("list-type=2&prefix=nothing/") == ([], [], None)
    assert names("list-type=2&start-after=zeros.bin")[0] == []


def test_serve_speaks_tls(world: World, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("check skipped: TLS of the local proxy (no openssl)")
    made = make_certificate(tmp_path)
    assert make_certificate(tmp_path) == made
    assert made.key.stat().st_mode & 0o77 == 0
    trusting = ssl.create_default_context(cafile=tmp_path / "authority.pem")
    with serving(world.client(), made) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):  # one that says nothing holds up nobody
            answer = urllib.request.urlopen(f"{url}/{world.root}/deep/er/est.txt", context=trusting, timeout=30)
            assert answer.read() == b"deep"
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"{url}/health", timeout=30)
    with (
        pytest.raises(errors.OptionRejection, match="no certificate with its key"),
        serving(world.client(), Certificate(made.key, made.key)),
    ):
        pass
    words = ["serve", "--from", world.url, "--tls-key", str(made.key)]
    refused = subprocess.run([sys.executable, "-m", "cairn_data", *words], capture_output=True, text=True)
    assert (refused.returncode, "expected --tls-certificate with --tls-key" in refused.stderr) == (1, True)
