"""The client: providers, options and a cache, in any number of processes.

A client is cheap to make, can be pickled, and can be used after a fork: each process gets an
:class:`~cairn_data.engine.Engine` of its own when it first reads. Nothing is connected and no thread runs before.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .blocks import Descriptions
from .cache import DiskCache
from .cid import Cid, is_cid
from .dataset import Dataset, File
from .engine import Engine, Target
from .errors import ContentRejection, NotInDataset, OptionRejection, RequestRejection, UnknownDataset, UrlRejection
from .fetch import Leaf, Options, Stats

if TYPE_CHECKING:
    from .encryption import DecryptedDataset, Identities

_DECRYPTED_MAX = 256
_KEPT = ("providers", "options", "names", "disk", "identity", "descriptions")
Manifests = Sequence[str | os.PathLike[str] | Mapping[str, Any]] | str | os.PathLike[str] | Mapping[str, Any]
"""Signed manifests: files, or documents that were read."""

SCHEME = "cairn://"


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """``cairn://dataset[@version]/path``, taken apart."""

    dataset: str
    """Root CID, or a name with its version: ``digits@2``."""
    path: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Reads an address with or without ``cairn://``. Raises :class:`UrlRejection`."""
        rest = url.removeprefix(SCHEME)
        dataset, _, path = rest.strip("/").partition("/")
        if not dataset or "://" in rest:
            raise UrlRejection(f"{url!r} is no address: expected cairn://dataset[@version]/path")
        return cls(dataset, path)

    def __str__(self) -> str:
        return f"{SCHEME}{self.dataset}/{self.path}".rstrip("/")


class Client:
    """Reads datasets from providers, and trusts none of them."""

    def __init__(
        self,
        providers: Sequence[str],
        *,
        names: Mapping[str, str] | str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | DiskCache | None = None,
        cache_bytes: int = 10 << 30,
        options: Options | None = None,
        identity: str | os.PathLike[str] | None = None,
        manifests: Manifests = (),
        publisher: str | None = None,
        **more: Any,
    ) -> None:
        """``providers``: addresses of gateways. ``names``: root CID by ``name`` or ``name@version``, or a JSON file of
        such. ``cache``: a folder, shared with other processes, of at most ``cache_bytes``. ``identity``: a file of age
        identities, with which every dataset is decrypted as it is read. ``manifests``: files or documents, signed by
        ``publisher`` (a public key in hex); ``verify="manifest"`` needs them. ``more``: fields of :class:`Options`. Raises
        RequestRejection, CacheError, ManifestRejection.
        """
        if isinstance(providers, str):
            providers = [providers]
        self.providers = tuple(providers)
        known = {field.name for field in dataclasses.fields(Options)}
        if unknown := sorted(set(more) - known):
            raise RequestRejection(f"unknown option {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
        self.options = dataclasses.replace(options or Options(), **more)
        self.names = _names(names)
        self.descriptions = _descriptions(manifests, publisher)
        if self.options.verify == "manifest" and not manifests:
            raise OptionRejection("verify='manifest' needs manifests= and the publisher= that must have signed them")
        self.disk = cache if cache is None or isinstance(cache, DiskCache) else DiskCache(cache, cache_bytes)
        self.identity = None if identity is None else os.path.abspath(os.path.expanduser(identity))  # noqa: PTH100, PTH111
        self._start()
        self._identities()
        Engine(self.providers, self.options, None)  # so that a wrong address is refused here and not in a worker

    def _start(self) -> None:
        self._engine: Engine | None = None
        self._owner = 0
        self._lock = threading.Lock()
        self._secrets: Identities | None = None
        self._decrypted: dict[Cid, DecryptedDataset] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _KEPT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def engine(self) -> Engine:
        """This process's engine, made on first use."""
        pid = os.getpid()
        if self._owner != pid:
            # After a fork the lock may be held by a thread that does not exist here: it is replaced, not taken. Two
            # threads that come here first at once in a fresh process may each make an engine; one of them stays.
            if self._owner:
                self._lock = threading.Lock()
            with self._lock:
                if self._owner != pid:
                    self._engine = Engine(self.providers, self.options, self.disk)
                    self._owner = pid
        assert self._engine is not None
        return self._engine

    def resolve(self, dataset: str) -> Cid:
        """Root CID of a dataset given by name or by root. Raises :class:`UnknownDataset`."""
        if is_cid(dataset):
            return Cid.parse(dataset)
        if dataset in self.names:
            return Cid.parse(self.names[dataset])
        name, at, version = dataset.partition("@")
        if at and is_cid(name):
            raise UnknownDataset(f"{dataset!r}: a root CID is its own version; leave out @{version}")
        known = ", ".join(sorted(self.names)) or "none"
        raise UnknownDataset(f"{dataset!r} is neither a root CID nor one of the names that were given ({known})")

    def dataset(self, dataset: str | Cid) -> Dataset:
        """A dataset by root CID or name. Nothing is fetched."""
        root = dataset if isinstance(dataset, Cid) else self.resolve(dataset)
        identities = self._identities()
        if identities is None:
            return Dataset(self, root)
        from .encryption import DecryptedDataset

        with self._lock:
            if root not in self._decrypted:
                if len(self._decrypted) >= _DECRYPTED_MAX:
                    self._decrypted.clear()
                self._decrypted[root] = DecryptedDataset(self, root, identities)
            return self._decrypted[root]

    def _identities(self) -> Identities | None:
        if self.identity is not None and self._secrets is None:
            from .encryption import Identities

            self._secrets = Identities(self.identity)
        return self._secrets

    def file(self, url: str) -> File:
        """The file at ``cairn://dataset[@version]/path``."""
        address = Address.parse(url)
        return self.dataset(address.dataset).file(address.path)

    def read_ranges(self, ranges: Sequence[tuple[File, int, int]]) -> list[bytes]:
        """Bytes of many ranges of many files at once, each clamped to its file.

        Every leaf that the ranges touch is fetched once, and nothing else. Raises FetchError, RequestRejection.
        """
        widened = [
            file.widened(start, min(end, file.size)) if start >= 0 else (file, start, end) for file, start, end in ranges
        ]
        found = self._read_ranges(widened)
        return [file.narrowed(start, min(end, file.size), data) for (file, start, end), data in zip(ranges, found, strict=True)]

    def _read_ranges(self, ranges: Sequence[tuple[File, int, int]]) -> list[bytes]:
        engine = self.engine
        wanted: dict[tuple[str, int], tuple[Target, Leaf]] = {}
        plans: list[list[Leaf]] = []
        clamped = []
        for file, start, end in ranges:
            if start < 0:
                raise RequestRejection(f"range {start}..{end} of {file.entry.path!r}: expected a start of at least 0")
            end = max(min(end, file.size), start)
            clamped.append((file, start, end))
            engine.asked(end - start)
        spans = _exact_spans(clamped) if not self.options.verify else {}
        for file, start, end in clamped:
            if self.options.verify:
                leaves = list(file.leaves(start, end))
            else:
                leaves = [leaf for leaf in spans[file.target.path] if leaf.offset < end and leaf.end > start]
            plans.append(leaves)
        if self.options.verify == "manifest":
            plans = self.descriptions.finer(engine, clamped, plans)
        for (file, _, _), leaves in zip(clamped, plans, strict=True):
            for leaf in leaves:
                wanted[file.target.path, leaf.offset] = (file.target, leaf)
        found = engine.leaves(list(wanted.values()))
        return [
            _assemble(file.target.path, start, end, leaves, found)
            for (file, start, end), leaves in zip(clamped, plans, strict=True)
        ]

    def stats(self) -> Stats:
        """A copy of this process's counts."""
        with self.engine.shared.lock:
            return dataclasses.replace(self.engine.shared.stats)

    def report(self) -> list[dict[str, Any]]:
        """What each provider did in this process: verified bytes, faults by kind, spot checks of pieces,
        and why it is avoided, if it is.
        """
        return [
            {
                "provider": provider.url,
                "bytes_verified": provider.bytes_verified,
                "faults": dict(provider.faults),
                "piece_checks": dict(provider.piece_checks),
                "blacklisted": provider.blacklisted.reason if provider.blacklisted else None,
            }
            for provider in self.engine.shared.providers
        ]

    def exists(self, url: str) -> bool:
        """Whether something is at an address; a provider's failure is raised, not taken for absence."""
        address = Address.parse(url)
        try:
            self.dataset(address.dataset).entry(address.path)
        except NotInDataset:
            return False
        return True


def _assemble(path: str, start: int, end: int, leaves: list[Leaf], found: dict[tuple[str, int], bytes]) -> bytes:
    pieces = []
    for leaf in leaves:
        data = found[path, leaf.offset]
        first, last = max(start - leaf.offset, 0), min(end, leaf.end) - leaf.offset
        pieces.append(data if (first, last) == (0, len(data)) else data[first:last])
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _exact_spans(ranges: Sequence[tuple[File, int, int]]) -> dict[str, list[Leaf]]:
    """Without verification: the union of the ranges of each file, to the byte."""
    by_file: dict[str, list[tuple[int, int]]] = {}
    for file, start, end in ranges:
        by_file.setdefault(file.target.path, []).append((start, end))
    spans: dict[str, list[Leaf]] = {}
    for path, parts in by_file.items():
        merged: list[list[int]] = []
        for start, end in sorted(parts):
            if start == end:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        spans[path] = [Leaf(None, start, end - start) for start, end in merged]
    return spans


def _descriptions(manifests: Manifests, publisher: str | None) -> Descriptions:
    if isinstance(manifests, (str, os.PathLike, Mapping)):
        manifests = [manifests]
    if not manifests:
        return Descriptions([])
    if publisher is None:
        raise OptionRejection("manifests= needs publisher=: the public key in hex that must have signed them")
    from . import manifest

    documents = []
    for each in manifests:
        document = each if isinstance(each, Mapping) else manifest.loads(Path(each).read_bytes())
        manifest.verify(document, publisher=publisher)
        documents.append(document)
    return Descriptions(documents)


def _names(names: Mapping[str, str] | str | os.PathLike[str] | None) -> dict[str, str]:
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        try:
            names = json.loads(Path(names).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ContentRejection(f"{names}: no JSON: {error}") from None
        if not isinstance(names, dict):
            raise ContentRejection("a file of names holds one JSON object: name or name@version to root CID")
    for name, root in names.items():
        Cid.parse(root)
        if is_cid(name) or "/" in name:
            raise RequestRejection(f"{name!r} is no name for a dataset")
    return dict(names)
