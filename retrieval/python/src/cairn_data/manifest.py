"""Manifests: a dataset described in Croissant JSON-LD, with what is needed to fetch and prove it, signed.

A manifest is a Croissant 1.0 document (any Croissant tool reads it) with fields of our own in the ``cairn:`` namespace:

==========================  =============================================================================================
``cairn:root``              root CID of the dataset
``cairn:providers``         gateways, as a hint: nothing rests on them
per ``cr:FileObject``       ``cairn:unixfsRoot`` (CID of the file), ``cairn:path``, ``cairn:size``; for shards ``cairn:samples``
                            and ``cairn:sampleOffsets`` (byte where each sample begins); ``cairn:index`` for a loader's index
                            (:mod:`cairn_data.indexes`); ``cairn:pieceCid`` and ``cairn:pieceOffset`` if they are given;
                            ``cairn:blake3`` if it is asked for; ``cairn:blockTables`` and ``cairn:blockBytes`` for readers
                            with ``verify="manifest"`` (:mod:`cairn_data.blocks`)
``cairn:signature``         publisher's Ed25519 key and signature, both in hex
==========================  =============================================================================================

1. The canonical form is DAG-CBOR of the document without ``cairn:signature``. The manifest's id is the CID of that.
2. The signature is over ``cairn-manifest-v1:`` and the binary id. Who signs vouches that names, versions and descriptions
   belong to this root; the bytes below the root need nobody's word.
3. ``sha256``, ``cairn:blake3`` and ``contentSize`` of each file are computed from verified bytes, so that other tools can
   check them too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from . import dagcbor, ed25519, indexes
from .blocks import BLOCK_BYTES, TableWriter
from .cid import DAG_CBOR, LEAF_BYTES, RAW, Cid
from .dataset import Dataset, Entry, File
from .errors import CidRejection, ManifestRejection, OptionRejection
from .shards import samples

NAMESPACE = "https://cairn.invalid/ns#"
"""Prefix of our fields; a name, not an address."""
_SIGNATURE = "cairn:signature"
_DOMAIN = b"cairn-manifest-v1:"
_BYTES_MAX = 256 << 20
_FORMATS = {
    ".tar": "application/x-tar",
    ".parquet": "application/x-parquet",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cairn": NAMESPACE,
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def build(
    dataset: Dataset,
    *,
    name: str,
    version: str,
    description: str,
    license: str,
    url: str | None = None,
    creator: str | None = None,
    published: str | None = None,
    cite_as: str | None = None,
    providers: Sequence[str] = (),
    pieces: Mapping[str, Mapping[str, Any]] | None = None,
    sample_offsets: bool = True,
    blake3: bool = False,
    blocks: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """An unsigned manifest of all files of a dataset. Reads every byte once, verified.

    ``published``: a date, ``2026-11-22``. ``pieces``: by path, ``pieceCid`` and ``pieceOffset``. The addresses of files are
    those at the first provider, or ``cairn://``. ``blake3``: hash with BLAKE3 too, by the package of that name. ``blocks``:
    a folder for tables of digests per 64 KiB (:mod:`cairn_data.blocks`), made if it is not there. Raises FetchError,
    ShardRejection, OSError; OptionRejection for a piece of no file, or without that package.
    """
    more = _blake3() if blake3 else None
    tables = None if blocks is None else Path(blocks)
    if tables is not None:
        tables.mkdir(parents=True, exist_ok=True)
    root = str(dataset.root)
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "version": version,
        "description": description,
        "license": license,
        "url": url or f"cairn://{root}",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "cairn:root": root,
        "cairn:providers": list(providers),
        "distribution": [
            _file_object(dataset, number, entry, providers, (pieces or {}).get(entry.path, {}), sample_offsets, more, tables)
            for number, entry in enumerate(dataset.walk())
        ],
    }
    if strange := sorted(set(pieces or {}) - {each["cairn:path"] for each in document["distribution"]}):
        raise OptionRejection(f"pieces of files that are not in the dataset: {', '.join(strange[:5])}")
    if creator is not None:
        document["creator"] = {"@type": "sc:Organization", "name": creator}
    if published is not None:
        document["datePublished"] = published
    if cite_as is not None:
        document["citeAs"] = cite_as
    return document


def _file_object(
    dataset: Dataset,
    number: int,
    entry: Entry,
    providers: Sequence[str],
    piece: Mapping[str, Any],
    sample_offsets: bool,
    more: Callable[[], Any] | None,
    tables: Path | None,
) -> dict[str, Any]:
    file = File(dataset, entry)
    writer = TableWriter(tables) if tables is not None and file.size > BLOCK_BYTES else None
    sha256, blake3 = _digests(file, more, writer)
    suffix = "." + entry.path.rpartition(".")[2].lower()
    base = f"{providers[0].rstrip('/')}/data/" if providers else "cairn://"
    described: dict[str, Any] = {
        "@type": "cr:FileObject",
        # Croissant's own checker takes no id with white space in it.
        "@id": entry.path if entry.path and not any(each.isspace() for each in entry.path) else f"file-{number}",
        "name": entry.path or "data",
        "contentUrl": f"{base}{dataset.root}/{quote(entry.path)}".rstrip("/"),
        "contentSize": f"{entry.size} B",
        "encodingFormat": _FORMATS.get(suffix, "application/octet-stream"),
        "sha256": sha256,
        "cairn:path": entry.path,
        "cairn:unixfsRoot": str(entry.cid),
        "cairn:size": entry.size,
    }
    if blake3 is not None:
        described["cairn:blake3"] = blake3
    if writer is not None:
        described |= {"cairn:blockBytes": BLOCK_BYTES, "cairn:blockTables": writer.finish()}
    if (index := indexes.kind(file)) is not None:
        described["cairn:index"] = index
    for key in ("pieceCid", "pieceOffset"):
        if key in piece:
            described[f"cairn:{key}"] = piece[key]
    if suffix == ".tar":
        offsets = [start for start, _, _ in samples(file, entry.path)]
        described["cairn:samples"] = len(offsets)
        if sample_offsets:
            described["cairn:sampleOffsets"] = offsets
    return described


def _digests(file: File, more: Callable[[], Any] | None, tables: TableWriter | None) -> tuple[str, str | None]:
    """SHA-256 of a file, and what the second hash says, in hex."""
    if file.entry.cid.codec == RAW and file.size <= LEAF_BYTES and more is None and tables is None:
        return file.entry.cid.digest.hex(), None  # a file of one leaf is named by this very hash
    digest, second = hashlib.sha256(), more() if more is not None else None
    for piece in file.stream():
        digest.update(piece)
        if second is not None:
            second.update(piece)
        if tables is not None:
            tables.update(piece)
    return digest.hexdigest(), None if second is None else str(second.hexdigest())


def _blake3() -> Callable[[], Any]:
    from importlib import import_module

    try:
        return cast("Callable[[], Any]", import_module("blake3").blake3)
    except ImportError:
        raise OptionRejection("BLAKE3 needs the package blake3: pip install 'cairn-data[blake3]'") from None


def manifest_id(document: Mapping[str, Any]) -> Cid:
    """The CID of a manifest, whether signed or not."""
    unsigned = {key: value for key, value in document.items() if key != _SIGNATURE}
    return Cid.of(DAG_CBOR, dagcbor.encode(unsigned))


def sign(document: Mapping[str, Any], secret: bytes) -> dict[str, Any]:
    """The manifest with the signature of a publisher's Ed25519 key (32 bytes)."""
    signature = ed25519.sign(secret, _DOMAIN + manifest_id(document).to_bytes())
    return {**document, _SIGNATURE: {"publicKey": ed25519.public_key(secret).hex(), "signature": signature.hex()}}


def verify(document: Mapping[str, Any], publisher: str | None = None, expected: Cid | None = None) -> Cid:
    """Checks a signed manifest and gives its id.

    ``publisher``: public key in hex that must have signed; without it any key may have, and the signature says only that
    the document is whole. ``expected``: the id that was asked for. Raises :class:`ManifestRejection`.
    """
    claimed = document.get(_SIGNATURE)
    if not isinstance(claimed, dict):
        raise ManifestRejection("the manifest is not signed")
    try:
        public, signature = bytes.fromhex(claimed["publicKey"]), bytes.fromhex(claimed["signature"])
        Cid.parse(document["cairn:root"])
    except (KeyError, TypeError, ValueError, AttributeError, CidRejection) as error:
        raise ManifestRejection(f"the manifest's signature or root is malformed: {error!r}") from None
    cid = manifest_id(document)
    if expected is not None and cid != expected:
        raise ManifestRejection(f"expected manifest {expected}, got {cid}")
    if publisher is not None and public.hex() != publisher.lower():
        raise ManifestRejection(f"signed by {public.hex()}; expected {publisher}")
    if not ed25519.verify(public, _DOMAIN + cid.to_bytes(), signature):
        raise ManifestRejection(f"the signature of {public.hex()} is wrong for manifest {cid}")
    return cid


def loads(text: str | bytes) -> dict[str, Any]:
    """Reads a manifest. Numbers with a fraction and keys that come twice are refused. Raises :class:`ManifestRejection`."""

    def no_float(number: str) -> Any:
        raise ManifestRejection(f"{number}: a manifest has no fractions")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ManifestRejection(f"a key comes twice, one of {', '.join(key for key, _ in pairs)[:200]}")
        return dict(pairs)

    if len(text) > _BYTES_MAX:
        raise ManifestRejection(f"{len(text)} bytes; a manifest has at most {_BYTES_MAX}")
    try:
        document = json.loads(text, parse_float=no_float, parse_constant=no_float, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ManifestRejection(f"no JSON: {error}") from None
    if not isinstance(document, dict):
        raise ManifestRejection("a manifest is a JSON object")
    return document


def dumps(document: Mapping[str, Any]) -> str:
    """The text of a manifest."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def check_dataset(document: Mapping[str, Any], dataset: Dataset) -> None:
    """Compares every file that a manifest lists with the dataset's own nodes. Raises :class:`ManifestRejection`."""
    if document.get("cairn:root") != str(dataset.root):
        raise ManifestRejection(f"the manifest is that of {document.get('cairn:root')}; this is {dataset.root}")
    listed = {each.get("cairn:path"): each for each in document.get("distribution", []) if isinstance(each, dict)}
    held = {entry.path: entry for entry in dataset.walk()}
    if set(listed) != set(held):
        different = sorted(str(path) for path in set(listed) ^ set(held))[:5]
        raise ManifestRejection(f"files that are in the manifest or in the dataset alone: {', '.join(different)}")
    for path, entry in held.items():
        claims = (listed[path].get("cairn:unixfsRoot"), listed[path].get("cairn:size"))
        if claims != (str(entry.cid), entry.size):
            raise ManifestRejection(f"{path!r}: the manifest says {claims}; the dataset ({entry.cid}, {entry.size})")


__all__ = ["build", "check_dataset", "dumps", "loads", "manifest_id", "sign", "verify"]
