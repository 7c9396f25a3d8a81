"""CIDs: the names of blocks.

A CID of this network is ``01 codec 12 20`` and the 32 bytes of a SHA-256, written as ``b`` and lower-case base32 without
padding. Codecs: raw leaves, dag-pb nodes, dag-cbor manifests. Anything else is refused by name.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from .errors import BlockRejection, CidRejection

Bytes = bytes | bytearray | memoryview

RAW = 0x55
DAG_PB = 0x70
DAG_CBOR = 0x71
CODECS = {RAW: "raw", DAG_PB: "dag-pb", DAG_CBOR: "dag-cbor"}

BLOCK_BYTES_MAX = 2 << 20
"""Longest block of the network, in bytes."""
LEAF_BYTES = 1 << 20
"""Length of every leaf of a file but its last, in bytes."""

_PREFIX = {codec: bytes([1, codec, 0x12, 0x20]) for codec in CODECS}


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """The name of one block."""

    codec: int
    digest: bytes

    @classmethod
    def of(cls, codec: int, data: Bytes) -> Cid:
        """The name that ``data`` has as a block of this codec."""
        return cls(codec, hashlib.sha256(data).digest())

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Reads ``bafy...``. Raises :class:`CidRejection`."""
        if text[:2] == "Qm":
            raise CidRejection(f"{text!r} is a CID of version 0; write it in version 1 (ipfs cid base32)")
        if text[:1] != "b" or not 8 <= len(text) <= 100 or text != text.lower():
            raise CidRejection(f"{text[:100]!r} is no CID: expected b and lower-case base32")
        body = text[1:].upper()
        try:
            binary = base64.b32decode(body + "=" * (-len(body) % 8))
        except ValueError:
            raise CidRejection(f"{text!r} is no CID: not base32") from None
        cid = cls.from_bytes(binary)
        if str(cid) != text:
            raise CidRejection(f"{text!r} is not the shortest form of {cid}")
        return cid

    @classmethod
    def from_bytes(cls, binary: bytes) -> Cid:
        """Reads the binary form, all of it. Raises :class:`CidRejection`."""
        if len(binary) != 36 or _PREFIX.get(binary[1]) != binary[:4]:
            raise CidRejection(
                f"{binary[:4].hex()}.. ({len(binary)} bytes) is no CID of this network: "
                "expected version 1, raw, dag-pb or dag-cbor, SHA-256"
            )
        return cls(binary[1], binary[4:])

    def to_bytes(self) -> bytes:
        """The binary form, 36 bytes."""
        return _PREFIX[self.codec] + self.digest

    def __str__(self) -> str:
        return "b" + base64.b32encode(self.to_bytes()).decode().rstrip("=").lower()

    def __repr__(self) -> str:
        return f"Cid({self})"

    def matches(self, data: Bytes) -> bool:
        """Whether ``data`` is the block of this name. Releases the interpreter lock for all but the smallest blocks."""
        return hashlib.sha256(data).digest() == self.digest

    def check(self, data: Bytes) -> None:
        """Raises :class:`BlockRejection` unless ``data`` is the block of this name."""
        if not self.matches(data):
            raise BlockRejection(f"expected block {self}, got {Cid.of(self.codec, data)}")


def is_cid(text: str) -> bool:
    """Whether a dataset is named by its root and not by an alias."""
    try:
        Cid.parse(text)
    except CidRejection:
        return False
    return True
