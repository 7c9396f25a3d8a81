"""Reads below a leaf, still verified: SHA-256 of every 64 KiB of a file, in tables that a signed manifest names.

A leaf of 1 MiB has one SHA-256 and can be checked whole alone. What a part of it can be checked by, in bytes per read of 4 KiB:

=======================================  =====================================================================================
the leaf                                 1,048,576
CommP proof down to a node               4,096 and about 30 nodes of 32 bytes; but each read asks for a proof, SHA-256 in Python
                                         is called for each 64 bytes, and only providers with the piece can answer
a table of SHA-256 per 64 KiB            65,536, and once per 128 MiB of a file its table: 512 bytes per MiB, at most 65,536
the same per 16 KiB                      16,384, but tables four times as long: 0.2 % of the data instead of 0.05 %
=======================================  =====================================================================================

1. A table holds the digests of at most 2,048 blocks, 128 MiB of a file; it is a raw block named by its own CID. The manifest
   lists the CIDs (``cairn:blockTables``). Files of at most one block need none.
2. ``cairn-data manifest --blocks FOLDER`` writes tables as files there. Any gateway that serves the folder serves them.
3. A reader with ``verify="manifest"`` fetches a leaf that it needs all of as a leaf. Of any other it fetches blocks; a digest
   is the CID of a raw block, so caches, failover and blacklisting are those of leaves.
4. Without its table (nobody serves it), a leaf is fetched whole: that costs bytes and nothing else.

Who is trusted: the leaf's CID follows from the root, a block's digest from the manifest's signer alone. The signer could make
readers take bytes that are not the root's; providers cannot. A signer's wrong digest looks like wrong bytes of every provider.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cid import RAW, Cid
from .errors import CidRejection, FetchError, ManifestRejection
from .fetch import Leaf

if TYPE_CHECKING:
    from .dataset import File
    from .engine import Engine

BLOCK_BYTES = 64 << 10
"""Length of every block of a file but its last, in bytes."""
TABLE_BLOCKS = 2048
"""Blocks in every table of a file but its last."""


class TableWriter:
    """Makes the tables of one file from its bytes, front to back."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where tables are written, each under its CID; it must be there."""
        self._folder = folder
        self._digest = hashlib.sha256()
        self._filled = 0
        self._table = bytearray()
        self._tables: list[str] = []
        self._size = 0

    def update(self, data: bytes) -> None:
        """Adds the next bytes of the file."""
        view = memoryview(data)
        self._size += len(view)
        while view:
            part = view[: BLOCK_BYTES - self._filled]
            self._digest.update(part)
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == BLOCK_BYTES:
                self._end_block()

    def _end_block(self) -> None:
        self._table += self._digest.digest()
        self._digest, self._filled = hashlib.sha256(), 0
        if len(self._table) == 32 * TABLE_BLOCKS:
            self._end_table()

    def _end_table(self) -> None:
        table = bytes(self._table)
        self._table.clear()
        cid = Cid.of(RAW, table)
        (self._folder / str(cid)).write_bytes(table)
        self._tables.append(str(cid))

    def finish(self) -> list[str]:
        """The CIDs of the file's tables; none for a file of one block."""
        if self._size <= BLOCK_BYTES:
            return []
        if self._filled:
            self._end_block()
        if self._table:
            self._end_table()
        return self._tables


@dataclass(frozen=True, slots=True)
class Described:
    """What a manifest says of one file."""

    cid: Cid
    size: int
    tables: tuple[Cid, ...]
    piece: tuple[str, int] | None
    """CID of a piece that holds the file, and where it begins there."""


class Descriptions:
    """The files of manifests whose signatures were checked, by root and path."""

    def __init__(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Raises :class:`ManifestRejection`."""
        self._files: dict[str, dict[str, Described]] = {}
        self._start()
        for document in documents:
            root = str(document.get("cairn:root"))
            files = self._files.setdefault(root, {})
            for each in document.get("distribution", []):
                files[str(each.get("cairn:path"))] = _described(each)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._unserved: set[Cid] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"_files": self._files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def file(self, root: str, path: str) -> Described:
        """What is said of a file. Raises :class:`ManifestRejection` if nothing is."""
        found = self._files.get(root, {}).get(path)
        if found is None:
            what = "does not list it" if root in self._files else "is there for this dataset"
            raise ManifestRejection(f"{path!r} of {root}: {'the' if root in self._files else 'no'} manifest {what}")
        return found

    def finer(self, engine: Engine, ranges: Sequence[tuple[File, int, int]], plans: Sequence[list[Leaf]]) -> list[list[Leaf]]:
        """Plans with blocks in place of each leaf that the ranges, all together, do not need whole.

        Raises :class:`ManifestRejection`.
        """
        touched: dict[tuple[str, int], set[int]] = {}
        split: dict[tuple[str, int], tuple[File, Described]] = {}
        for (file, start, end), leaves in zip(ranges, plans, strict=True):
            described = self._checked(file)
            for leaf in leaves:
                if _splits(leaf, described) and not (leaf.cid is not None and engine.holds(leaf.cid)):
                    key = (file.target.path, leaf.offset)
                    touched.setdefault(key, set()).update(_numbers(leaf, start, end))
                    if len(touched[key]) < len(_numbers(leaf, leaf.offset, leaf.end)):
                        split[key] = (file, described)
                    else:
                        split.pop(key, None)
        tables = self._tables(engine, split, touched)
        found = []
        for (file, start, end), leaves in zip(ranges, plans, strict=True):
            plan: list[Leaf] = []
            for leaf in leaves:
                key = (file.target.path, leaf.offset)
                numbers = _numbers(leaf, start, end)
                if key in split and all((file.target.path, number // TABLE_BLOCKS) in tables for number in touched[key]):
                    plan.extend(_block(file, number, tables[file.target.path, number // TABLE_BLOCKS]) for number in numbers)
                else:
                    plan.append(leaf)
            found.append(plan)
        return found

    def finer_stream(self, engine: Engine, file: File, start: int, end: int, leaves: Iterator[Leaf]) -> Iterator[Leaf]:
        """The same for the leaves of one range, as they come."""
        for leaf in leaves:
            if start <= leaf.offset and leaf.end <= end:
                yield leaf
            else:
                yield from self.finer(engine, [(file, start, end)], [[leaf]])[0]

    def _checked(self, file: File) -> Described:
        described = self.file(file.target.dataset, file.entry.path)
        if (described.cid, described.size) != (file.entry.cid, file.entry.size):
            raise ManifestRejection(
                f"{file.entry.path!r}: the manifest says {described.cid}, {described.size} bytes; "
                f"the dataset {file.entry.cid}, {file.entry.size}"
            )
        return described

    def _tables(
        self,
        engine: Engine,
        split: Mapping[tuple[str, int], tuple[File, Described]],
        touched: Mapping[tuple[str, int], set[int]],
    ) -> dict[tuple[str, int], bytes]:
        """Tables by request path and number, as far as anybody serves them."""
        tables: dict[tuple[str, int], bytes] = {}
        for key, (file, described) in split.items():
            for number in sorted({block // TABLE_BLOCKS for block in touched[key]}):
                cid = described.tables[number]
                with self._lock:
                    unserved = cid in self._unserved
                if unserved or (key[0], number) in tables:
                    continue
                try:
                    # Under a name of its own: who has no tables may well have the dataset.
                    table = engine.blocks(f"tables of {file.target.dataset}", [cid])[cid]
                except FetchError:
                    with self._lock:
                        self._unserved.add(cid)
                    continue
                expected = min(TABLE_BLOCKS, _count(described.size) - number * TABLE_BLOCKS)
                if len(table) != 32 * expected:
                    raise ManifestRejection(f"table {cid} of {file.entry.path!r}: {len(table)} bytes; expected {32 * expected}")
                tables[key[0], number] = table
        return tables


def _count(size: int) -> int:
    return -(-size // BLOCK_BYTES)


def _splits(leaf: Leaf, described: Described) -> bool:
    whole = leaf.offset % BLOCK_BYTES == 0 and (leaf.end % BLOCK_BYTES == 0 or leaf.end == described.size)
    return bool(described.tables) and whole and leaf.size > BLOCK_BYTES


def _numbers(leaf: Leaf, start: int, end: int) -> range:
    """Blocks of a leaf that hold bytes ``start`` to ``end``."""
    return range(max(start, leaf.offset) // BLOCK_BYTES, _count(min(end, leaf.end)))


def _block(file: File, number: int, table: bytes) -> Leaf:
    at = number % TABLE_BLOCKS * 32
    offset = number * BLOCK_BYTES
    return Leaf(Cid(RAW, table[at : at + 32]), offset, min(BLOCK_BYTES, file.entry.size - offset))


def _described(each: Any) -> Described:
    try:
        cid, size = Cid.parse(each["cairn:unixfsRoot"]), each["cairn:size"]
        tables = tuple(Cid.parse(text) for text in each.get("cairn:blockTables", []))
        piece = (each["cairn:pieceCid"], each.get("cairn:pieceOffset", 0)) if "cairn:pieceCid" in each else None
    except (KeyError, TypeError, AttributeError, CidRejection) as error:
        raise ManifestRejection(f"a file of the manifest is malformed: {error!r}") from None
    if piece is not None and not (isinstance(piece[0], str) and type(piece[1]) is int and piece[1] >= 0):
        raise ManifestRejection(f"{each.get('cairn:path')!r}: piece {piece[0]!r} at {piece[1]!r}; expected a CID and a byte")
    if type(size) is not int or size < 0 or any(table.codec != RAW for table in tables):
        raise ManifestRejection(f"{each.get('cairn:path')!r}: expected a length, and tables that are raw blocks")
    if tables and (each.get("cairn:blockBytes") != BLOCK_BYTES or len(tables) != -(-_count(size) // TABLE_BLOCKS)):
        raise ManifestRejection(
            f"{each.get('cairn:path')!r}: {len(tables)} tables of blocks of {each.get('cairn:blockBytes')!r} bytes; "
            f"expected {-(-_count(size) // TABLE_BLOCKS)} of {BLOCK_BYTES}"
        )
    return Described(cid, size, tables, piece)


__all__ = ["BLOCK_BYTES", "TABLE_BLOCKS", "Described", "Descriptions", "TableWriter"]
