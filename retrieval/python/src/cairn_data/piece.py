"""Spot checks of pieces: whether a provider holds what the ledger pays it for, by subtrees of the tree behind CommP.

Leaves prove that bytes are the dataset's. A piece is what a provider has sealed and is paid for; that it still serves it is
checked by a range of it, for which ``/piece/{cid}/proof?range=`` proves the way up to the commitment:

1. A piece is cut into groups of 1 MiB padded, 1,040,384 bytes of payload. One is drawn, so that no provider can foresee which.
2. The proof (:class:`RangeProof`) must lead from the roots of its groups to CommP, and the bytes of the group to its root.
3. Padding (fr32) puts two zero bits behind every 254; the tree hashes pairs of nodes with SHA-256 and clears the two top bits.

A group costs about a tenth of a second of one core. What a check finds counts in :meth:`Client.report`; wrong bytes or a
wrong proof end the provider's part, as those of a leaf do. A provider that refuses may serve from a cache and hold no piece:
that is counted, and nothing more.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import BadBytes, CidRejection, Disconnected, ProofRejection, ProviderFault, RequestRejection

if TYPE_CHECKING:
    from .client import Client
    from .transport import Provider

GROUP_BYTES = 127 * 8192
"""Payload of a whole group."""
_GROUP_PADDED = 1 << 20
_PADDED_MAX = 64 << 30
_MAGIC = b"CAIRNRP1"
_HEADER_BYTES = 36
_PROOF_BYTES_MAX = 1 << 16
_V1 = bytes.fromhex("0181e203922020")  # version 1, fil-commitment-unsealed, sha2-256-trunc254-padded, 32 bytes
_V2 = bytes.fromhex("01559120")  # version 1, raw, fr32-sha256-trunc254-padbintree; then the digest's length
_FIELD_BITS = (1 << 254) - 1


@dataclass(frozen=True, slots=True)
class PieceCid:
    """The name of a piece."""

    comm_p: bytes
    payload_bytes: int | None
    """Length in bytes, which names of version 1 do not have."""
    text: str

    @classmethod
    def parse(cls, text: str) -> PieceCid:
        """Reads a piece CID of version 1 or 2. Raises :class:`CidRejection`."""
        wrong = CidRejection(f"{text[:100]!r} is no piece CID")
        body = text[1:].upper()
        if text[:1] != "b" or len(text) > 100 or text != text.lower():
            raise wrong
        try:
            binary = base64.b32decode(body + "=" * (-len(body) % 8))
        except ValueError:
            raise wrong from None
        if "b" + base64.b32encode(binary).decode().rstrip("=").lower() != text:
            raise wrong
        if binary.startswith(_V1) and len(binary) == len(_V1) + 32:
            return cls(binary[-32:], None, text)
        if not binary.startswith(_V2) or len(binary) < 5 + 34 or binary[4] != len(binary) - 5:
            raise wrong
        height = binary[-33]
        padding, shift = 0, 0
        coded = binary[5:-33]
        for at, byte in enumerate(coded):
            padding |= (byte & 0x7F) << shift
            shift += 7
            if (byte < 0x80) != (at == len(coded) - 1) or (at > 0 and byte == 0):
                raise wrong
        unpadded = (32 << height) // 128 * 127 if 2 <= height <= 31 else -1
        if padding > unpadded:
            raise wrong
        return cls(binary[-32:], unpadded - padding, text)


def _pair(left: bytes, right: bytes) -> bytes:
    digest = hashlib.sha256(left + right).digest()
    return digest[:31] + bytes([digest[31] & 0x3F])


def _zeros(padded: int) -> bytes:
    """The commitment of so many padded zero bytes."""
    node, size = bytes(32), 32
    while size < padded:
        node, size = _pair(node, node), size * 2
    return node


def padded_for(payload_bytes: int) -> int:
    """Padded length of the smallest piece for a payload."""
    padded = 128
    while padded // 128 * 127 < payload_bytes:
        padded *= 2
    return padded


def fr32(payload: bytes) -> bytes:
    """Payload of a multiple of 127 bytes with two zero bits behind every 254, numbers little-endian."""
    padded = bytearray()
    for at in range(0, len(payload), 127):
        block = int.from_bytes(payload[at : at + 127], "little")
        for place in range(4):
            padded += ((block >> 254 * place) & _FIELD_BITS).to_bytes(32, "little")
    return bytes(padded)


def subtree(payload: bytes, padded: int) -> bytes:
    """Root of a subtree of ``padded`` bytes that holds this payload and then zeros."""
    size = padded_for(len(payload))
    data = fr32(payload + bytes(-len(payload) % 127))
    level = [data[at : at + 32] for at in range(0, len(data), 32)]
    zero = bytes(32)
    nodes = size // 32
    while nodes > 1:
        if len(level) % 2:
            level.append(zero)
        level = [_pair(level[at], level[at + 1]) for at in range(0, len(level), 2)]
        zero, nodes = _pair(zero, zero), nodes // 2
    root = level[0] if level else zero
    while size < padded:
        root, zero, size = _pair(root, zero), _pair(zero, zero), size * 2
    return root


def _sibling_places(first: int, end: int, groups: int) -> Iterator[tuple[bool, bool]]:
    """For each level from the groups up: whether a run of nodes needs one on its left, and one on its right."""
    while groups > 1:
        yield first % 2 == 1, end % 2 == 1
        first, end, groups = first // 2, (end + 1) // 2, groups // 2


@dataclass(frozen=True, slots=True)
class RangeProof:
    """Roots of consecutive groups of a piece, and the siblings from there up. Checked by :meth:`verify` alone."""

    payload_bytes: int
    padded: int
    first: int
    roots: tuple[bytes, ...]
    siblings: tuple[bytes, ...]

    @classmethod
    def decode(cls, data: bytes) -> RangeProof:
        """Reads a proof, which is drawn in ``retrieval/content/src/piece_proof.rs``. Raises :class:`ProofRejection`."""
        if len(data) < _HEADER_BYTES or data[:8] != _MAGIC:
            raise ProofRejection(f"expected a range proof that begins with {_MAGIC.decode()}")
        payload_bytes, padded, first = (int.from_bytes(data[at : at + 8], "little") for at in (8, 16, 24))
        count = int.from_bytes(data[32:36], "little")
        if payload_bytes > _PADDED_MAX // 128 * 127 or padded != padded_for(payload_bytes):
            raise ProofRejection(f"no piece has {payload_bytes} bytes of payload in {padded}")
        filled = max(-(-payload_bytes // GROUP_BYTES), 1)
        if count == 0 or first + count > filled:
            raise ProofRejection(f"groups {first} to {first + count} of a piece of {filled}")
        places = list(_sibling_places(first, first + count, max(padded // _GROUP_PADDED, 1)))
        expected = _HEADER_BYTES + 32 * (count + sum(left + right for left, right in places))
        if len(data) != expected:
            raise ProofRejection(f"a range proof of {len(data)} bytes; expected {expected}")
        nodes = [data[at : at + 32] for at in range(_HEADER_BYTES, len(data), 32)]
        if any(node[31] & 0xC0 for node in nodes):
            raise ProofRejection("a node of the proof has its top bits set")
        return cls(payload_bytes, padded, first, tuple(nodes[:count]), tuple(nodes[count:]))

    def verify(self, piece: PieceCid) -> None:
        """Checks that the groups are those of the piece. Raises :class:`ProofRejection`."""
        if piece.payload_bytes not in (None, self.payload_bytes):
            raise ProofRejection(f"a proof for {self.payload_bytes} bytes; {piece.text} has {piece.payload_bytes}")
        run, siblings = list(self.roots), iter(self.siblings)
        end = self.first + len(run)
        for left, right in _sibling_places(self.first, end, max(self.padded // _GROUP_PADDED, 1)):
            run = ([next(siblings)] if left else []) + run
            run += [next(siblings)] if right else []
            run = [_pair(run[at], run[at + 1]) for at in range(0, len(run), 2)]
        if run[0] != piece.comm_p:
            raise ProofRejection(f"the proof leads to {run[0].hex()}; {piece.text} is {piece.comm_p.hex()}")

    def check(self, group: int, data: bytes) -> None:
        """Checks the bytes of one group of a verified proof. Raises :class:`ProofRejection`."""
        start, end = group * GROUP_BYTES, min((group + 1) * GROUP_BYTES, self.payload_bytes)
        if not self.first <= group < self.first + len(self.roots) or len(data) != end - start:
            raise ProofRejection(f"{len(data)} bytes for group {group}; expected {end - start}")
        if subtree(data, min(self.padded, _GROUP_PADDED)) != self.roots[group - self.first]:
            raise ProofRejection(f"bytes {start}-{end - 1} of the piece are not the piece's")


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """What one check found."""

    provider: str
    piece: str
    offset: int
    """Byte of the piece where the checked group begins."""
    fault: ProviderFault | None
    """What was wrong; :class:`BadBytes` if the provider sent what is not the piece's."""


def spot_check(
    client: Client,
    piece: str,
    start: int = 0,
    end: int | None = None,
    *,
    provider: str | None = None,
    draw: Callable[[int], int] = secrets.randbelow,
) -> SpotCheck:
    """Checks one random group among bytes ``start`` to ``end`` of a piece, at ``provider`` or a random one.

    ``end`` may be left out for a CID of version 2, which knows its length. ``draw(n)`` is below n. Raises RequestRejection,
    CidRejection; whatever a provider does is in the answer and in its report.
    """
    cid = PieceCid.parse(piece)
    length = cid.payload_bytes
    end = length if end is None else end if length is None else min(end, length)
    if end is None or not 0 <= start < end:
        raise RequestRejection(f"bytes {start} to {end} of {piece}: expected a range within the piece")
    asked = [each for each in client.engine.shared.providers if provider in (None, each.url)]
    if not asked:
        raise RequestRejection(f"{provider} is none of this client's providers")
    chosen = asked[draw(len(asked))]
    group = start // GROUP_BYTES + draw((end - 1) // GROUP_BYTES - start // GROUP_BYTES + 1)
    fault = None
    try:
        _check(chosen, cid, group, max(start, group * GROUP_BYTES))
    except ProviderFault as found:
        fault = found
    chosen.piece_checked(fault)
    return SpotCheck(chosen.url, piece, group * GROUP_BYTES, fault)


def _check(provider: Provider, piece: PieceCid, group: int, byte: int) -> None:
    target = f"/piece/{piece.text}"
    try:
        proof = RangeProof.decode(_get(provider, f"{target}/proof?range={byte}-{byte}", None))
        proof.verify(piece)
        first, end = group * GROUP_BYTES, min((group + 1) * GROUP_BYTES, proof.payload_bytes)
        if end <= first:
            raise ProofRejection(f"the piece ends at byte {proof.payload_bytes}; expected it to hold byte {byte}")
        proof.check(group, _get(provider, target, (first, end - 1, proof.payload_bytes)))
    except ProofRejection as rejection:
        raise BadBytes(provider.url, f"{target}: {rejection}") from None


def _get(provider: Provider, target: str, span: tuple[int, int, int] | None) -> bytes:
    headers = {} if span is None else {"Range": f"bytes={span[0]}-{span[1]}"}
    reply = provider.request(target, headers, lambda _socket: None)
    reply.check_status(target)
    if span is not None:
        reply.check_range(target, *span)
    buffer = memoryview(bytearray(_PROOF_BYTES_MAX if span is None else span[1] + 1 - span[0]))
    at = 0
    while at < len(buffer) and (count := reply.readinto(buffer[at:])):
        at += count
    expected = reply.response.headers.get("Content-Length")
    if expected != str(at):
        reply.connection.close()
        raise Disconnected(provider.url, f"{target} ended at byte {at} of {expected}")
    reply.finish()
    return bytes(buffer[:at])


__all__ = ["GROUP_BYTES", "PieceCid", "RangeProof", "SpotCheck", "fr32", "padded_for", "spot_check", "subtree"]
