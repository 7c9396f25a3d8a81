"""The index files that loaders look for: those that a dataset holds, unchanged, and one for WebDataset shards that lack it.

==================  ==================================================================================================
``mds``             ``index.json`` of mosaicml-streaming, beside its shards
``litdata``         ``index.json`` of litdata, beside its chunks
``wids``            WebDataset's index of shards, with their URLs, lengths and numbers of samples
``parquet``         ``_metadata`` or ``_common_metadata`` beside Parquet files
==================  ==================================================================================================

A dataset's own indexes are files like any other: providers serve them, and their bytes are verified. What is made here is made
from a manifest, whose signature is what vouches for it; ``cairn:sampleOffsets`` in it are the bytes where samples begin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .cid import Cid
from .dataset import Dataset, File, split_path
from .errors import ManifestRejection, RequestRejection

WIDS_NAME = "wids.json"
"""Name of an index of WebDataset shards that is made here."""
_PARQUET_NAMES = ("_metadata", "_common_metadata")
_INDEX_BYTES_MAX = 64 << 20


def kind(file: File) -> str | None:
    """Which loader's index a file is; none for most files. Reads a file only if its name is that of an index."""
    name = file.entry.path.rpartition("/")[2]
    if name in _PARQUET_NAMES:
        return "parquet" if file.size >= 8 and file.read(file.size - 4) == b"PAR1" else None
    if not name.endswith(".json") or not ("index" in name or "wids" in name) or file.size > _INDEX_BYTES_MAX:
        return None
    try:
        held = json.loads(file.read())
    except (ValueError, RecursionError):
        return None
    if not isinstance(held, dict):
        return None
    if isinstance(held.get("shardlist"), list):
        return "wids"
    if isinstance(held.get("chunks"), list) and isinstance(held.get("config"), dict):
        return "litdata"
    return "mds" if isinstance(held.get("shards"), list) and "version" in held else None


def generated(document: Mapping[str, Any], base: str | None = None) -> dict[str, str]:
    """An index by its path, for each folder of WebDataset shards in a manifest that holds none.

    ``base``: what URLs of shards begin with, before the path of the file; without it those of the manifest. Raises
    :class:`ManifestRejection`.
    """
    folders: dict[str, list[Mapping[str, Any]]] = {}
    indexed = set()
    for each in _files(document):
        folder = each["cairn:path"].rpartition("/")[0]
        if each.get("cairn:index") == "wids":
            indexed.add(folder)
        elif "cairn:samples" in each:
            folders.setdefault(folder, []).append(each)
    made = {}
    for folder, shards in folders.items():
        if folder not in indexed:
            made[f"{folder}/{WIDS_NAME}".lstrip("/")] = json.dumps(_wids(document, folder, shards, base), indent=1) + "\n"
    return made


def _files(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for each in document.get("distribution", []):
        if not isinstance(each, dict) or not isinstance(each.get("cairn:path"), str):
            raise ManifestRejection("a file of the manifest has no cairn:path")
        yield each


def _wids(document: Mapping[str, Any], folder: str, shards: list[Mapping[str, Any]], base: str | None) -> dict[str, Any]:
    from urllib.parse import quote

    listed = []
    try:
        for shard in shards:
            url = shard["contentUrl"] if base is None else base + quote(shard["cairn:path"])
            entry = {"url": url, "filesize": shard["cairn:size"], "nsamples": shard["cairn:samples"]}
            if "cairn:sampleOffsets" in shard:
                entry["cairn:sampleOffsets"] = shard["cairn:sampleOffsets"]
            listed.append(entry)
        name = f"{document['name']}/{folder}".rstrip("/")
        root = document["cairn:root"]
    except KeyError as error:
        raise ManifestRejection(f"the manifest lacks {error}, which an index of its shards needs") from None
    return {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name, "cairn:root": root, "shardlist": listed}


def write(document: Mapping[str, Any], dataset: Dataset, folder: Path) -> list[Path]:
    """Writes all indexes below ``folder``, each at its path in the dataset: the dataset's own unchanged, then the made ones.

    Raises RequestRejection if the manifest is another dataset's, FetchError, OSError.
    """
    if document.get("cairn:root") != str(dataset.root):
        raise RequestRejection(f"the manifest is that of {document.get('cairn:root')}; this is {dataset.root}")
    contents: dict[str, bytes] = {}
    for each in _files(document):
        if "cairn:index" in each:
            entry = dataset.entry(each["cairn:path"])
            if entry.cid != Cid.parse(str(each.get("cairn:unixfsRoot"))):
                raise ManifestRejection(
                    f"{entry.path!r}: the manifest says {each.get('cairn:unixfsRoot')}; this is {entry.cid}"
                )
            contents[entry.path] = File(dataset, entry).read()
    contents |= {path: text.encode() for path, text in generated(document).items()}
    written = []
    for path, data in contents.items():
        target = folder.joinpath(*split_path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        written.append(target)
    return written


__all__ = ["WIDS_NAME", "generated", "kind", "write"]
