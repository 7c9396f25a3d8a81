"""How fast this machine verifies, and how fast providers answer."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict
from typing import Any

from .cid import LEAF_BYTES, RAW, Cid
from .client import Client
from .dataset import File


def verify_throughput(size: int = 256 << 20) -> float:
    """Bytes per second at which one core checks leaves against their CIDs."""
    leaf = hashlib.shake_128(b"leaf").digest(LEAF_BYTES)
    cid = Cid.of(RAW, leaf)
    started = time.process_time()
    for _ in range(size // LEAF_BYTES):
        cid.check(leaf)
    return size / max(time.process_time() - started, 1e-9)


def read_throughput(client: Client, file: File) -> dict[str, Any]:
    """Reads a file front to back and throws it away: bytes, seconds, processor seconds, and the client's counts."""
    started, used = time.perf_counter(), time.process_time()
    size = sum(len(piece) for piece in file.stream())
    seconds, busy = time.perf_counter() - started, time.process_time() - used
    return {
        "bytes": size,
        "seconds": round(seconds, 3),
        "processor_seconds": round(busy, 3),
        "bytes_per_second": round(size / max(seconds, 1e-9)),
        "bytes_per_processor_second": round(size / max(busy, 1e-9)),
        "stats": asdict(client.stats()),
        "providers": client.report(),
    }
