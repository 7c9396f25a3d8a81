"""Interior nodes: dag-pb on the wire, UnixFS in meaning.

The only nodes of this network are a file of several blocks, a folder, and a shard of a large folder. The decoder takes the
canonical form alone (shortest varints, fields in order, links sorted by name), checks that sums agree and that names are
single path components, and answers everything else with a :class:`~cairn_data.errors.NodeRejection` that says where.
It never reads past a block and never allocates more than a block can hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from .cid import BLOCK_BYTES_MAX, DAG_CBOR, DAG_PB, RAW, Cid
from .errors import CidRejection, NodeRejection

_FOLDER, _FILE, _SHARD = 1, 2, 5
_KINDS = {0: "a raw node in dag-pb", 3: "a metadata node", 4: "a symlink"}
_NAME_BYTES_MAX = 255
_MURMUR3_X64_64 = 0x22
_FANOUT = 256
SHARD_DEPTH_MAX = 8
"""Levels of shards that a 64-bit hash of a name can tell apart."""
FILE_DEPTH_MAX = 6
"""Deepest tree of one file: six levels of 1024 links cover 2^60 leaves."""


@dataclass(frozen=True, slots=True)
class Link:
    """One named link of a folder: a raw leaf (a file of one block), a file node or a folder."""

    name: str
    cid: Cid
    tsize: int
    """Bytes of all blocks below; for a raw leaf the size of the file."""


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file, or a part of one: its parts in order, each with the bytes of content below it."""

    size: int
    parts: tuple[tuple[Cid, int], ...]


@dataclass(frozen=True, slots=True)
class FolderNode:
    """A folder whose entries stand in one block."""

    entries: dict[str, Link]


@dataclass(frozen=True, slots=True)
class ShardNode:
    """One shard of a large folder: entries, and shards one level down by slot."""

    entries: dict[str, Link]
    shards: dict[int, Cid]


Node = FileNode | FolderNode | ShardNode


def decode_node(cid: Cid, block: bytes, shard_depth: int = 0) -> Node:
    """The meaning of a block that is known to hash to ``cid``.

    ``shard_depth`` is the number of shards above it. Raises :class:`NodeRejection`.
    """
    if cid.codec != DAG_PB:
        raise NodeRejection(f"{cid} is no dag-pb block")
    if len(block) > BLOCK_BYTES_MAX:
        raise NodeRejection(f"{cid} has {len(block)} bytes; a block has at most {BLOCK_BYTES_MAX}")
    try:
        links, data = _decode_pb(block)
        message = _decode_message(data)
        if message.kind == _FILE:
            return _file(message, links)
        if message.kind == _FOLDER and shard_depth == 0:
            return _folder(links)
        if message.kind == _SHARD:
            return _shard(message, links, shard_depth)
    except _Wrong as wrong:
        raise NodeRejection(f"{cid}: {wrong}") from None
    kind = _KINDS.get(message.kind, f"a node of type {message.kind}")
    raise NodeRejection(f"{cid} is {kind}; expected a file of raw leaves or a folder (profile unixfs-v1-2025)")


def name_slot(name: str, depth: int) -> int:
    """Slot of a name in a shard at ``depth``: one byte of the name's 64-bit MurmurHash3, first byte first."""
    return (_murmur3_x64_64(name.encode()) >> (56 - 8 * depth)) & 0xFF


class _Wrong(Exception):
    """Why a block is no node; the caller adds which."""


class _Cursor:
    """Reads protobuf fields and knows its place."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def varint(self) -> int:
        value = shift = 0
        start = at = self.at
        while True:
            if at >= self.end or shift > 63:
                raise _Wrong(f"byte {start}: expected a varint of at most 64 bits")
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if (byte == 0 and at - start > 1) or value >> 64:
            raise _Wrong(f"byte {start}: a varint that is not in its shortest form")
        self.at = at
        return value

    def field(self) -> tuple[int, int]:
        """Start and end of a length-delimited field; the cursor moves behind it."""
        length = self.varint()
        start, end = self.at, self.at + length
        if end > self.end:
            raise _Wrong(f"byte {start}: a field of {length} bytes, but only {self.end - start} are left")
        self.at = end
        return start, end


_RawLink = tuple[Cid, str, int | None]


def _decode_pb(block: bytes) -> tuple[list[_RawLink], bytes]:
    links: list[_RawLink] = []
    last_name = b""
    cursor = _Cursor(block, 0, len(block))
    data: bytes | None = None
    while cursor.at < cursor.end:
        at = cursor.at
        key = cursor.varint()
        if key == 0x12 and data is None:
            link, name = _decode_link(block, *cursor.field(), number=len(links))
            if name < last_name:
                raise _Wrong(f"link {len(links)}: its name sorts before the name of the link before it")
            last_name = name
            links.append(link)
        elif key == 0x0A and data is None:
            start, end = cursor.field()
            data = block[start:end]
        else:
            raise _Wrong(f"byte {at}: unexpected field 0x{key:x}; expected links, then at most one data field")
    return links, data or b""


def _decode_link(block: bytes, start: int, end: int, number: int) -> tuple[_RawLink, bytes]:
    cursor = _Cursor(block, start, end)
    cid: Cid | None = None
    name: bytes | None = None
    tsize: int | None = None
    while cursor.at < end:
        key = cursor.varint()
        if key == 0x0A and cid is None and name is None and tsize is None:
            first, last = cursor.field()
            try:
                cid = Cid.from_bytes(block[first:last])
            except CidRejection as rejection:
                raise _Wrong(f"link {number}: {rejection}") from None
        elif key == 0x12 and name is None and tsize is None:
            first, last = cursor.field()
            name = block[first:last]
        elif key == 0x18 and tsize is None:
            tsize = cursor.varint()
        else:
            raise _Wrong(f"link {number}: unexpected field 0x{key:x}; expected hash, name, tsize in this order")
    if cid is None:
        raise _Wrong(f"link {number} has no hash")
    if cid.codec == DAG_CBOR:
        raise _Wrong(f"link {number} leads to a dag-cbor block")
    try:
        text = (name or b"").decode()
    except UnicodeDecodeError:
        raise _Wrong(f"link {number}: its name is not UTF-8") from None
    return (cid, text, tsize), name or b""


@dataclass(slots=True)
class _Message:
    kind: int
    data: bytes
    filesize: int
    blocksizes: list[int]
    hash_type: int
    fanout: int


def _decode_message(data: bytes) -> _Message:
    message = _Message(-1, b"", 0, [], 0, 0)
    cursor = _Cursor(data, 0, len(data))
    last = 0
    while cursor.at < cursor.end:
        key = cursor.varint()
        if not (key > last or key == last == 0x20) or (last == 0 and key != 0x08):
            raise _Wrong("its data field is no UnixFS message: fields out of order")
        last = key
        if key == 0x08:
            message.kind = cursor.varint()
        elif key == 0x12:
            start, end = cursor.field()
            message.data = data[start:end]
        elif key == 0x18:
            message.filesize = cursor.varint()
        elif key == 0x20:
            message.blocksizes.append(cursor.varint())
        elif key == 0x28:
            message.hash_type = cursor.varint()
        elif key == 0x30:
            message.fanout = cursor.varint()
        elif key == 0x38:  # mode, which other writers add
            cursor.varint()
        elif key == 0x42:  # mtime
            cursor.field()
        else:
            raise _Wrong(f"its data field is no UnixFS message: unknown field 0x{key:x}")
    if message.kind < 0:
        raise _Wrong("its data field is no UnixFS message: it is empty")
    return message


def _file(message: _Message, links: list[_RawLink]) -> FileNode:
    if message.data or not links:
        raise _Wrong("a file with its bytes inside dag-pb; expected raw leaves (profile unixfs-v1-2025)")
    if len(links) != len(message.blocksizes):
        raise _Wrong(f"{len(links)} links, but {len(message.blocksizes)} blocksizes")
    total = sum(message.blocksizes)
    if total != message.filesize:
        raise _Wrong(f"filesize {message.filesize}, but its blocksizes add up to {total}")
    parts = []
    for (cid, name, tsize), size in zip(links, message.blocksizes, strict=True):
        if name:
            raise _Wrong(f"a part of a file is named {name!r}")
        if cid.codec == RAW and (tsize not in (None, size) or not 0 < size <= BLOCK_BYTES_MAX):
            raise _Wrong(f"leaf {cid}: tsize {tsize} and blocksize {size}; expected the same, 1 to {BLOCK_BYTES_MAX}")
        parts.append((cid, size))
    return FileNode(total, tuple(parts))


def _entry(name: str, cid: Cid, tsize: int | None) -> Link:
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > _NAME_BYTES_MAX:
        raise _Wrong(f"entry {name[:300]!r} is no file name")
    if tsize is None:
        raise _Wrong(f"entry {name!r} has no tsize")
    return Link(name, cid, tsize)


def _folder(links: list[_RawLink]) -> FolderNode:
    entries: dict[str, Link] = {}
    for cid, name, tsize in links:
        entry = _entry(name, cid, tsize)
        if name in entries:
            raise _Wrong(f"entry {name!r} comes twice")
        entries[name] = entry
    return FolderNode(entries)


def _shard(message: _Message, links: list[_RawLink], depth: int) -> ShardNode:
    if message.fanout != _FANOUT or message.hash_type != _MURMUR3_X64_64:
        raise _Wrong(f"a shard with fanout {message.fanout} and hash 0x{message.hash_type:x}; expected 256 and 0x22")
    bits = int.from_bytes(message.data, "big")
    if len(message.data) > _FANOUT // 8 or message.data[:1] == b"\0":
        raise _Wrong("a shard's bitfield is not in its shortest form")
    slots = [slot for slot in range(_FANOUT) if bits >> slot & 1]
    if len(slots) != len(links) or depth >= SHARD_DEPTH_MAX:
        raise _Wrong(f"a shard at depth {depth} with {len(links)} links and {len(slots)} used slots")
    node = ShardNode({}, {})
    for slot, (cid, full, tsize) in zip(slots, links, strict=True):
        if full[:2] != f"{slot:02X}":
            raise _Wrong(f"shard link {full!r} is not in the slot it names")
        name = full[2:]
        if not name:
            node.shards[slot] = cid
        elif name_slot(name, depth) == slot:
            node.entries[name] = _entry(name, cid, tsize)
        else:
            raise _Wrong(f"shard link {full!r}: its hash belongs into another slot")
    return node


_MASK = (1 << 64) - 1


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _MASK


def _murmur3_x64_64(data: bytes) -> int:
    """The first 64 bits of MurmurHash3 x64 128 with seed 0."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F

    def mix1(k: int) -> int:
        return _rotate(k * c1 & _MASK, 31) * c2 & _MASK

    def mix2(k: int) -> int:
        return _rotate(k * c2 & _MASK, 33) * c1 & _MASK

    def finish(k: int) -> int:
        k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & _MASK
        k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
        return k ^ k >> 33

    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        h1 = (_rotate(h1 ^ mix1(int.from_bytes(data[at : at + 8], "little")), 27) + h2) & _MASK
        h1 = (h1 * 5 + 0x52DCE729) & _MASK
        h2 = (_rotate(h2 ^ mix2(int.from_bytes(data[at + 8 : at + 16], "little")), 31) + h1) & _MASK
        h2 = (h2 * 5 + 0x38495AB5) & _MASK
    tail = data[whole:]
    h1 ^= mix1(int.from_bytes(tail[:8], "little"))
    h2 ^= mix2(int.from_bytes(tail[8:], "little"))
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    h1, h2 = finish(h1), finish(h2)
    return (h1 + h2) & _MASK
