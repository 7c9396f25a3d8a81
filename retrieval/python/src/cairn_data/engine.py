"""What a client has in one process: caches, providers, threads, and reads that share work.

A read goes through these steps:

1. Which leaves hold the ranges (:mod:`~cairn_data.dataset` knows, from verified nodes). Each leaf is wanted once, however
   many ranges touch it.
2. Leaves in memory or on disk are taken from there.
3. Leaves that another thread of this process is fetching are waited for, after our own: nobody waits in a circle.
4. The rest is fetched. Neighbours travel in one range; what lies between two ranges is never fetched.

After a fork the child makes an engine of its own (:class:`~cairn_data.client.Client` compares process ids): locks and
sockets of the parent are never touched.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .cache import DiskCache, MemoryCache
from .cid import Cid
from .errors import NodeRejection
from .fetch import Fetch, Job, Leaf, Options, Shared
from .transport import Provider
from .unixfs import Node, decode_node

_NODES_KEPT = 4096
_NODE_CACHE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """An object that ranges are asked of."""

    dataset: str
    """Root of the dataset, as text."""
    path: str
    """Request path."""
    size: int
    """Length in bytes."""


class _Slot:
    """A leaf that a thread of this process is fetching."""

    __slots__ = ("data", "done")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.data: bytes | None = None


class Engine:
    """One process's state of a client. Thread-safe."""

    def __init__(self, urls: Sequence[str], options: Options, disk: DiskCache | None) -> None:
        providers = [Provider(url, options.timeout_seconds) for url in dict.fromkeys(urls)]
        self.shared = Shared(providers, options, self._keep)
        self.options = options
        self.disk = disk
        self.memory = MemoryCache(options.memory_bytes)
        self._node_blocks = MemoryCache(_NODE_CACHE_BYTES)
        self._nodes: OrderedDict[tuple[Cid, int], Node] = OrderedDict()
        self._slots: dict[bytes, _Slot] = {}

    # -- nodes -------------------------------------------------------------------------------------------------------

    def nodes(self, dataset: str, wanted: Iterable[tuple[Cid, int]]) -> dict[tuple[Cid, int], Node]:
        """Interior nodes by CID and shard depth, verified and decoded. Raises FetchError, NodeRejection."""
        wanted = list(dict.fromkeys(wanted))
        found: dict[tuple[Cid, int], Node] = {}
        with self.shared.lock:
            for key in wanted:
                node = self._nodes.get(key)
                if node is not None:
                    self._nodes.move_to_end(key)
                    found[key] = node
        missing = [key for key in wanted if key not in found]
        if missing:
            blocks = self.blocks(dataset, [cid for cid, _ in missing])
            for cid, depth in missing:
                found[cid, depth] = decode_node(cid, blocks[cid], depth)
            with self.shared.lock:
                for key in missing:
                    self._nodes[key] = found[key]
                while len(self._nodes) > _NODES_KEPT:
                    self._nodes.popitem(last=False)
        return found

    def blocks(self, dataset: str, cids: Iterable[Cid]) -> dict[Cid, bytes]:
        """Whole blocks, verified. Raises FetchError."""
        blocks: dict[Cid, bytes] = {}
        jobs = []
        for cid in dict.fromkeys(cids):
            held = self._node_blocks.get(cid) or (self.disk.get(cid) if self.disk else None)
            if held is not None:
                blocks[cid] = held
                continue

            def deliver(leaf: Leaf, data: bytes) -> None:
                assert leaf.cid is not None
                blocks[leaf.cid] = data
                self._node_blocks.put(leaf.cid, data)

            jobs.append(Job(dataset, f"/ipfs/{cid}?format=raw", None, [Leaf(cid, 0, -1)], deliver))
        self._run(jobs)
        return blocks

    # -- leaves ------------------------------------------------------------------------------------------------------

    def _keep(self, leaf: Leaf, data: bytes) -> None:
        """Called by workers for every verified leaf and node."""
        if self.disk is not None and leaf.cid is not None:
            self.disk.put(leaf.cid, data)

    def holds(self, cid: Cid) -> bool:
        """Whether a block is in memory or seems to be on disk."""
        return self.memory.get(cid) is not None or (self.disk is not None and self.disk.has(cid))

    def _held(self, leaf: Leaf) -> bytes | None:
        if leaf.cid is None:
            return None
        data = self.memory.get(leaf.cid)
        if data is None and self.disk is not None:
            data = self.disk.get(leaf.cid)
            if data is not None:
                self.memory.put(leaf.cid, data)
        if data is not None and len(data) != leaf.size:
            raise NodeRejection(f"leaf {leaf.cid} has {len(data)} bytes; its file's node says {leaf.size}")
        return data

    def leaves(self, wanted: Sequence[tuple[Target, Leaf]]) -> dict[tuple[str, int], bytes]:
        """Leaves by request path and offset. Raises FetchError."""
        found: dict[tuple[str, int], bytes] = {}
        ours: list[tuple[Target, Leaf]] = []
        theirs: list[tuple[Target, Leaf, _Slot]] = []
        same: list[tuple[Target, Leaf]] = []
        mine: dict[bytes, _Slot] = {}
        try:
            for target, leaf in wanted:
                data = self._held(leaf)
                if data is not None:
                    self._count(cached=leaf.size)
                    found[target.path, leaf.offset] = data
                    continue
                if leaf.cid is None:
                    ours.append((target, leaf))
                    continue
                with self.shared.lock:
                    slot = self._slots.get(leaf.cid.digest)
                    if slot is None:
                        self._slots[leaf.cid.digest] = mine[leaf.cid.digest] = _Slot()
                        ours.append((target, leaf))
                    elif leaf.cid.digest in mine:
                        same.append((target, leaf))
                    else:
                        theirs.append((target, leaf, slot))
            self._fetch_leaves(ours, found, mine)
        finally:
            with self.shared.lock:
                for digest, slot in mine.items():
                    del self._slots[digest]
                    slot.done.set()
        by_digest = {leaf.cid.digest: found[target.path, leaf.offset] for target, leaf in ours if leaf.cid}
        for target, leaf in same:
            assert leaf.cid is not None
            found[target.path, leaf.offset] = by_digest[leaf.cid.digest]
        for target, leaf, slot in theirs:
            slot.done.wait()
            if slot.data is not None:
                self._count(cached=leaf.size)
                found[target.path, leaf.offset] = slot.data
            else:  # their fetch failed, with their providers at their time: ask ourselves
                self._fetch_leaves([(target, leaf)], found, {})
        return found

    def _fetch_leaves(
        self, wanted: list[tuple[Target, Leaf]], found: dict[tuple[str, int], bytes], slots: dict[bytes, _Slot]
    ) -> None:
        jobs = []
        for target, run in _runs(wanted, self.options.range_bytes):

            def deliver(leaf: Leaf, data: bytes, path: str = target.path) -> None:
                found[path, leaf.offset] = data
                if leaf.cid is not None:
                    self.memory.put(leaf.cid, data)
                    if leaf.cid.digest in slots:
                        slots[leaf.cid.digest].data = data
                        slots[leaf.cid.digest].done.set()

            self._count(needed=sum(leaf.size for leaf in run))
            jobs.append(Job(target.dataset, target.path, target.size, run, deliver))
        self._run(jobs)

    def stream(self, target: Target, leaves: Iterator[Leaf]) -> Generator[tuple[Leaf, bytes], None, None]:
        """Leaves of one object in order, fetched ahead by at most ``window_bytes``. Raises FetchError."""
        fetch = Fetch(self.shared)
        ready: dict[int, bytes] = {}
        queue: deque[Leaf] = deque()
        ahead = 0
        runs = _stream_runs(leaves, self.options)

        def deliver(leaf: Leaf, data: bytes) -> None:
            ready[leaf.offset] = data

        try:
            more = True
            while more or queue:
                while more and (not queue or ahead < self.options.window_bytes):
                    run = next(runs, None)
                    if run is None:
                        more = False
                        break
                    queue.extend(run)
                    ahead += sum(leaf.size for leaf in run)
                    missing = []
                    for leaf in run:
                        held = self._held(leaf)
                        if held is None:
                            missing.append(leaf)
                        else:
                            ready[leaf.offset] = held
                            self._count(cached=leaf.size)
                    self._count(needed=sum(leaf.size for leaf in missing))
                    for _, part in _runs([(target, leaf) for leaf in missing], self.options.range_bytes):
                        fetch.add(Job(target.dataset, target.path, target.size, part, deliver))
                if not queue:
                    break
                leaf = queue.popleft()
                offset = leaf.offset
                fetch.pump(lambda offset=offset: offset in ready)  # type: ignore[misc]
                ahead -= leaf.size
                data = ready.pop(offset)
                self._count(asked=leaf.size)
                yield leaf, data
        finally:
            fetch.close()

    # -- common ------------------------------------------------------------------------------------------------------

    def _run(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        fetch = Fetch(self.shared)
        try:
            for job in jobs:
                fetch.add(job)
            fetch.pump(lambda: not any(job.missing for job in jobs))
        finally:
            fetch.close()

    def _count(self, asked: int = 0, needed: int = 0, cached: int = 0) -> None:
        with self.shared.lock:
            self.shared.stats.bytes_asked += asked
            self.shared.stats.bytes_needed += needed
            self.shared.stats.bytes_cached += cached

    def asked(self, count: int) -> None:
        """Counts bytes that a caller asked for."""
        self._count(asked=count)


def _runs(wanted: list[tuple[Target, Leaf]], range_bytes: int) -> list[tuple[Target, list[Leaf]]]:
    """Neighbouring leaves together, at most ``range_bytes`` in one range unless one leaf is longer."""
    runs: list[tuple[Target, list[Leaf]]] = []
    for target, leaf in sorted(wanted, key=lambda item: (item[0].path, item[1].offset)):
        if runs:
            last_target, last = runs[-1]
            if last_target.path == target.path and last[-1].end == leaf.offset and leaf.end - last[0].offset <= range_bytes:
                last.append(leaf)
                continue
        runs.append((target, [leaf]))
    return runs


def _stream_runs(leaves: Iterator[Leaf], options: Options) -> Iterator[list[Leaf]]:
    """Cuts a stream into ranges; the first ones are short, so that the first bytes come soon."""
    run: list[Leaf] = []
    size, limit = 0, min(options.range_bytes, 1 << 20)
    for leaf in leaves:
        if run and size + leaf.size > limit:
            yield run
            run, size, limit = [], 0, min(limit * 2, options.range_bytes, max(options.window_bytes // 4, 1))
        run.append(leaf)
        size += leaf.size
    if run:
        yield run
