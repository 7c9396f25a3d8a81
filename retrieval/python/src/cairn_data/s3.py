"""The reading half of S3, for the local proxy: path style, a dataset's root CID or name as the bucket.

ListBuckets, HeadBucket, GetBucketLocation, ListObjects (both versions), HeadObject and GetObject with ranges and conditions.
Signatures are accepted and not looked at: whoever reaches the port may read, so it stays on loopback. Keys are the paths of
files, in the order of their bytes; ETags are CIDs, which nobody can take for an MD5. Times are the beginning of time, because
content has none. Everything else is answered as S3 answers what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote
from xml.sax.saxutils import escape

from .client import Client
from .dataset import Dataset, Entry
from .errors import NotAFolder, NotInDataset

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
LAST_MODIFIED = "Thu, 01 Jan 1970 00:00:00 GMT"
_LAST_MODIFIED_XML = "1970-01-01T00:00:00.000Z"
_KEYS_MAX = 1000


@dataclass(frozen=True, slots=True)
class S3Refusal(Exception):
    """An S3 error: status, code and message."""

    status: int
    code: str
    message: str

    def xml(self) -> str:
        """The body."""
        return f"{_PROLOGUE}<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>"


_PROLOGUE = '<?xml version="1.0" encoding="UTF-8"?>\n'


def buckets(client: Client) -> str:
    """ListBuckets: the names that the proxy was given; every root can be read besides."""
    each = "".join(
        f"<Bucket><Name>{escape(name)}</Name><CreationDate>{_LAST_MODIFIED_XML}</CreationDate></Bucket>"
        for name in sorted(client.names)
    )
    owner = "<Owner><ID>cairn</ID></Owner>"
    return f'{_PROLOGUE}<ListAllMyBucketsResult xmlns="{NAMESPACE}">{owner}<Buckets>{each}</Buckets></ListAllMyBucketsResult>'


def location() -> str:
    """GetBucketLocation."""
    return f'{_PROLOGUE}<LocationConstraint xmlns="{NAMESPACE}"/>'


@dataclass(frozen=True, slots=True)
class _Item:
    """A key, or a common prefix if there is no entry."""

    name: str
    entry: Entry | None


def objects(bucket: str, dataset: Dataset, query: dict[str, str]) -> str:
    """ListObjectsV2, or V1 without ``list-type=2``."""
    second = query.get("list-type") == "2"
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    try:
        wanted = min(int(query.get("max-keys") or _KEYS_MAX), _KEYS_MAX)
    except ValueError:
        wanted = -1
    if wanted < 0:
        raise S3Refusal(400, "InvalidArgument", "max-keys is a number from 0")
    after = query.get("start-after", "") if second else query.get("marker", "")
    token = query.get("continuation-token") if second else None
    if token is not None:
        try:
            after = max(after, bytes.fromhex(token).decode())
        except ValueError:
            raise S3Refusal(400, "InvalidArgument", "the continuation token is not one of ours") from None
    items = _items(dataset, prefix, delimiter)
    items = [item for item in items if item.name > after and not (item.entry is None and after.startswith(item.name))]
    page, more = items[:wanted], len(items) > wanted and wanted > 0
    coded = query.get("encoding-type") == "url"

    def text(value: str) -> str:
        return quote(value, safe="/") if coded else escape(value)

    parts = [f"<Name>{escape(bucket)}</Name><Prefix>{text(prefix)}</Prefix><MaxKeys>{wanted}</MaxKeys>"]
    parts.append(f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>")
    if delimiter:
        parts.append(f"<Delimiter>{text(delimiter)}</Delimiter>")
    if coded:
        parts.append("<EncodingType>url</EncodingType>")
    if second:
        parts.append(f"<KeyCount>{len(page)}</KeyCount>")
        if more:
            parts.append(f"<NextContinuationToken>{page[-1].name.encode().hex()}</NextContinuationToken>")
    else:
        parts.append(f"<Marker>{text(after)}</Marker>")
        if more:
            parts.append(f"<NextMarker>{text(page[-1].name)}</NextMarker>")
    for item in page:
        if item.entry is None:
            parts.append(f"<CommonPrefixes><Prefix>{text(item.name)}</Prefix></CommonPrefixes>")
        else:
            parts.append(
                f"<Contents><Key>{text(item.name)}</Key><LastModified>{_LAST_MODIFIED_XML}</LastModified>"
                f"<ETag>&quot;{item.entry.cid}&quot;</ETag><Size>{item.entry.size}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
    return f'{_PROLOGUE}<ListBucketResult xmlns="{NAMESPACE}">{"".join(parts)}</ListBucketResult>'


def _items(dataset: Dataset, prefix: str, delimiter: str) -> list[_Item]:
    """What a listing shows, all of it, sorted. With the delimiter ``/`` only one folder is looked at."""
    folder = prefix.rpartition("/")[0]
    try:
        entries = list(dataset.entries(folder)) if delimiter == "/" else list(_below(dataset, folder))
    except (NotInDataset, NotAFolder):
        return []
    found: dict[str, _Item] = {}
    for entry in entries:
        name = entry.path + "/" if entry.is_folder else entry.path
        if not name.startswith(prefix):
            continue
        at = name.find(delimiter, len(prefix)) if delimiter else -1
        if at >= 0:
            common = name[: at + len(delimiter)]
            found.setdefault(common, _Item(common, None))
        elif not entry.is_folder:
            found[name] = _Item(name, entry)
    return sorted(found.values(), key=lambda item: item.name.encode())


def _below(dataset: Dataset, folder: str) -> Iterator[Entry]:
    if dataset.entry(folder).is_folder:
        yield from dataset.walk(folder)
