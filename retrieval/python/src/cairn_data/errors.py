"""Every exception of this package.

Three kinds, kept apart by type: a *rejection* says that the request or the data is wrong, and repeating does not help; an
*error* says that the world failed, and repeating may help; anything else that leaves this package is a bug of ours.

::

    CairnDataError
    ├── RequestRejection            the caller asked for something that cannot be (ValueError)
    │   ├── CidRejection            a text or bytes that are no CID of this network
    │   ├── UrlRejection            not a cairn:// address, or not the address of a provider
    │   ├── UnknownDataset          a name that no alias or manifest resolves
    │   ├── NotInDataset            no such path in the dataset (FileNotFoundError)
    │   ├── NotAFile                the path is a folder (IsADirectoryError)
    │   ├── NotAFolder              the path is a file (NotADirectoryError)
    │   ├── OptionRejection         an option out of its range
    │   ├── ExtraMissing            an optional dependency that is not installed (ImportError)
    │   ├── ConcurrentUse           threads move one file object's position under each other
    │   └── StateRejection          a saved position that belongs to another stream
    ├── ContentRejection            bytes that are not what they should be
    │   ├── BlockRejection          bytes that do not hash to the CID they were asked by
    │   ├── NodeRejection           a block that hashes to its CID, and is no node of a dataset
    │   ├── ShardRejection          a shard that is no tar archive
    │   ├── ManifestRejection       a manifest that is malformed, or whose signature is wrong
    │   ├── ProofRejection          a proof that does not lead to its piece, or bytes that are not the piece's
    │   └── EncryptionRejection     an encrypted file or key file that is malformed, changed, cut or mixed up
    │       ├── WrongKey            a file that was encrypted with another key
    │       └── NotGranted          a key that was not granted to any of the given identities (PermissionError)
    ├── FetchError                  no provider is left for a piece of work (OSError); ``failures`` says what each did
    └── CacheError                  the cache folder cannot be used (OSError)

``FetchError.failures`` holds one :class:`ProviderFault` per thing that went wrong::

    ProviderFault
    ├── Unreachable                 no connection
    ├── Disconnected                the answer broke off
    ├── Stalled                     nothing came for too long
    ├── Busy                        429, 502, 503, 504; ``retry_after`` in seconds, if the provider said so
    ├── Refused                     any other status: this provider will not answer this request
    ├── Mismatch                    an answer to another question: wrong range, wrong length
    └── BadBytes                    bytes that do not hash to their CID: this provider is not asked again
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BadBytes",
    "BlockRejection",
    "Busy",
    "CacheError",
    "CairnDataError",
    "CidRejection",
    "ConcurrentUse",
    "ContentRejection",
    "Disconnected",
    "EncryptionRejection",
    "ExtraMissing",
    "FetchError",
    "ManifestRejection",
    "Mismatch",
    "NodeRejection",
    "NotAFile",
    "NotAFolder",
    "NotGranted",
    "NotInDataset",
    "OptionRejection",
    "ProofRejection",
    "ProviderFault",
    "Refused",
    "RequestRejection",
    "ShardRejection",
    "Stalled",
    "StateRejection",
    "UnknownDataset",
    "Unreachable",
    "UrlRejection",
    "WrongKey",
]


class CairnDataError(Exception):
    """Root of the tree: catches everything that this package raises on purpose."""


class RequestRejection(CairnDataError, ValueError):
    """The caller asked for something that cannot be."""


class CidRejection(RequestRejection):
    """A text or bytes that are no CID of this network."""


class UrlRejection(RequestRejection):
    """Not a ``cairn://`` address, or not the address of a provider."""


class UnknownDataset(RequestRejection):
    """A name that no alias or manifest resolves."""


class NotInDataset(RequestRejection, FileNotFoundError):
    """No such path in the dataset. Proven by the dataset's own nodes, not by a provider's word."""


class NotAFile(RequestRejection, IsADirectoryError):
    """The path is a folder."""


class NotAFolder(RequestRejection, NotADirectoryError):
    """The path is a file."""


class OptionRejection(RequestRejection):
    """An option out of its range."""


class ExtraMissing(RequestRejection, ImportError):
    """An optional dependency that is not installed."""


class ConcurrentUse(RequestRejection):
    """Threads move the position of one file object under each other; each needs a file object of its own."""


class StateRejection(RequestRejection):
    """A saved position that belongs to another stream."""


class ContentRejection(CairnDataError):
    """Bytes that are not what they should be."""


class BlockRejection(ContentRejection):
    """Bytes that do not hash to the CID they were asked by."""


class NodeRejection(ContentRejection):
    """A block that hashes to its CID, and is no node of a dataset."""


class ShardRejection(ContentRejection):
    """A shard that is no tar archive."""


class ManifestRejection(ContentRejection):
    """A manifest that is malformed, or whose signature is wrong."""


class ProofRejection(ContentRejection):
    """A proof that does not lead to its piece, or bytes that are not the piece's."""


class EncryptionRejection(ContentRejection):
    """An encrypted file or a key file that is malformed, changed, cut or mixed up."""


class WrongKey(EncryptionRejection):
    """A file that was encrypted with another key."""


class NotGranted(EncryptionRejection, PermissionError):
    """A key that was not granted to any of the given identities."""


class ProviderFault(CairnDataError):
    """One thing that one provider did. ``retryable`` says whether the same provider is worth another try."""

    retryable = True

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"{provider}: {reason}")
        self.provider = provider
        self.reason = reason

    def __reduce__(self) -> tuple[type[ProviderFault], tuple[str, str]]:
        return (type(self), (self.provider, self.reason))


class Unreachable(ProviderFault):
    """No connection."""


class Disconnected(ProviderFault):
    """The answer broke off."""


class Stalled(ProviderFault):
    """Nothing came for too long."""


class Busy(ProviderFault):
    """The provider asks to come back later."""

    retry_after: float | None = None


class Refused(ProviderFault):
    """The provider will not answer this request."""

    retryable = False


class Mismatch(ProviderFault):
    """An answer to another question: wrong range, wrong length."""

    retryable = False


class BadBytes(ProviderFault):
    """Bytes that do not hash to their CID. The provider is not asked again by this process."""

    retryable = False


class FetchError(CairnDataError, OSError):
    """No provider is left for a piece of work. What was verified until then is kept in the cache."""

    def __init__(self, what: str, failures: Sequence[ProviderFault]) -> None:
        shown = "; ".join(str(fault) for fault in list(failures)[-8:]) or "no provider was given"
        super().__init__(f"{what}: {shown}")
        self.what = what
        self.failures = tuple(failures)

    def __reduce__(self) -> tuple[type[FetchError], tuple[str, tuple[ProviderFault, ...]]]:
        return (type(self), (self.what, self.failures))


class CacheError(CairnDataError, OSError):
    """The cache folder cannot be used."""
