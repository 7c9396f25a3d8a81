"""Blocks on disk and in memory, keyed by CID.

The disk cache is a folder that any number of processes share without locks:

1. A block is written under a temporary name and renamed: a reader sees all of it or nothing.
2. A block is hashed whenever it is read. What a crash or a failing disk damaged is removed and fetched again, so there is
   nothing to sync and nothing to repair.
3. When a process has written a sixteenth of the bound, it sweeps: the blocks that were used longest ago go, until nine
   tenths of the bound are left. One process sweeps at a time (a file lock that nobody waits for). Between two sweeps the
   folder may exceed its bound by a sixteenth per process.

Use is recorded in the file's modification time, at most once a minute.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import OrderedDict
from pathlib import Path

from .cid import BLOCK_BYTES_MAX, Bytes, Cid
from .errors import CacheError, OptionRejection

try:
    import fcntl
except ImportError:  # not a Unix: two sweeps at once remove more than needed, and nothing worse
    fcntl = None  # type: ignore[assignment]

_BOUND_MIN = 16 * BLOCK_BYTES_MAX
_TOUCH_SECONDS = 60.0
_ABANDONED_SECONDS = 3600.0


class DiskCache:
    """A bounded folder of blocks."""

    def __init__(self, folder: str | os.PathLike[str], bytes_max: int = 10 << 30) -> None:
        """``bytes_max``: bound of the folder in bytes, at least 32 MiB."""
        if bytes_max < _BOUND_MIN:
            raise OptionRejection(f"cache_bytes is {bytes_max}; expected at least {_BOUND_MIN}")
        self.folder = Path(folder)
        self.bytes_max = bytes_max
        self._written = bytes_max  # so that the first write looks at what is there
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"cannot make the cache folder {self.folder}: {error}") from error

    def _path(self, cid: Cid) -> Path:
        name = str(cid)
        return self.folder / name[-2:] / name

    def has(self, cid: Cid) -> bool:
        """Whether there is a file for the block. Nobody has looked into it."""
        return self._path(cid).exists()

    def get(self, cid: Cid) -> bytes | None:
        """The block, verified; or nothing."""
        path = self._path(cid)
        try:
            with path.open("rb") as file:
                block = file.read(BLOCK_BYTES_MAX + 1)
                used = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        if not cid.matches(block):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if time.time() - used > _TOUCH_SECONDS:
            with contextlib.suppress(OSError):
                os.utime(path)
        return block

    def put(self, cid: Cid, block: Bytes) -> None:
        """Keeps a block that the caller has verified. A full disk costs the cache, not the read."""
        path = self._path(cid)
        temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}-{path.name}")
        try:
            path.parent.mkdir(exist_ok=True)
            temporary.write_bytes(block)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        self._written += len(block)
        if self._written > self.bytes_max // 16:
            self._written = 0
            self._sweep()

    def _sweep(self) -> None:
        lock = os.open(self.folder / ".sweep", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._remove_oldest()
        except BlockingIOError:
            return
        finally:
            os.close(lock)

    def _remove_oldest(self) -> None:
        blocks: list[tuple[float, int, str]] = []
        abandoned = time.time() - _ABANDONED_SECONDS
        for folder in os.scandir(self.folder):
            if not folder.is_dir():
                continue
            for entry in os.scandir(folder.path):
                with contextlib.suppress(OSError):
                    stat = entry.stat()
                    if not entry.name.startswith("."):
                        blocks.append((stat.st_mtime, stat.st_size, entry.path))
                    elif stat.st_mtime < abandoned:
                        Path(entry.path).unlink()
        total = sum(size for _, size, _ in blocks)
        if total <= self.bytes_max:
            return
        for _, size, path in sorted(blocks):
            if total <= self.bytes_max // 10 * 9:
                return
            with contextlib.suppress(OSError):
                Path(path).unlink()
                total -= size

    def __reduce__(self) -> tuple[type[DiskCache], tuple[str, int]]:
        return (DiskCache, (str(self.folder), self.bytes_max))


class MemoryCache:
    """The blocks used last, at most ``bytes_max`` bytes of them. Thread-safe."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, cid: Cid) -> bytes | None:
        """The block, or nothing."""
        with self._lock:
            block = self._blocks.get(cid.digest)
            if block is not None:
                self._blocks.move_to_end(cid.digest)
            return block

    def put(self, cid: Cid, block: bytes) -> None:
        """Keeps a block that the caller has verified."""
        if len(block) > self._bytes_max:
            return
        with self._lock:
            old = self._blocks.pop(cid.digest, b"")
            self._blocks[cid.digest] = block
            self._bytes += len(block) - len(old)
            while self._bytes > self._bytes_max:
                _, oldest = self._blocks.popitem(last=False)
                self._bytes -= len(oldest)
