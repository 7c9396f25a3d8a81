"""Datasets: from a root CID and a path to a file and its leaves, without trust.

Only the nodes on the way are fetched, each once: a folder of a million entries costs one shard per level of its hash trie,
and a range of a terabyte file costs one node per level. A path that is not there is proven absent by the folder itself.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from .cid import RAW, Cid
from .engine import Engine, Target
from .errors import ConcurrentUse, NodeRejection, NotAFile, NotAFolder, NotInDataset, RequestRejection
from .fetch import Leaf
from .unixfs import FILE_DEPTH_MAX, SHARD_DEPTH_MAX, FileNode, FolderNode, Link, ShardNode, name_slot

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .client import Client

_FOLDER_DEPTH_MAX = 64
_SEQUENTIAL_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of a dataset."""

    path: str
    """Path in the dataset, names separated by ``/``; empty for the root."""
    cid: Cid
    is_folder: bool
    size: int
    """Bytes of a file; 0 for a folder."""


class Dataset:
    """The files below one root."""

    def __init__(self, client: Client, root: Cid) -> None:
        self.client = client
        self.root = root

    def entry(self, path: str = "") -> Entry:
        """What is at ``path``. Raises :class:`NotInDataset`, FetchError, NodeRejection."""
        names = split_path(path)
        cid, tsize = self.root, -1
        for depth, name in enumerate(names):
            link = self._child(cid, name, "/".join(names[:depth]))
            cid, tsize = link.cid, link.tsize
        return self._entries([("/".join(names), cid, tsize)])[0]

    def entries(self, path: str = "") -> list[Entry]:
        """Entries of a folder, names ascending. Raises :class:`NotAFolder` for a file."""
        entry = self.entry(path)
        if not entry.is_folder:
            raise NotAFolder(f"{path!r} of {self.root} is a file")
        prefix = f"{entry.path}/" if entry.path else ""
        links = sorted(self._links(entry.cid), key=lambda link: link.name.encode())
        return self._entries([(prefix + link.name, link.cid, link.tsize) for link in links])

    def walk(self, path: str = "") -> Iterator[Entry]:
        """All files at or below ``path``, folder by folder."""
        entry = self.entry(path)
        if not entry.is_folder:
            yield entry
            return
        for child in self.entries(path):
            if child.is_folder:
                if child.path.count("/") > _FOLDER_DEPTH_MAX:
                    raise NodeRejection(f"{self.root} has more than {_FOLDER_DEPTH_MAX} levels of folders")
                yield from self.walk(child.path)
            else:
                yield child

    def file(self, path: str = "") -> File:
        """A file to read. Raises :class:`NotAFile` for a folder."""
        entry = self.entry(path)
        if entry.is_folder:
            raise NotAFile(f"{path!r} of {self.root} is a folder")
        return self.file_of(entry)

    def file_of(self, entry: Entry) -> File:
        """The file of an entry that was listed."""
        return File(self, entry)

    # -- nodes -------------------------------------------------------------------------------------------------------

    @property
    def _engine(self) -> Engine:
        return self.client.engine

    def _child(self, folder: Cid, name: str, path: str) -> Link:
        missing = NotInDataset(f"{f'{path}/{name}' if path else name!r} is not in {self.root}")
        for depth in range(SHARD_DEPTH_MAX):
            if folder.codec == RAW:
                raise missing
            node = self._engine.nodes(str(self.root), [(folder, depth)])[folder, depth]
            if isinstance(node, FileNode):
                raise missing
            if name in node.entries:
                return node.entries[name]
            if isinstance(node, FolderNode):
                raise missing
            deeper = node.shards.get(name_slot(name, depth))
            if deeper is None:
                raise missing
            folder = deeper
        raise missing

    def _links(self, folder: Cid) -> Iterator[Link]:
        level = [folder]
        for depth in range(SHARD_DEPTH_MAX):
            nodes = self._engine.nodes(str(self.root), [(cid, depth) for cid in level])
            level = []
            for node in nodes.values():
                if isinstance(node, FileNode):
                    raise NodeRejection(f"{folder} has a file in the place of a shard")
                yield from node.entries.values()
                if isinstance(node, ShardNode):
                    level.extend(node.shards.values())
            if not level:
                return

    def _entries(self, found: Sequence[tuple[str, Cid, int]]) -> list[Entry]:
        """Looks at the nodes that tell files from folders, all together."""
        nodes = self._engine.nodes(str(self.root), [(cid, 0) for _, cid, _ in found if cid.codec != RAW])
        entries = []
        for path, cid, tsize in found:
            if cid.codec != RAW:
                node = nodes[cid, 0]
                size = node.size if isinstance(node, FileNode) else 0
                entries.append(Entry(path, cid, not isinstance(node, FileNode), size))
            elif tsize >= 0:
                entries.append(Entry(path, cid, False, tsize))
            else:  # the root is a leaf: its length is known from its bytes alone
                entries.append(Entry(path, cid, False, len(self._engine.blocks(str(self.root), [cid])[cid])))
        return entries


class File:
    """A file of a dataset. Everything it returns has been hashed against the dataset's root."""

    decrypts = False
    """Whether what is read differs from what has CIDs."""

    def __init__(self, dataset: Dataset, entry: Entry) -> None:
        self.dataset = dataset
        self.entry = entry
        self.size = entry.size
        names = "/".join(quote(name, safe="") for name in entry.path.split("/"))
        request = f"/data/{dataset.root}/{names}" if entry.path else f"/data/{dataset.root}"
        self.target = Target(str(dataset.root), request, entry.size)

    def leaves(self, start: int = 0, end: int | None = None) -> Iterator[Leaf]:
        """The leaves that hold bytes ``start`` to ``end``, in order; nodes are fetched as they are reached."""
        end = self.size if end is None else min(end, self.size)
        if start < end:
            yield from self._below(self.entry.cid, 0, self.size, start, end, 0)

    def _below(self, cid: Cid, offset: int, size: int, start: int, end: int, depth: int) -> Iterator[Leaf]:
        if cid.codec == RAW:
            yield Leaf(cid, offset, size)
            return
        engine = self.dataset.client.engine
        node = engine.nodes(self.target.dataset, [(cid, 0)])[cid, 0]
        if not isinstance(node, FileNode) or node.size != size or depth >= FILE_DEPTH_MAX:
            raise NodeRejection(f"{cid} of {self.entry.path!r}: expected a file node of {size} bytes at depth {depth}")
        touched = []
        at = offset
        for part, part_size in node.parts:
            if at < end and at + part_size > start:
                touched.append((part, at, part_size))
            at += part_size
        inner = [(part, 0) for part, _, _ in touched if part.codec != RAW]
        if 1 < len(inner) <= 64:
            engine.nodes(self.target.dataset, inner)  # together, before they are needed one by one
        for part, at, part_size in touched:
            yield from self._below(part, at, part_size, start, end, depth + 1)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``start`` to ``end``, clamped to the file. Raises FetchError."""
        return self.dataset.client.read_ranges([(self, start, self.size if end is None else end)])[0]

    def widened(self, start: int, end: int) -> tuple[File, int, int]:
        """The range that is fetched for a range that is read: of this file, the same."""
        return self, start, end

    def narrowed(self, start: int, end: int, data: bytes) -> bytes:
        """The range that was read, of what :meth:`widened` made fetch."""
        return data

    def stream(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The same bytes in pieces of at most a leaf, fetched ahead by a bounded window."""
        end = self.size if end is None else min(end, self.size)
        client = self.dataset.client
        leaves = self.leaves(start, end) if client.options.verify else _spans(start, end)
        if client.options.verify == "manifest":
            leaves = client.descriptions.finer_stream(client.engine, self, start, end, leaves)
        for leaf, data in client.engine.stream(self.target, leaves):
            first, last = max(start - leaf.offset, 0), min(end, leaf.end) - leaf.offset
            yield data if (first, last) == (0, len(data)) else data[first:last]

    def open(self) -> FileReader:
        """A file object: seekable, buffered, exact."""
        return FileReader(self)


def _spans(start: int, end: int) -> Iterator[Leaf]:
    for offset in range(start, end, 1 << 20):
        yield Leaf(None, offset, min(1 << 20, end - offset))


class _RawReader(io.RawIOBase):
    """Reads of a file. After 4 MiB of purely sequential reading it fetches ahead; one seek ends that."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._at = 0
        self._sequential = 0
        self._stream: Iterator[bytes] | None = None
        self._stream_at = 0
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise RequestRejection(f"seek to {base + offset}")
        if base + offset != self._at:
            self._at = base + offset
            self._sequential = 0
            self._end_stream()
        return self._at

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        self._left = memoryview(b"")
        if stream is not None:
            stream.close()  # type: ignore[attr-defined]

    def close(self) -> None:
        self._end_stream()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._file.size - self._at)
        if count <= 0:
            return 0
        if self._sequential >= _SEQUENTIAL_BYTES:
            count = self._from_stream(view[:count])
        else:
            if count <= io.DEFAULT_BUFFER_SIZE:
                # A buffer that is filled, not a wish: stop where the leaf stops.
                leaf = next(self._file.leaves(self._at, self._at + 1), None)
                count = min(count, leaf.end - self._at) if leaf is not None else count
            view[:count] = self._file.read(self._at, self._at + count)
        self._at += count
        self._sequential += count
        return count

    def _from_stream(self, view: memoryview) -> int:
        if self._stream is None:
            self._stream = self._file.stream(self._at)
        if not self._left:
            self._left = memoryview(next(self._stream))
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


class FileReader(io.BufferedReader):
    """A file object over :class:`File`, with the attributes that data libraries look for.

    A seek and the read after it are two steps. A thread that seeks and then reads, while another has seeked in between,
    would read from the wrong place without noticing (DuckDB's Python file systems do that); here it gets
    :class:`ConcurrentUse`.
    """

    def __init__(self, file: File) -> None:
        super().__init__(_RawReader(file))
        self._step = threading.RLock()
        self._moves = 0
        self._seeks: dict[int, int] = {}  # by thread: its seek that no read followed yet
        self.file = file
        self.size = file.size
        self.path = file.entry.path

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with self._step:
            at = super().seek(offset, whence)
            self._moves += 1
            self._seeks[threading.get_ident()] = self._moves
            return at

    def read(self, size: int | None = -1) -> bytes:
        with self._step:
            self._before_read()
            return super().read(size)

    def read1(self, size: int = -1) -> bytes:
        with self._step:
            self._before_read()
            return super().read1(size)

    def readinto(self, buffer: WriteableBuffer) -> int:
        with self._step:
            self._before_read()
            return super().readinto(buffer)

    def readinto1(self, buffer: WriteableBuffer) -> int:
        with self._step:
            self._before_read()
            return super().readinto1(buffer)

    def _before_read(self) -> None:
        seek = self._seeks.pop(threading.get_ident(), None)
        if seek is None:
            self._seeks.clear()  # reads on where another thread left off
        elif seek != self._moves:
            raise ConcurrentUse(f"{self.path}: another thread moved the position between this thread's seek and read")
        self._moves += 1

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopen, (self.file.dataset.client, str(self.file.dataset.root), self.path, self.tell()))


def _reopen(client: Client, root: str, path: str, at: int) -> FileReader:
    reader = client.dataset(root).file(path).open()
    reader.seek(at)
    return reader


def split_path(path: str) -> list[str]:
    """Names of a path. Raises :class:`RequestRejection` for names that no file has."""
    names = [name for name in path.strip("/").split("/") if name]
    if any(name in (".", "..") or "\0" in name for name in names):
        raise RequestRejection(f"path {path!r}: `.`, `..` and NUL are in no dataset")
    return names
