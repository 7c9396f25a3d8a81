"""DAG-CBOR of JSON-like values: the one canonical form of a manifest, which is signed and named.

Definite lengths, shortest integers, map keys as text sorted by length and then by bytes. Floats are refused, so that no two
writers can disagree about one. Encoding only: nobody here reads DAG-CBOR.
"""

from __future__ import annotations

from typing import Any

from .errors import ManifestRejection

_DEPTH_MAX = 64


def encode(value: Any, depth: int = 0) -> bytes:
    """Canonical bytes. Raises :class:`ManifestRejection` for what JSON-like values without floats cannot be."""
    if depth > _DEPTH_MAX:
        raise ManifestRejection(f"nested deeper than {_DEPTH_MAX} levels")
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return _head(3, len(data)) + data
    if isinstance(value, (list, tuple)):
        return _head(4, len(value)) + b"".join(encode(each, depth + 1) for each in value)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ManifestRejection("a map with a key that is no text")
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return _head(5, len(value)) + b"".join(encode(key) + encode(value[key], depth + 1) for key in keys)
    raise ManifestRejection(f"{type(value).__name__} {value!r:.80} has no place in a manifest")


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for code, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * width:
            return bytes([major << 5 | code]) + number.to_bytes(width, "big")
    raise ManifestRejection(f"{number} needs more than 64 bits")
