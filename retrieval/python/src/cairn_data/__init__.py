"""Verified, resumable reading of content-addressed datasets.

::

    from cairn_data import Client

    client = Client(["http://127.0.0.1:8080", "http://127.0.0.1:8081"], cache="/var/cache/cairn")
    dataset = client.dataset("bafybei...")
    for entry in dataset.walk("images"):
        print(entry.path, entry.size)
    first = dataset.file("images/photos-000000.tar").read(0, 512)

A dataset is named by its root CID. Every MiB that is read is hashed against a CID that comes, through verified nodes, from
that root; so providers need no trust, and any number of them can serve one read.

- :mod:`cairn_data.fs`: ``cairn://`` for fsspec, and so for PyArrow, pandas, Zarr, HF datasets.
- :mod:`cairn_data.shards`: WebDataset shards in a deterministic order, resumable; :mod:`cairn_data.torch` for DataLoader.
- :mod:`cairn_data.download`: whole files and folders, resumable. :mod:`cairn_data.serve`: a local proxy for other loaders.
- :mod:`cairn_data.encryption`: encrypted datasets, read in the clear with ``identity=``.
- :mod:`cairn_data.manifest`: signed Croissant manifests. :mod:`cairn_data.errors`: every exception.

Importing this package imports none of these, and nothing outside the standard library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Address", "CairnDataError", "Cid", "Client", "Dataset", "DiskCache", "Entry", "File", "Options", "Stats"]

if TYPE_CHECKING:
    from .cache import DiskCache
    from .cid import Cid
    from .client import Address, Client
    from .dataset import Dataset, Entry, File
    from .errors import CairnDataError
    from .fetch import Options, Stats

_HOMES = {
    "Address": "client",
    "CairnDataError": "errors",
    "Cid": "cid",
    "Client": "client",
    "Dataset": "dataset",
    "DiskCache": "cache",
    "Entry": "dataset",
    "File": "dataset",
    "Options": "fetch",
    "Stats": "fetch",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
