"""Encrypted datasets through a real gateway, and what the Rust implementation is held to as well."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cairn_data import Client
from cairn_data.download import download
from cairn_data.encryption import DatasetKey, Identities, plain_size
from cairn_data.errors import EncryptionRejection, NotGranted, RequestRejection, WrongKey
from support import MIB, REPOSITORY, Gateway, noise

VECTORS = REPOSITORY / "fixtures" / "vectors" / "encryption"


def test_importing_costs_nothing() -> None:
    code = "import sys, cairn_data.encryption as e; assert not {'pyrage', 'cryptography'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lengths_map_to_plain_ones() -> None:
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB]:
        assert plain_size(64 + size + 16 * max(1, -(-size // MIB)), "f") == size
    for length in [0, 63, 64, 79, 64 + MIB + 16 + 1, 64 + MIB + 32]:
        with pytest.raises(EncryptionRejection, match=str(length)):
            plain_size(length, "f")


pyrage = pytest.importorskip("pyrage", reason="check skipped: pyrage is not installed")
aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead", reason="check skipped: cryptography is not installed")


def seal(key: DatasetKey, plain: bytes, salt: bytes | None = None) -> bytes:
    """An encrypted file, from the drawing of the format."""
    header = b"cairn-encrypted\x01" + key.id + (salt or os.urandom(32))
    cipher = key.file_cipher(header, "sealed")
    parts = [plain[at : at + MIB] for at in range(0, len(plain), MIB)] or [b""]
    nonces = [number.to_bytes(11, "big") + bytes([number + 1 == len(parts)]) for number in range(len(parts))]
    return header + b"".join(cipher.encrypt(nonce, part, None) for nonce, part in zip(nonces, parts, strict=True))


def write_keys(folder: Path, key: DatasetKey, secret: bytes, *recipients: object) -> None:
    grants = [
        {"recipient": str(each), "wrapped": base64.b64encode(pyrage.encrypt(secret, [each])).decode()} for each in recipients
    ]
    keys = {"format": "cairn-keys", "version": 1, "key_id": key.id.hex(), "grants": grants}
    (folder / "cairn-keys.json").write_text(json.dumps(keys))


def labelled(label: str, size: int) -> bytes:
    blocks = (hashlib.sha256(label.encode() + n.to_bytes(8, "little")).digest() for n in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def test_golden_files() -> None:
    vectors = json.loads((VECTORS / "frames.json").read_text())
    key = Identities(VECTORS / "identity.txt").unlock((VECTORS / "cairn-keys.json").read_bytes(), "keys")
    assert key.id.hex() == vectors["key_id"]
    for case in vectors["cases"]:
        sealed = seal(key, labelled(case["label"], case["plain_bytes"]), bytes.fromhex(case["salt"]))
        assert hashlib.sha256(sealed).hexdigest() == case["encrypted_sha256"]
        assert plain_size(len(sealed), "f") == case["plain_bytes"]


SIZES = {"empty.bin": 0, "one.bin": 1, "exact.bin": 2 * MIB, "deep/big.bin": 5 * MIB + 77}


class Encrypted:
    def __init__(self, folder: Path) -> None:
        data = folder / "data"
        (data / "deep").mkdir(parents=True)
        secret = os.urandom(32)
        key = DatasetKey(secret)
        mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
        self.identity, self.stranger = folder / "me.txt", folder / "stranger.txt"
        self.identity.write_text(f"# me\n{mine}\n")
        self.stranger.write_text(f"{other}\n")
        self.plain = {name: noise(name, size) for name, size in SIZES.items()}
        for name, plain in self.plain.items():
            (data / name).write_bytes(seal(key, plain))
        big = bytearray((data / "deep/big.bin").read_bytes())
        big[64 + 3 * (MIB + 16) : 64 + 4 * (MIB + 16)] = big[64 + MIB + 16 : 64 + 2 * (MIB + 16)]  # a frame in another's place
        (data / "moved.bin").write_bytes(bytes(big))
        (data / "foreign.bin").write_bytes(seal(DatasetKey(os.urandom(32)), b"another key"))
        (data / "plain.bin").write_bytes(noise("plain", 500))
        write_keys(data, key, secret, mine.to_public())
        self.gateway = Gateway(data)

    def client(self, **more: object) -> Client:
        return Client([self.gateway.url], **{"identity": self.identity, **more})


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    world = Encrypted(tmp_path_factory.mktemp("encrypted"))
    yield world
    world.gateway.stop()


def test_ranges_are_exact(encrypted: Encrypted) -> None:
    dataset = encrypted.client().dataset(encrypted.gateway.root)
    draw = random.Random(5)
    for name, plain in encrypted.plain.items():
        file = dataset.file(name)
        assert file.size == dataset.entry(name).size == len(plain)
        assert file.read() == plain and b"".join(file.stream()) == plain
        for _ in range(12):
            start = draw.randrange(len(plain) + 1)
            end = draw.randrange(start, min(len(plain), start + 3 * MIB) + 1)
            assert file.read(start, end) == plain[start:end]
            assert b"".join(file.stream(start, end)) == plain[start:end]
        with file.open() as reader:
            assert reader.seek(len(plain) // 2) == len(plain) // 2 and reader.read() == plain[len(plain) // 2 :]


def test_what_is_wrong_is_told(encrypted: Encrypted, tmp_path: Path) -> None:
    root = encrypted.gateway.root
    dataset = encrypted.client().dataset(root)
    moved = dataset.file("moved.bin")
    assert moved.read(0, MIB) == encrypted.plain["deep/big.bin"][:MIB]
    with pytest.raises(EncryptionRejection, match="frame 3 of 6"):
        moved.read(4 * MIB - 1, 4 * MIB + 1)
    with pytest.raises(WrongKey, match=r"foreign\.bin"):
        dataset.file("foreign.bin").read()
    with pytest.raises(EncryptionRejection, match=r"plain\.bin is no encrypted file"):
        dataset.file("plain.bin").read()
    stranger = encrypted.client(identity=encrypted.stranger).dataset(root)
    with pytest.raises(NotGranted, match="to none of age1"):
        stranger.file("one.bin").read()
    (tmp_path / "bad.txt").write_text("AGE-SECRET-KEY-1SECRET")
    with pytest.raises(RequestRejection, match="line 1") as told:
        encrypted.client(identity=tmp_path / "bad.txt")
    assert "SECRET-KEY-1SECRET" not in str(told.value)


def test_without_identity_the_bytes_are_as_stored(encrypted: Encrypted) -> None:
    file = Client([encrypted.gateway.url]).dataset(encrypted.gateway.root).file("one.bin")
    assert file.size == 64 + 1 + 16 and file.read(0, 15) == b"cairn-encrypted"


def test_downloads_and_pickles(encrypted: Encrypted, tmp_path: Path) -> None:
    client = pickle.loads(pickle.dumps(encrypted.client(cache=tmp_path / "cache")))
    dataset = client.dataset(encrypted.gateway.root)
    for kept in (False, True):
        done = download(dataset, "deep", tmp_path / "deep")
        assert [each.kept for each in done] == [kept]
    assert (tmp_path / "deep" / "big.bin").read_bytes() == encrypted.plain["deep/big.bin"]
    assert sorted(each.name for each in (tmp_path / "deep").iterdir()) == ["big.bin"]
    with pytest.raises(EncryptionRejection, match="frame 3"):
        download(dataset, "moved.bin", tmp_path / "moved.bin")
    assert not (tmp_path / "moved.bin").exists()


def test_fsspec(encrypted: Encrypted) -> None:
    fs = pytest.importorskip("cairn_data.fs")
    files = fs.CairnFileSystem(providers=[encrypted.gateway.url], identity=str(encrypted.identity))
    path = f"cairn://{encrypted.gateway.root}/deep/big.bin"
    plain = encrypted.plain["deep/big.bin"]
    assert files.info(path)["size"] == len(plain)
    assert files.cat_file(path, -10) == plain[-10:]
    assert files.cat_ranges([path] * 2, [5, MIB - 1], [9, MIB + 1]) == [plain[5:9], plain[MIB - 1 : MIB + 1]]


def test_the_command(encrypted: Encrypted, tmp_path: Path) -> None:
    what = [f"{encrypted.gateway.root}/exact.bin", str(tmp_path / "out"), "--from", encrypted.gateway.url]
    command = [sys.executable, "-m", "cairn_data", "get", *what, "--identity"]
    subprocess.run([*command, str(encrypted.identity)], check=True)
    assert (tmp_path / "out").read_bytes() == encrypted.plain["exact.bin"]
    refused = subprocess.run([*command, str(encrypted.stranger), "--overwrite"], capture_output=True, text=True)
    assert refused.returncode == 1 and "granted to 1 recipients" in refused.stderr
