"""WebDataset shards: tar archives whose neighbouring members with one stem are one sample.

::

    stream = ShardStream(client, ["cairn://bafy.../train/000000.tar", ...], seed=7, buffer=1000)
    for sample in stream:           # {"__key__": .., "__url__": .., "jpg": b"..", "cls": b".."}
        ...
    saved = stream.state_dict()     # a few numbers per buffered sample; JSON-compatible

Samples are the ones that webdataset makes of the same archives. Every byte is verified; a shard that breaks is read on at
another provider, and one that cannot be read raises: no sample is ever left out silently.

``state_dict`` holds the epoch, the next sample's place (shard and byte), and for each buffered sample its place; so loading
it fetches exactly those samples again, and the stream goes on with the very sample that would have come next.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .client import Address, Client
from .dataset import File
from .errors import OptionRejection, RequestRejection, ShardRejection, StateRejection
from .order import Place, buffer_draw, detect_place, shards_of
from .piece import PieceCid, spot_check

Sample = dict[str, Any]

_BLOCK = 512
_NAME_AND_FIELD = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
_META = re.compile(r"__[^/]*__($|/)")
_HEADER_BYTES_MAX = 1 << 20
_STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a tar archive."""

    name: str
    start: int
    """Offset of its first header."""
    end: int
    """Offset of what follows it."""
    data: bytes


class _Pieces:
    """Takes exact numbers of bytes from a stream of pieces."""

    def __init__(self, pieces: Iterator[bytes], at: int) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")
        self.at = at

    def take(self, count: int) -> bytes:
        """At most ``count`` bytes; fewer at the end alone."""
        if count <= len(self._left):
            data = bytes(self._left[:count])
            self._left = self._left[count:]
        else:
            parts = [self._left]
            have = len(self._left)
            while have < count:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                parts.append(memoryview(piece))
                have += len(piece)
            last = parts.pop()
            over = max(have - count, 0)
            self._left = last[len(last) - over :]
            parts.append(last[: len(last) - over])
            data = b"".join(parts)
        self.at += len(data)
        return data


def members(pieces: Iterator[bytes], at: int, where: str) -> Iterator[Member]:
    """Regular files of a tar archive, read front to back from offset ``at``: ustar, pax and GNU names.

    Raises :class:`ShardRejection`.
    """
    source = _Pieces(pieces, at)
    start: int | None = None
    long_name: str | None = None
    long_size: int | None = None
    while True:
        header_at = source.at
        header = source.take(_BLOCK)
        if not header.strip(b"\0"):
            return  # the end mark, or the end
        kind, name, size = _header(header, f"{where} at byte {header_at}")
        start = header_at if start is None else start
        if kind in b"xgLK":
            if size > _HEADER_BYTES_MAX:
                raise ShardRejection(f"{where} at byte {header_at}: a header of {size} bytes")
            body = _body(source, size, where)
            if kind == b"L":
                long_name = body.rstrip(b"\0").decode(errors="surrogateescape")
            elif kind == b"x":
                fields = _pax(body, f"{where} at byte {header_at}")
                long_name = fields.get("path", long_name)
                long_size = int(fields["size"]) if fields.get("size", "").isdigit() else long_size
            continue
        data = _body(source, size if long_size is None else long_size, where)
        if kind in (b"0", b"\0", b"7"):
            yield Member(name if long_name is None else long_name, start, source.at, data)
        start = long_name = long_size = None


def _body(source: _Pieces, size: int, where: str) -> bytes:
    data = source.take(size)
    padding = -size % _BLOCK
    if len(data) < size or len(source.take(padding)) < padding:
        raise ShardRejection(f"{where} ends within a member, at byte {source.at}")
    return data


def _header(header: bytes, where: str) -> tuple[bytes, str, int]:
    if len(header) < _BLOCK:
        raise ShardRejection(f"{where}: the archive ends within a header")
    try:
        stated = int(header[148:156].strip(b"\0 ") or b"0", 8)
        raw = header[124:136]
        size = int.from_bytes(raw[1:], "big") if raw[0] == 0x80 else int(raw.strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise ShardRejection(f"{where}: no tar header") from None
    if stated != sum(header[:148]) + 8 * 0x20 + sum(header[156:]):
        raise ShardRejection(f"{where}: no tar header (its checksum is wrong)")
    name = header[:100].split(b"\0", 1)[0]
    if header[257:262] == b"ustar" and header[263:265] == b"00":
        prefix = header[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return header[156:157], name.decode(errors="surrogateescape"), size


def _pax(body: bytes, where: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    at = 0
    while at < len(body):
        space = body.find(b" ", at, at + 20)
        length = int(body[at:space]) if space > at and body[at:space].isdigit() else 0
        record = body[space + 1 : at + length]
        if length <= space - at or not record.endswith(b"\n") or b"=" not in record:
            raise ShardRejection(f"{where}: a broken pax header")
        key, value = record[:-1].split(b"=", 1)
        fields[key.decode(errors="replace")] = value.decode(errors="surrogateescape")
        at += length
    return fields


@dataclass(slots=True)
class _Placed:
    """A sample and where it lies."""

    shard: int
    start: int
    end: int
    sample: Sample


def samples(file: File, url: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, Sample]]:
    """Samples of one shard from byte ``start``, each with the offsets where it begins and ends."""
    current: Sample | None = None
    first = last = start
    for member in members(file.stream(start, end), start, url):
        match = _NAME_AND_FIELD.match(member.name)
        if match is None or _META.search(member.name):
            continue
        key, field = match[1], match[2].lower()
        if current is None or current["__key__"] != key:
            if current is not None:
                yield first, last, current
            current, first = {"__key__": key, "__url__": url}, member.start
        if field in current:
            raise ShardRejection(f"{url}: sample {key!r} has field {field!r} twice")
        current[field] = member.data
        last = member.end
    if current is not None:
        yield first, last, current


class ShardStream:
    """Samples of many shards in a deterministic order, resumable at every sample.

    One pass is one epoch, and the next pass is the next; a pass that was left early begins anew, unless a position was loaded.
    """

    def __init__(
        self,
        client: Client,
        urls: Sequence[str],
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle_shards: bool = True,
        buffer: int = 0,
        place: Place | None = None,
        pieces: Mapping[str, tuple[str, int]] | None = None,
        spot_checks: bool = False,
    ) -> None:
        """``buffer``: samples to draw from; 0 keeps the order within shards. ``place``: which consumer this is; by default
        what torch says at the start of each pass, if torch is loaded. ``pieces``: by URL of a shard, the CID of its piece and
        where the shard begins there; of each such shard one random MiB is checked against its piece, beside the reading, once
        per epoch and again where a loaded position goes on (:mod:`cairn_data.piece`). ``spot_checks``: take the pieces from the
        client's manifests; at least one shard must have one there.
        """
        if not urls or buffer < 0:
            raise OptionRejection(f"{len(urls)} shards and a buffer of {buffer}; expected at least one and at least 0")
        self.client = client
        self.urls = [str(Address.parse(url)) for url in urls]
        self.seed = seed
        self.epoch = epoch
        self.shuffle_shards = shuffle_shards
        self.buffer = buffer
        self.place = place
        self.pieces = _listed_pieces(client, self.urls) if spot_checks else {}
        self.pieces |= {str(Address.parse(url)): piece for url, piece in (pieces or {}).items()}
        if strange := sorted(set(self.pieces) - set(self.urls)):
            raise OptionRejection(f"pieces of shards that are not read: {', '.join(strange[:5])}")
        for cid, offset in self.pieces.values():
            if PieceCid.parse(cid).comm_p and offset < 0:
                raise OptionRejection(f"a shard at byte {offset} of {cid}")
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._turn = 0  # which of my shards
        self._offset = 0  # next byte of it
        self._draws = 0
        self._held: list[_Placed] = []
        self._refetch: list[tuple[int, int, int]] = []
        self._resumed_as: Place | None = None
        self._loaded = False

    def set_epoch(self, epoch: int) -> None:
        """Goes to the start of an epoch. A DataLoader without persistent workers needs this before each pass."""
        self.epoch = epoch
        self._start_epoch()

    # -- state -------------------------------------------------------------------------------------------------------

    def _identity(self) -> str:
        text = "\n".join([str(self.seed), str(self.shuffle_shards), str(self.buffer), *self.urls])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def state_dict(self) -> dict[str, Any]:
        """The position, after the sample that was given out last. Only ints, strings and lists."""
        place = self._resumed_as or self.place or detect_place()
        held = self._refetch or [(each.shard, each.start, each.end) for each in self._held]
        return {
            "version": _STATE_VERSION,
            "stream": self._identity(),
            "place": [place.rank, place.world, place.worker, place.workers],
            "epoch": self.epoch,
            "turn": self._turn,
            "offset": self._offset,
            "draws": self._draws,
            "held": [list(each) for each in held],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a saved position. Raises :class:`StateRejection` if it is another stream's."""
        if state.get("version") != _STATE_VERSION or state.get("stream") != self._identity():
            raise StateRejection("the saved position belongs to a stream of other shards, seed or buffer")
        try:
            saved = Place(*state["place"])
            self.epoch, self._turn = int(state["epoch"]), int(state["turn"])
            self._offset, self._draws = int(state["offset"]), int(state["draws"])
            self._refetch = [(int(shard), int(start), int(end)) for shard, start, end in state["held"]]
        except (KeyError, TypeError, ValueError) as error:
            raise StateRejection(f"no saved position: {error!r}") from None
        if self.place is not None and self.place != saved:
            raise StateRejection(f"the saved position is that of {saved}; this is {self.place}")
        self._held = []
        self._resumed_as = saved
        self._loaded = True

    # -- reading -----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Sample]:
        place = self.place or detect_place()
        if not self._loaded:
            self._start_epoch()
        elif self._resumed_as != place:
            raise StateRejection(f"the saved position is that of {self._resumed_as}; this is {place}")
        self._loaded = False
        self._resumed_as = place
        self._held.extend(self._fetch_held())
        incoming = self._incoming(place)
        more = True
        while more or self._held:
            while more and len(self._held) <= self.buffer:
                placed = next(incoming, None)
                if placed is None:
                    more = False
                else:
                    self._held.append(placed)
            if not self._held:
                break
            draw = buffer_draw(place, self.seed, self.epoch, self._draws, len(self._held)) if self.buffer else 0
            self._held[draw], self._held[-1] = self._held[-1], self._held[draw]
            self._draws += 1
            yield self._held.pop().sample
        self.epoch += 1
        self._start_epoch()

    def __call__(self) -> Iterator[Sample]:
        """The same as iterating: a stage of a webdataset pipeline is something that is called."""
        return iter(self)

    def _incoming(self, place: Place) -> Iterator[_Placed]:
        mine = shards_of(place, self.seed, self.epoch, len(self.urls), self.shuffle_shards)
        begins = True  # an epoch, or what a loaded position left of it
        while self._turn < len(mine):
            shard = mine[self._turn]
            url = self.urls[shard]
            file = self.client.file(url)
            if url in self.pieces and (begins or self._offset == 0):
                self._spot_check(file, *self.pieces[url])
            begins = False
            for start, end, sample in samples(file, url, self._offset):
                self._offset = end
                yield _Placed(shard, start, end, sample)
            self._turn += 1
            self._offset = 0

    def _spot_check(self, file: File, piece: str, offset: int) -> None:
        """Begins a check of a shard's piece; what comes of it is in the client's report."""
        client = self.client

        def check() -> None:
            # A shard that does not lie where the manifest says is no provider's fault: nothing is checked then.
            with contextlib.suppress(RequestRejection):
                spot_check(client, piece, offset, offset + max(file.size, 1))

        client.engine.shared.workers.submit(check)

    def _fetch_held(self) -> list[_Placed]:
        """The buffered samples of a saved position, fetched again by their places."""
        wanted, self._refetch = self._refetch, []
        if any(not 0 <= shard < len(self.urls) for shard, _, _ in wanted):
            raise StateRejection("the saved position names a shard that is not there")
        files = {shard: self.client.file(self.urls[shard]) for shard, _, _ in wanted}
        brought = self.client.read_ranges([(files[shard], start, end) for shard, start, end in wanted])
        held = []
        for (shard, start, end), data in zip(wanted, brought, strict=True):
            sample = _one_sample(data, start, self.urls[shard])
            held.append(_Placed(shard, start, end, sample))
        return held


def _listed_pieces(client: Client, urls: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Pieces by URL, as the client's manifests say."""
    pieces = {}
    for url in urls:
        address = Address.parse(url)
        piece = client.descriptions.file(str(client.resolve(address.dataset)), address.path.strip("/")).piece
        if piece is not None:
            pieces[url] = piece
    if not pieces:
        raise OptionRejection("spot_checks=True: the client's manifests name no piece of these shards (cairn:pieceCid)")
    return pieces


def _one_sample(data: bytes, start: int, url: str) -> Sample:
    sample: Sample = {"__url__": url}
    for member in members(iter([data]), start, url):
        match = _NAME_AND_FIELD.match(member.name)
        if match is None or _META.search(member.name):
            continue
        sample["__key__"] = match[1]
        sample[match[2].lower()] = member.data
    if "__key__" not in sample:
        raise StateRejection(f"the saved position names a sample at byte {start} of {url}, and there is none")
    return sample
