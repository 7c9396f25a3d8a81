"""Whole files and folders, to disk.

1. A file that is there and correct is kept; one that differs is refused unless ``overwrite`` is set, before anything moves.
2. Bytes go into ``.NAME.cairn-part`` beside the destination, each leaf at its place once it is verified.
3. An interrupted download leaves that file. The next one hashes it, leaf by leaf, and fetches what does not match: there is
   no journal that could be wrong.
4. When all leaves are there the file is synced and renamed. Nothing else ever gets the final name.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .cid import Cid
from .dataset import Dataset, Entry, File
from .errors import RequestRejection
from .fetch import Leaf

_BATCH_BYTES = 1 << 30
_FILES_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Downloaded:
    """One file of a download."""

    path: str
    destination: Path
    cid: Cid
    size: int
    kept: bool
    """Whether it was there already, complete and correct."""
    resumed: int
    """Bytes that an earlier, interrupted download had left."""


def download(
    dataset: Dataset,
    path: str,
    destination: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int], object] | None = None,
) -> list[Downloaded]:
    """Brings a file, or all files of a folder, to ``destination``. ``progress`` is told the bytes of each verified leaf.

    Raises RequestRejection if something else is in the way, FetchError, OSError.
    """
    entry = dataset.entry(path)
    if not entry.is_folder:
        return [download_file(dataset.file(path), destination, overwrite=overwrite, progress=progress)]
    base = Path(destination)
    prefix = f"{entry.path}/" if entry.path else ""
    lock = threading.Lock()

    def told(count: int) -> None:
        with lock:
            if progress is not None:
                progress(count)

    def bring(each: Entry) -> Downloaded:
        target = base.joinpath(*each.path.removeprefix(prefix).split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        return _download_file(dataset.file_of(each), target, overwrite, told)

    # Several files at a time, so that many small ones do not wait for each other's disk and network.
    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        done = list(pool.map(bring, dataset.walk(path)))
    for folder in {each.destination.parent for each in done if not each.kept}:
        _sync_folder(folder)
    return done


def download_file(
    file: File,
    destination: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Downloaded:
    """Brings one file. See :func:`download`."""
    done = _download_file(file, Path(destination), overwrite, progress or (lambda count: None))
    if not done.kept:
        _sync_folder(done.destination.parent)
    return done


def _download_file(file: File, target: Path, overwrite: bool, told: Callable[[int], object]) -> Downloaded:
    if target.exists():
        difference = compare(file, target)
        if difference is None:
            told(file.size)
            return Downloaded(file.entry.path, target, file.entry.cid, file.size, True, 0)
        if not overwrite:
            raise RequestRejection(f"{target} is there and differs ({difference}); nothing was changed")
    part = target.with_name(f".{target.name}.cairn-part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "r+b") as out:
        resumed = _fill(file, out.fileno(), told)
        out.truncate(file.size)
        os.fsync(out.fileno())
    part.replace(target)
    return Downloaded(file.entry.path, target, file.entry.cid, file.size, False, resumed)


def compare(file: File, local: Path) -> str | None:
    """What is wrong with a local copy of a file: nothing, or the first difference in words."""
    if not local.is_file():
        return "it is no file"
    size = local.stat().st_size
    if size != file.size:
        return f"{size} bytes; expected {file.size}"
    with local.open("rb") as data:
        if file.decrypts:
            at = 0
            for plain in file.stream():
                if data.read(len(plain)) != plain:
                    return f"bytes {at}-{at + len(plain) - 1} differ from what was decrypted"
                at += len(plain)
            return None
        for leaf in file.leaves():
            assert leaf.cid is not None
            block = data.read(leaf.size)
            if not leaf.cid.matches(block):
                return f"bytes {leaf.offset}-{leaf.end - 1}: expected {leaf.cid}, got {Cid.of(leaf.cid.codec, block)}"
    return None


def _fill(file: File, descriptor: int, progress: Callable[[int], object]) -> int:
    """Writes all leaves that are not there yet; says how many bytes were."""
    if file.decrypts:
        return _fill_decrypted(file, descriptor, progress)
    resumed = 0
    held = os.fstat(descriptor).st_size
    missing: list[Leaf] = []

    def bring() -> None:
        for leaf, data in _brought(file, missing):
            os.pwrite(descriptor, data, leaf.offset)
            progress(leaf.size)
        missing.clear()

    waiting = 0
    for leaf in file.leaves():
        assert leaf.cid is not None
        if leaf.end <= held and leaf.cid.matches(os.pread(descriptor, leaf.size, leaf.offset)):
            resumed += leaf.size
            progress(leaf.size)
            continue
        missing.append(leaf)
        waiting += leaf.size
        if waiting >= _BATCH_BYTES:
            bring()
            waiting = 0
    bring()
    return resumed


def _fill_decrypted(file: File, descriptor: int, progress: Callable[[int], object]) -> int:
    """Writes all plain bytes anew: an interrupted download's bytes have no CIDs to be known by; the cache holds the leaves."""
    at = 0
    with contextlib.closing(file.stream()) as stream:  # type: ignore[type-var]
        for data in stream:
            os.pwrite(descriptor, data, at)
            at += len(data)
            progress(len(data))
    return 0


def _brought(file: File, leaves: list[Leaf]) -> Iterator[tuple[Leaf, bytes]]:
    """Leaves of a file, fetched ahead within the client's window."""
    if not leaves:
        return
    with contextlib.closing(file.dataset.client.engine.stream(file.target, iter(leaves))) as stream:
        yield from stream


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["Downloaded", "compare", "download", "download_file"]
