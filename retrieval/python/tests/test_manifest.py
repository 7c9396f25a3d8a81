"""Manifests: read by mlcroissant, signed, named by their content."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

from cairn_data import dagcbor, ed25519, errors, indexes, manifest
from conftest import SAMPLES_PER_SHARD, SHARDS, World, served
from support import Gateway, tar_shard

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def unsigned(small: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return manifest.build(
        small.client().dataset(small.root),
        name="demo",
        version="1.0.0",
        description="Generated files",
        license="CC0-1.0",
        url="https://example.org/demo",
        creator="Nobody",
        published="2026-11-22",
        cite_as="demo",
        providers=[small.url],
        pieces={"big.bin": {"pieceCid": "baga", "pieceOffset": 127}},
        blocks=tmp_path_factory.mktemp("tables"),
    )


def test_signature_vectors() -> None:
    """RFC 8032, 7.1: tests 1 to 3."""
    for secret, public, message, signature in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ]:
        key, text = bytes.fromhex(secret), bytes.fromhex(message)
        assert ed25519.public_key(key).hex() == public
        assert ed25519.sign(key, text).hex() == signature
        assert ed25519.verify(bytes.fromhex(public), text, bytes.fromhex(signature))
        assert not ed25519.verify(bytes.fromhex(public), text + b"x", bytes.fromhex(signature))
        assert not ed25519.verify(bytes.fromhex(public), text, bytes.fromhex(signature)[:-1] + b"\xff")
    assert not ed25519.verify(b"\xff" * 32, b"", bytes(64))


def test_canonical_bytes() -> None:
    """Values of RFC 8949, appendix A, in the order that DAG-CBOR asks of keys."""
    for value, expected in [
        (0, "00"), (23, "17"), (24, "1818"), (1000000, "1a000f4240"), (2**64 - 1, "1bffffffffffffffff"),
        (-1, "20"), (-1000, "3903e7"), (False, "f4"), (None, "f6"), ("ü", "62c3bc"), ([1, [2, 3]], "8201820203"),
        ({"b": 1, "aa": 2, "a": 3}, "a3616103616201626161" + "02"),
    ]:  # fmt: skip
        assert dagcbor.encode(value).hex() == expected
    for wrong in [1.5, 2**64, {1: 2}, object()]:
        with pytest.raises(errors.ManifestRejection):
            dagcbor.encode(wrong)


def test_mlcroissant_reads_it(small: World, unsigned: dict[str, Any], tmp_path: Path) -> None:
    signed = manifest.sign(unsigned, SECRET)
    path = tmp_path / "croissant.json"
    path.write_text(manifest.dumps(signed))
    dataset = mlcroissant.Dataset(jsonld=path)
    assert not dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.report()
    assert dataset.metadata.name == "demo"
    held = {each.id: each for each in dataset.metadata.distribution}
    assert len(held) == sum(path.is_file() for path in small.folder.rglob("*"))
    assert all(("cairn:blockTables" in each) == (each["cairn:size"] > 65536) for each in unsigned["distribution"])
    assert held["big.bin"].content_url == f"{small.url}/data/{small.root}/big.bin"
    assert held["big.bin"].sha256 == next(each["sha256"] for each in unsigned["distribution"] if each["@id"] == "big.bin")


def test_the_id_is_the_content(small: World, unsigned: dict[str, Any]) -> None:
    signed = manifest.sign(unsigned, SECRET)
    cid = manifest.manifest_id(unsigned)
    assert str(cid).startswith("bafyrei")
    read = manifest.loads(manifest.dumps(signed))
    publisher = ed25519.public_key(SECRET).hex()
    assert manifest.verify(read, publisher=publisher, expected=cid) == cid
    manifest.check_dataset(read, small.client().dataset(small.root))
    shard = next(each for each in read["distribution"] if each["@id"] == "shards/000001.tar")
    assert shard["cairn:samples"] == len(shard["cairn:sampleOffsets"]) == SAMPLES_PER_SHARD
    big = next(each for each in read["distribution"] if each["@id"] == "big.bin")
    assert (big["cairn:pieceCid"], big["cairn:pieceOffset"]) == ("baga", 127)


def test_what_was_changed_is_refused(small: World, unsigned: dict[str, Any]) -> None:
    signed = manifest.sign(unsigned, SECRET)
    for change in [
        lambda document: document.update(name="other"),
        lambda document: document["distribution"].pop(),
        lambda document: document["cairn:signature"].update(publicKey="00" * 32),
        lambda document: document["cairn:signature"].update(signature="zz"),
        lambda document: document.pop("cairn:signature"),
        lambda document: document.pop("cairn:root"),
    ]:
        changed = copy.deepcopy(signed)
        change(changed)
        with pytest.raises(errors.ManifestRejection):
            manifest.verify(changed)
    with pytest.raises(errors.ManifestRejection, match="signed by"):
        manifest.verify(signed, publisher="11" * 32)
    for text in ["{", "[]", '{"a": 1, "a": 2}', '{"a": 1.5}', '{"a": NaN}', "[" * 100_000]:
        with pytest.raises(errors.ManifestRejection):
            manifest.loads(text)
    changed = copy.deepcopy(unsigned)
    changed["distribution"][0]["cairn:size"] += 1
    with pytest.raises(errors.ManifestRejection, match="the manifest says"):
        manifest.check_dataset(changed, small.client().dataset(small.root))


def test_commands(small: World, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(SECRET.hex() + "\n")
    command = [sys.executable, "-m", "cairn_data"]
    words = ["--name", "demo", "--dataset-version", "2", "--license", "MIT", "--key", str(key), "--from", small.url]
    made = subprocess.run([*command, "manifest", small.root, *words], capture_output=True, text=True, check=True)
    path = tmp_path / "demo.json"
    path.write_text(made.stdout)
    assert json.loads(made.stdout)["cairn:root"] == small.root
    publisher = ["--publisher", ed25519.public_key(SECRET).hex()]
    checked = subprocess.run(
        [*command, "check-manifest", str(path), *publisher, "--from", small.url], capture_output=True, text=True, check=True
    )
    assert "all right" in checked.stdout
    assert checked.stdout.split()[1].rstrip(":") == made.stderr.split()[1]


def test_an_index_of_shards_is_made(small: World, unsigned: dict[str, Any]) -> None:
    """Its offsets are where the samples begin, and its counts are what the loaders find."""
    made = indexes.generated(unsigned, base="http://127.0.0.1:9/data/demo/")
    index = json.loads(made["shards/wids.json"])
    assert (index["__kind__"], index["wids_version"], len(index["shardlist"])) == ("wids-shard-index-v1", 1, SHARDS)
    for number, shard in enumerate(index["shardlist"]):
        path = f"shards/{number:06d}.tar"
        assert shard["url"] == f"http://127.0.0.1:9/data/demo/{path}"
        assert (shard["filesize"], shard["nsamples"]) == (len(small.bytes(path)), SAMPLES_PER_SHARD)
        starts = [small.bytes(path)[offset : offset + 9] for offset in shard["cairn:sampleOffsets"]]
        assert starts == [b"s%d/%06d" % (number, sample) for sample in range(SAMPLES_PER_SHARD)]
    assert json.loads(indexes.generated(unsigned)["shards/wids.json"])["shardlist"][0]["url"].startswith(small.url)
    with pytest.raises(errors.ManifestRejection):
        indexes.generated({"distribution": [{}]})


def test_indexes_of_loaders_are_kept(tmp_path: Path) -> None:
    """Those that are there are written unchanged, and none is made in their place."""
    folder, out = tmp_path / "dataset", tmp_path / "out"
    held = {
        "mds/index.json": b'{"version": 2, "shards": [] }',
        "lit/index.json": b'{"chunks": [], "config": {}}\n',
        "tars/wids-all.json": b'{"shardlist": [], "wids_version": 1}',
        "rows/_metadata": b"PAR1....PAR1",
    }
    none = {
        "tars/0.tar": tar_shard("a", 2, 100),
        "more/0.tar": tar_shard("b", 3, 100),
        "x/index.json": b"[]",
        "y/_metadata": b"no",
    }
    for path, data in (held | none).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    gateway = Gateway(folder)
    try:
        pieces = tmp_path / "pieces.json"
        pieces.write_text('{"tars/0.tar": {"pieceCid": "baga", "pieceOffset": 0}}')
        words = ["--name", "d", "--dataset-version", "1", "--license", "MIT", "--from", gateway.url, "--pieces", str(pieces)]
        command = [sys.executable, "-m", "cairn_data", "manifest", gateway.root, *words, "--indexes", str(out)]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        pieces.write_text("[]")
        refused = subprocess.run(command, capture_output=True, text=True)
    finally:
        gateway.stop()
    assert refused.returncode == 1
    assert "expected one JSON object" in refused.stderr
    found = {each["cairn:path"]: each.get("cairn:index") for each in json.loads(made.stdout)["distribution"]}
    assert {path: kind for path, kind in found.items() if kind} == dict(
        zip(held, ["mds", "litdata", "wids", "parquet"], strict=True)
    )
    written = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert json.loads(written.pop("more/wids.json"))["shardlist"][0]["nsamples"] == 3
    assert written == held


def test_indexes_are_served_beside_the_manifest(small: World, unsigned: dict[str, Any]) -> None:
    """The made index leads back to the proxy; one that the dataset holds is served as it is."""
    document = copy.deepcopy(unsigned)
    held = next(each for each in document["distribution"] if each["cairn:path"].endswith(".json"))
    held["cairn:index"] = "mds"
    with served(small.client(), manifests=[document]) as url:
        base = f"{url}/manifest/{small.root}"
        assert manifest.loads(urllib.request.urlopen(f"{base}/croissant.json").read()) == document
        index = json.loads(urllib.request.urlopen(f"{base}/shards/wids.json").read())
        shard = index["shardlist"][0]
        assert shard["url"].startswith(url)
        assert len(urllib.request.urlopen(shard["url"]).read()) == shard["filesize"]
        path = held["cairn:path"]
        assert urllib.request.urlopen(f"{base}/{urllib.parse.quote(path)}").read() == small.bytes(path)
        for missing in [f"{base}/big.bin", f"{base}/", f"{url}/manifest/{'bafkrei' + 'a' * 52}/croissant.json"]:
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(missing)
