"""``cairn://`` for fsspec: ``cairn://dataset[@version]/path``, read-only.

::

    import fsspec
    fs = fsspec.filesystem("cairn", providers=["http://127.0.0.1:8080"])
    fs.cat_ranges(["cairn://bafy.../a.bin"] * 2, [0, 9_000_000], [100, 9_000_100])

``cat_ranges`` brings all ranges of all files at once: each leaf that they touch once, and nothing between them. File objects
read what is asked for, rounded to leaves, and read ahead after 4 MiB of purely sequential reading alone. There is no
listing cache and none is needed: a root never changes.

Both of fsspec's interfaces are here. The synchronous methods need no event loop and so work after a fork; the asynchronous ones
(``asynchronous=True``, as Zarr 3 opens it) run them in threads of the loop's executor, and block nobody.
"""

from __future__ import annotations

import asyncio
import datetime
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fsspec.asyn import AsyncFileSystem, get_loop
from fsspec.callbacks import DEFAULT_CALLBACK

from .client import Address, Client, Manifests
from .dataset import Entry, File, FileReader
from .errors import NotInDataset, RequestRejection, UrlRejection


class CairnFileSystem(AsyncFileSystem):  # type: ignore[misc]
    """Datasets by root CID or name, as one read-only file system."""

    protocol = "cairn"
    root_marker = ""
    mirror_sync_methods = False
    """The synchronous methods are the originals, not wrappers of the asynchronous ones that wait for fsspec's loop."""

    def __init__(
        self,
        providers: Sequence[str] = (),
        names: Mapping[str, str] | str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_bytes: int = 10 << 30,
        client: Client | None = None,
        asynchronous: bool = False,
        identity: str | os.PathLike[str] | None = None,
        manifests: Manifests = (),
        publisher: str | None = None,
        **more: Any,
    ) -> None:
        """``providers``, ``names``, ``cache_dir``, ``cache_bytes`` and fields of ``Options`` make a client; or ``client``.
        ``identity``: a file of age identities; what is read is then decrypted. ``verify="manifest"`` with ``manifests`` and
        their ``publisher``: small reads cost blocks of 64 KiB (:mod:`cairn_data.blocks`).
        """
        known = {field: more.pop(field) for field in list(more) if field in _option_fields()}
        more.pop("loop", None)
        super().__init__(asynchronous=True, **more)  # otherwise it starts a thread, and no thread may run before a fork
        self.asynchronous = asynchronous
        if client is None and not providers:
            raise RequestRejection("cairn:// needs providers: pass providers=['http://..'] (as storage_options)")
        self.client = client or Client(
            providers,
            names=names,
            cache=cache_dir,
            cache_bytes=cache_bytes,
            identity=identity,
            manifests=manifests,
            publisher=publisher,
            **known,
        )

    @property
    def fsid(self) -> str:
        return "cairn"

    @property
    def loop(self) -> Any:
        """fsspec's own event loop, for those that run the asynchronous methods from synchronous code."""
        return None if self.asynchronous else get_loop()

    @classmethod
    def _strip_protocol(cls, path: str | list[str]) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return os.fspath(path).removeprefix("cairn://").strip("/")

    def _address(self, path: str) -> Address:
        return Address.parse(self._strip_protocol(path))

    def _file(self, path: str) -> File:
        address = self._address(path)
        return self.client.dataset(address.dataset).file(address.path)

    @staticmethod
    def _described(dataset: str, entry: Entry) -> dict[str, Any]:
        return {
            "name": f"{dataset}/{entry.path}".rstrip("/"),
            "size": entry.size,
            "type": "directory" if entry.is_folder else "file",
            "cid": str(entry.cid),
            "ETag": str(entry.cid),
        }

    # -- looking -----------------------------------------------------------------------------------------------------

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        address = self._address(path)
        return self._described(address.dataset, self.client.dataset(address.dataset).entry(address.path))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        address = self._address(path)
        dataset = self.client.dataset(address.dataset)
        entry = dataset.entry(address.path)
        entries = dataset.entries(address.path) if entry.is_folder else [entry]
        found = [self._described(address.dataset, each) for each in entries]
        return found if detail else [each["name"] for each in found]

    def exists(self, path: str, **_: Any) -> bool:
        """Whether it is in the dataset. A provider's failure is raised: it is no answer."""
        try:
            self.info(path)
        except (NotInDataset, UrlRejection):
            return False
        return True

    def ukey(self, path: str) -> str:
        return cast(str, self.info(path)["cid"])

    def checksum(self, path: str) -> int:
        return int(self.info(path)["cid"][-12:], 36)

    def modified(self, path: str) -> datetime.datetime:
        """The beginning of time: what a root names never changes. DuckDB compares it to see whether its cache holds."""
        return datetime.datetime.fromtimestamp(0, datetime.timezone.utc)

    created = modified

    # -- reading -----------------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        file = self._file(path)
        return file.read(*_bounds(file.size, start, end))

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """All ranges at once. ``max_gap`` and ``batch_size`` are ignored: nothing that was not asked for is worth its bytes,
        and the client bounds its requests itself.
        """
        if not isinstance(starts, (list, tuple)):
            starts = [starts] * len(paths)
        if not isinstance(ends, (list, tuple)):
            ends = [ends] * len(paths)
        if len(starts) != len(paths) or len(ends) != len(paths):
            raise RequestRejection(f"{len(paths)} paths, {len(starts)} starts, {len(ends)} ends")
        files: dict[str, File | Exception] = {}
        for path in paths:
            if path not in files:
                try:
                    files[path] = self._file(path)
                except Exception as error:
                    if on_error == "raise":
                        raise
                    files[path] = error
        results: list[Any] = [files[path] for path in paths]
        asked = []
        for index, (path, start, end) in enumerate(zip(paths, starts, ends, strict=True)):
            file = files[path]
            if isinstance(file, File):
                asked.append((index, (file, *_bounds(file.size, start, end))))
        try:
            brought: Sequence[Any] = self.client.read_ranges([each for _, each in asked])
        except Exception as error:
            if on_error == "raise":
                raise
            brought = [error] * len(asked)
        for (index, _each), data in zip(asked, brought, strict=True):
            results[index] = data
        return results

    def _open(self, path: str, mode: str = "rb", **_: Any) -> FileReader:
        if mode != "rb":
            raise RequestRejection(f"mode {mode!r}: datasets are read-only")
        return self._file(path).open()

    def get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **_: Any) -> None:
        if self.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)  # noqa: PTH103
            return
        file = self._file(rpath)
        callback.set_size(file.size)
        if outfile is not None or isinstance(lpath, io.IOBase):
            for data in file.stream():
                (outfile or lpath).write(data)
                callback.relative_update(len(data))
            return
        from .download import download_file

        download_file(file, lpath, progress=callback.relative_update)

    # -- the same, asynchronous; the rest of fsspec's methods are made of these ------------------------------------------

    async def _info(self, path: str, **more: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self.info, path, **more)

    async def _ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
        return await asyncio.to_thread(self.ls, path, detail, **more)

    async def _exists(self, path: str, **_: Any) -> bool:
        return await asyncio.to_thread(self.exists, path)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return await asyncio.to_thread(self.cat_file, path, start, end)

    async def _cat_ranges(self, paths: Sequence[str], starts: Any, ends: Any, *args: Any, **more: Any) -> list[Any]:
        return await asyncio.to_thread(self.cat_ranges, paths, starts, ends, *args, **more)

    async def _get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **more: Any) -> None:
        await asyncio.to_thread(self.get_file, rpath, lpath, callback, **more)

    def sign(self, path: str, expiration: int = 100, **_: Any) -> str:
        raise NotImplementedError("addresses are not signed: the dataset is named by its content")


def _bounds(size: int, start: int | None, end: int | None) -> tuple[int, int]:
    """The half-open range that fsspec means: negative numbers count from the end."""
    first = 0 if start is None else start if start >= 0 else max(size + start, 0)
    last = size if end is None else end if end >= 0 else max(size + end, 0)
    return min(first, size), max(min(last, size), min(first, size))


def _option_fields() -> set[str]:
    import dataclasses

    from .fetch import Options

    return {field.name for field in dataclasses.fields(Options)}
