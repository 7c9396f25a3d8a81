"""Reads a dataset with one loader and prints what came: a JSON list of [number, SHA-256] in the order of the loader.

    python read_with.py mds|litdata|lance|lance-take REMOTE ENDPOINT CACHE

A process of its own, as a training job is: the loaders take certificates and endpoints from the environment when they start.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from typing import Any

TAKEN = [5, 1999, 700, 701]
"""Rows that ``lance-take`` asks for."""


def _mds(remote: str, endpoint: str, cache: str) -> Iterable[tuple[int, bytes]]:
    from streaming import StreamingDataset

    dataset = StreamingDataset(remote=remote, local=cache, shuffle=False, batch_size=1, download_timeout=60)
    return ((sample["number"], sample["data"]) for sample in dataset)


def _litdata(remote: str, endpoint: str, cache: str) -> Iterable[tuple[int, bytes]]:
    from litdata import StreamingDataset
    from torch.utils.data import DataLoader

    storage = {"endpoint_url": endpoint, "aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    dataset = StreamingDataset(remote, cache_dir=cache, shuffle=False, storage_options=storage)
    return ((int(sample["number"]), sample["data"]) for sample in DataLoader(dataset, batch_size=None))


def _lance(remote: str, endpoint: str, cache: str, rows: list[int] | None = None) -> Iterable[tuple[int, bytes]]:
    import lance

    storage = {
        "aws_endpoint": endpoint,
        "allow_http": "true",
        "aws_region": "us-east-1",
        "aws_virtual_hosted_style_request": "false",
    }
    dataset = lance.dataset(remote, storage_options=storage)
    table: Any = dataset.to_table() if rows is None else dataset.take(rows)
    return zip(table["number"].to_pylist(), table["data"].to_pylist(), strict=True)


def main() -> None:
    """Prints the samples."""
    how, remote, endpoint, cache = sys.argv[1:]
    readers = {"mds": _mds, "litdata": _litdata, "lance": _lance}
    samples = _lance(remote, endpoint, cache, TAKEN) if how == "lance-take" else readers[how](remote, endpoint, cache)
    print(json.dumps([[number, hashlib.sha256(data).hexdigest()] for number, data in samples]))


if __name__ == "__main__":
    main()
