"""Datasets that their owner encrypted (`cairn data encrypt`): read in the clear with an age identity.

::

    client = Client(["http://127.0.0.1:8080"], identity="me.txt")
    client.dataset("bafy...").file("images/a.bin").read(0, 100)

Gateways send encrypted bytes, which are verified against the root as ever; then frames of 1 MiB are opened here. A range
is widened to the frames that it touches. The key comes from ``cairn-keys.json`` at the dataset's top, once per dataset; a
file's first leaf is fetched for its header, once per file object. The format is drawn in the documentation of the Rust
crate ``cairn-encryption``. Needs the extra ``cairn-data[encryption]``, which is imported when an identity is first used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cid import Cid
from .dataset import Dataset, Entry, File
from .errors import EncryptionRejection, ExtraMissing, NotGranted, RequestRejection, WrongKey
from .fetch import Leaf

if TYPE_CHECKING:
    from .client import Client

KEY_FILE = "cairn-keys.json"
FRAME = 1 << 20
TAG = 16
HEADER = 64
_MAGIC = b"cairn-encrypted"
_KEY_FILE_BYTES_MAX = 1 << 20
_GRANTS_MAX = 1024
_IDENTITIES_MAX = 16


def plain_size(encrypted: int, path: str) -> int:
    """Plain bytes of an encrypted file. Raises :class:`EncryptionRejection` for a length that none has."""
    body = encrypted - HEADER
    frames = max(1, -(-body // (FRAME + TAG)))
    last = body - (frames - 1) * (FRAME + TAG)
    if last < TAG or (last == TAG and frames > 1):
        raise EncryptionRejection(f"{path}: no encrypted file has {encrypted} bytes: it is cut, or not encrypted")
    return body - frames * TAG


class Identities:
    """The reader's secrets, from a file as ``age-keygen`` writes it."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        age = _extra("pyrage")
        self._known: dict[str, Any] = {}
        for number, line in enumerate(Path(file).read_text(encoding="utf-8").splitlines(), 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            try:
                identity = age.x25519.Identity.from_str(text)
            except age.IdentityError:  # its message might hold the secret
                raise RequestRejection(f"{file}, line {number}: expected AGE-SECRET-KEY-1.., a comment or nothing") from None
            self._known[str(identity.to_public())] = identity
        if not 1 <= len(self._known) <= _IDENTITIES_MAX:
            raise RequestRejection(f"{file}: expected 1 to {_IDENTITIES_MAX} identities, got {len(self._known)}")

    def unlock(self, data: bytes, where: str) -> DatasetKey:
        """The dataset key that a key file holds for one of these. Raises :class:`NotGranted`, EncryptionRejection."""
        key_id, grants = _parse_keys(data, where)
        for recipient, identity in self._known.items():
            if recipient in grants:
                try:
                    secret = _extra("pyrage").decrypt(grants[recipient], [identity])
                except _extra("pyrage").DecryptError as error:
                    raise EncryptionRejection(f"{where}: the key wrapped for {recipient} is damaged: {error}") from None
                if len(secret) != 32 or (key := DatasetKey(secret)).id != key_id:
                    raise EncryptionRejection(f"{where}: expected the key {key_id.hex()} for {recipient}, got another")
                return key
        mine = ", ".join(self._known)
        raise NotGranted(f"{where}: the key {key_id.hex()} is granted to {len(grants)} recipients, and to none of {mine}")


class DatasetKey:
    """The secret of a dataset, and its public name."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.id = _hkdf(secret, bytes(32), b"cairn-encryption v1 key id")[:16]

    def file_cipher(self, header: bytes, path: str) -> Any:
        """The cipher of a file with this header. Raises :class:`WrongKey`, EncryptionRejection."""
        if len(header) != HEADER or header[:15] != _MAGIC:
            raise EncryptionRejection(f"{path} is no encrypted file: expected it to begin with {_MAGIC!r}, got {header[:15]!r}")
        if header[15] != 1:
            raise EncryptionRejection(f"{path}: expected version 1, got {header[15]}")
        if header[16:32] != self.id:
            raise WrongKey(f"{path} was encrypted with another key: expected {header[16:32].hex()}, got {self.id.hex()}")
        aead = _extra("cryptography.hazmat.primitives.ciphers.aead")
        return aead.ChaCha20Poly1305(_hkdf(self._secret, header, b"cairn-encryption v1 file"))


class DecryptedDataset(Dataset):
    """A dataset whose files come in the clear. Sizes are plain sizes; CIDs are those of the encrypted files."""

    def __init__(self, client: Client, root: Cid, identities: Identities) -> None:
        super().__init__(client, root)
        self._identities = identities
        self._unlocked: DatasetKey | None = None
        self._unlocking = threading.Lock()

    @property
    def key(self) -> DatasetKey:
        with self._unlocking:
            if self._unlocked is None:
                file = File(self, super().entry(KEY_FILE))
                where = f"{KEY_FILE} of {self.root}"
                if file.size > _KEY_FILE_BYTES_MAX:
                    raise EncryptionRejection(f"{where}: expected at most {_KEY_FILE_BYTES_MAX} bytes, got {file.size}")
                self._unlocked = self._identities.unlock(file.read(), where)
            return self._unlocked

    def entry(self, path: str = "") -> Entry:
        return _plain(super().entry(path))

    def entries(self, path: str = "") -> list[Entry]:
        return [_plain(entry) for entry in super().entries(path)]

    def file_of(self, entry: Entry) -> File:
        return super().file_of(entry) if entry.path == KEY_FILE else DecryptedFile(self, entry)


def _plain(entry: Entry) -> Entry:
    if entry.is_folder or entry.path == KEY_FILE:
        return entry
    return replace(entry, size=plain_size(entry.size, entry.path))


class DecryptedFile(File):
    """A file in the clear, over its encrypted one."""

    decrypts = True

    def __init__(self, dataset: DecryptedDataset, entry: Entry) -> None:
        """``entry`` tells the plain size."""
        super().__init__(dataset, entry)
        self.frames = max(1, -(-entry.size // FRAME))
        self.encrypted = File(dataset, replace(entry, size=HEADER + entry.size + self.frames * TAG))
        self._key = dataset
        self._cipher: Any = None

    def leaves(self, start: int = 0, end: int | None = None) -> Iterator[Leaf]:
        """The frames that hold plain bytes ``start`` to ``end``; they have no CIDs."""
        end = self.size if end is None else min(end, self.size)
        for offset in range(start // FRAME * FRAME, end, FRAME):
            yield Leaf(None, offset, min(FRAME, self.size - offset))

    def widened(self, start: int, end: int) -> tuple[File, int, int]:
        first, last = start // FRAME, -(-end // FRAME)
        if start >= end:
            return self.encrypted, 0, 0
        return self.encrypted, HEADER + first * (FRAME + TAG), min(HEADER + last * (FRAME + TAG), self.encrypted.size)

    def narrowed(self, start: int, end: int, data: bytes) -> bytes:
        if start >= end:
            return b""
        base = start // FRAME
        opened = [
            self.open_frame(base + number, data[at : at + FRAME + TAG])
            for number, at in enumerate(range(0, len(data), FRAME + TAG))
        ]
        return b"".join(opened)[start - base * FRAME : end - base * FRAME]

    def open_frame(self, frame: int, data: bytes) -> bytes:
        """The plain bytes of a frame. Raises :class:`EncryptionRejection`."""
        if self._cipher is None:
            self._cipher = self._key.key.file_cipher(self.encrypted.read(0, HEADER), self.entry.path)
        nonce = frame.to_bytes(11, "big") + bytes([frame + 1 == self.frames])
        try:
            return bytes(self._cipher.decrypt(nonce, data, None))
        except _extra("cryptography.exceptions").InvalidTag:
            raise EncryptionRejection(
                f"{self.entry.path}: frame {frame} of {self.frames} is not what was encrypted there: "
                "changed, moved, cut, or of another file"
            ) from None

    def stream(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        end = self.size if end is None else min(end, self.size)
        _, at, to = self.widened(start, end)
        held = bytearray()
        done = start
        if self.size == 0:  # that it is meant to be empty is proven as well
            self.open_frame(0, self.encrypted.read(HEADER))
        for piece in self.encrypted.stream(at, to):
            held += piece
            while done < end and (len(held) >= FRAME + TAG or at + len(held) == to):
                sealed = bytes(held[: FRAME + TAG])
                del held[: FRAME + TAG]
                at += len(sealed)
                frame = done // FRAME
                stop = min(end, (frame + 1) * FRAME)
                yield self.open_frame(frame, sealed)[done - frame * FRAME : stop - frame * FRAME]
                done = stop


def _parse_keys(data: bytes, where: str) -> tuple[bytes, dict[str, bytes]]:
    def wrong(what: str, expected: str, got: object) -> EncryptionRejection:
        return EncryptionRejection(f"{where}: {what}: expected {expected}, got {str(got)[:80]}")

    try:
        written = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise wrong("JSON", "the fields of a key file", error) from None
    fields = {"format", "version", "key_id", "grants"}
    if not isinstance(written, dict) or set(written) != fields:
        raise wrong("fields", ", ".join(sorted(fields)), written)
    if written["format"] != "cairn-keys" or written["version"] != 1 or isinstance(written["version"], bool):
        raise wrong("format", "cairn-keys of version 1", f"{written['format']} {written['version']}")
    if not isinstance(written["key_id"], str) or not re.fullmatch("[0-9a-f]{32}", written["key_id"]):
        raise wrong("key_id", "32 lower-case hex digits", written["key_id"])
    if not isinstance(written["grants"], list) or not 1 <= len(written["grants"]) <= _GRANTS_MAX:
        raise wrong("grants", f"1 to {_GRANTS_MAX} grants", written["grants"])
    grants: dict[str, bytes] = {}
    for grant in written["grants"]:
        if not isinstance(grant, dict) or set(grant) != {"recipient", "wrapped"}:
            raise wrong("grant", "recipient and wrapped", grant)
        recipient, wrapped = grant["recipient"], grant["wrapped"]
        if not isinstance(recipient, str) or not isinstance(wrapped, str) or recipient in grants:
            raise wrong("grant", "each recipient once, with text", recipient)
        try:
            grants[recipient] = base64.b64decode(wrapped, validate=True)
        except (binascii.Error, ValueError) as error:
            raise wrong("wrapped", "base64", error) from None
    return bytes.fromhex(written["key_id"]), grants


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field twice")
    return found


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256, one block of it."""
    return hmac.digest(hmac.digest(salt, key, hashlib.sha256), info + b"\x01", hashlib.sha256)


def _extra(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ExtraMissing(
            f"decryption needs {module.partition('.')[0]}: pip install 'cairn-data[encryption]' ({error})"
        ) from None


__all__ = ["KEY_FILE", "DatasetKey", "DecryptedDataset", "DecryptedFile", "Identities", "plain_size"]
