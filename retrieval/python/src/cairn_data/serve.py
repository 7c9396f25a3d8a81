"""A local caching proxy: plain HTTP on loopback for loaders that cannot be changed.

    cairn-data serve --from http://gateway:8080 --cache /var/cache/cairn

then ``http://127.0.0.1:PORT/data/{root or name}/{path}``. What leaves it has been verified; what breaks off upstream is
resumed upstream; what was read once comes from the cache. GET and HEAD, one range per request (closed, open or suffix,
clamped; anything else is answered whole, as RFC 9110 allows), 416, ETag (the CID), If-None-Match, If-Match, If-Range.
Folders are JSON, in the gateway's form. ``/health`` counts. ``/manifest/{root or name}/croissant.json`` is a manifest that the
proxy was given, and beside it, at its path, each loader's index (:mod:`cairn_data.indexes`), those that were made with this
proxy's addresses in them. Every other path is S3's (:mod:`cairn_data.s3`), with the dataset
as the bucket: loaders that speak S3 alone take ``http://127.0.0.1:PORT`` as their endpoint.

With a certificate it speaks TLS, which litdata asks of an S3 endpoint; :func:`make_certificate` makes one for loopback.

A provider's failure is a 502 if nothing was sent yet, and otherwise the connection breaks: a short answer must never look
like a whole one.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from . import indexes, manifest, s3
from .client import Client
from .dataset import Dataset, File
from .errors import CairnDataError, FetchError, NotInDataset, OptionRejection, RequestRejection, UnknownDataset

_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
_CACHE_IMMUTABLE = "public, max-age=29030400, immutable"
_CACHE_NAMED = "public, max-age=5"
_IDLE_SECONDS = 300.0
_SHORT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM that a server speaks TLS with."""

    chain: Path
    """Its certificate, and those between it and an authority."""
    key: Path
    """The secret key."""


def make_certificate(folder: str | os.PathLike[str]) -> Certificate:
    """A certificate for localhost and 127.0.0.1 and its key in ``folder``, by the ``openssl`` command; what is there is kept.

    Clients trust ``authority.pem`` (``AWS_CA_BUNDLE``, ``SSL_CERT_FILE``); its own key is not kept. Raises OptionRejection.
    """
    base = Path(folder)
    made = Certificate(base / "certificate.pem", base / "key.pem")
    if made.chain.exists() and made.key.exists():
        return made
    base.mkdir(parents=True, exist_ok=True)
    common = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "825"]
    with tempfile.TemporaryDirectory() as private:
        authority_key = str(Path(private, "authority.key"))
        authority = [
            *common,
            "-keyout",
            authority_key,
            "-out",
            str(base / "authority.pem"),
            "-subj",
            "/CN=cairn-data authority",
        ]
        authority += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        server = [*common, "-CA", str(base / "authority.pem"), "-CAkey", authority_key, "-subj", "/CN=localhost"]
        server += ["-keyout", str(made.key), "-out", str(made.chain), "-addext", "basicConstraints=critical,CA:FALSE"]
        server += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "extendedKeyUsage=serverAuth"]
        for command in (authority, server):
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except FileNotFoundError:
                raise OptionRejection("the openssl command is needed to make a certificate; give one instead") from None
            except subprocess.CalledProcessError as error:
                raise OptionRejection(f"openssl made no certificate: {error.stderr.strip()[-300:]}") from None
    made.key.chmod(0o600)
    return made


class ProxyServer(ThreadingHTTPServer):
    """The proxy; ``server_address`` says where it listens."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        client: Client,
        address: tuple[str, int] = ("127.0.0.1", 0),
        tls: Certificate | None = None,
        manifests: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Listens at once; answers after ``serve_forever``. ``manifests`` are taken as they are: check them before.

        Raises OSError; OptionRejection for a bad certificate.
        """
        self.client = client
        self.tls = tls
        self.manifests = {str(each.get("cairn:root")): each for each in manifests}
        super().__init__(address, _Handler)
        if tls is not None:
            try:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(tls.chain, tls.key)
            except OSError as error:
                self.server_close()
                raise OptionRejection(f"{tls.chain} and {tls.key} are no certificate with its key: {error}") from None
            # The handshake is the handler's, in its thread and within its time: nobody holds up the others.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        """Where clients find it."""
        host, port = self.server_address[:2]
        return f"{'http' if self.tls is None else 'https'}://{host!s}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "cairn-data"
    timeout = _IDLE_SECONDS
    server: ProxyServer

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the loader reports what it does."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        try:
            self._route(with_body)
        except (NotInDataset, UnknownDataset) as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error), with_body)
        except RequestRejection as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error), with_body)
        except CairnDataError as error:
            self._refuse(HTTPStatus.BAD_GATEWAY, str(error), with_body)

    def _route(self, with_body: bool) -> None:
        path = urlsplit(self.path).path
        if path == "/health":
            health: dict[str, Any] = {
                "status": "ok",
                "stats": asdict(self.server.client.stats()),
                "providers": self.server.client.report(),
            }
            self._json(health, {"Cache-Control": "no-store"}, with_body)
            return
        if not path.startswith(("/data/", "/manifest/")):
            self._s3(with_body)
            return
        names = [unquote(name, errors="strict") for name in path.split("/")]
        if len(names) < 3 or not names[2] or any("/" in name for name in names):
            raise NotInDataset(f"{path}: expected /data/{{dataset}}/{{path}}")
        name, inner = names[2], "/".join(names[3:])
        dataset = self.server.client.dataset(name)
        if names[1] == "manifest":
            self._manifest(dataset, inner, with_body)
            return
        entry = dataset.entry(inner)
        cache = _CACHE_IMMUTABLE if str(dataset.root) == name else _CACHE_NAMED
        headers = {"Cache-Control": cache, "X-Content-Cid": str(entry.cid)}
        if not entry.is_folder:
            if inner.endswith("/"):
                raise NotInDataset(f"{inner} is a file")
            self._file(File(dataset, entry), headers, with_body)
            return
        listed: list[dict[str, Any]] = []
        for each in dataset.entries(inner):
            last = each.path.rpartition("/")[2]
            if each.is_folder:
                listed.append({"name": last, "kind": "folder"})
            else:
                listed.append({"name": last, "kind": "file", "size": each.size, "cid": str(each.cid)})
        body: dict[str, Any] = {"dataset": str(dataset.root), "path": entry.path, "entries": listed, "next": None}
        self._json(body, headers, with_body)

    def _manifest(self, dataset: Dataset, path: str, with_body: bool) -> None:
        document = self.server.manifests.get(str(dataset.root))
        if document is None:
            raise NotInDataset(f"no manifest of {dataset.root} was given")
        own = {each.get("cairn:path") for each in document.get("distribution", []) if "cairn:index" in each}
        if path in own:
            self._file(File(dataset, dataset.entry(path)), {"Cache-Control": _CACHE_NAMED}, with_body)
            return
        base = f"{urlsplit(self.server.url).scheme}://{self.headers.get('Host') or urlsplit(self.server.url).netloc}"
        made = {"croissant.json": manifest.dumps(document)} if path == "croissant.json" else {}
        made = made or indexes.generated(document, f"{base}/data/{dataset.root}/")
        if path not in made:
            raise NotInDataset(f"{path}: expected croissant.json or one of {', '.join(sorted({*made, *own}))}")
        data = made[path].encode()
        self._head(HTTPStatus.OK, {"Content-Type": "application/json", "Cache-Control": _CACHE_NAMED}, len(data))
        if with_body:
            self.wfile.write(data)

    def _s3(self, with_body: bool) -> None:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path.lstrip("/"), errors="strict").partition("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        client = self.server.client
        try:
            if not bucket:
                self._xml(HTTPStatus.OK, s3.buckets(client), with_body)
                return
            try:
                dataset = client.dataset(bucket)
            except RequestRejection as error:
                raise s3.S3Refusal(404, "NoSuchBucket", str(error)) from None
            if key:
                self._s3_object(dataset, key, with_body)
            elif not with_body:
                dataset.entry()  # whether anybody has it
                self._xml(HTTPStatus.OK, "", with_body)
            elif "location" in query:
                self._xml(HTTPStatus.OK, s3.location(), with_body)
            else:
                self._xml(HTTPStatus.OK, s3.objects(bucket, dataset, query), with_body)
        except s3.S3Refusal as refusal:
            self._xml(HTTPStatus(refusal.status), refusal.xml(), with_body)
        except FetchError as error:
            self._xml(HTTPStatus.SERVICE_UNAVAILABLE, s3.S3Refusal(503, "SlowDown", str(error)).xml(), with_body)

    def _s3_object(self, dataset: Dataset, key: str, with_body: bool) -> None:
        missing = s3.S3Refusal(404, "NoSuchKey", f"{key} is not in {dataset.root}")
        try:
            entry = dataset.entry(key)
        except RequestRejection:
            raise missing from None
        if entry.is_folder or key != entry.path:
            raise missing
        self._file(File(dataset, entry), {"Last-Modified": s3.LAST_MODIFIED}, with_body)

    def _xml(self, status: HTTPStatus, body: str, with_body: bool) -> None:
        data = body.encode()
        self._head(status, {"Content-Type": "application/xml"}, len(data))
        if with_body:
            self.wfile.write(data)

    def _file(self, file: File, headers: dict[str, str], with_body: bool) -> None:
        etag = f'"{file.entry.cid}"'
        headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
        if not _matches(self.headers.get("If-Match"), etag, absent=True):
            self._refuse(HTTPStatus.PRECONDITION_FAILED, f"the file is {etag}", with_body)
            return
        if _matches(self.headers.get("If-None-Match"), etag, absent=False):
            self._head(HTTPStatus.NOT_MODIFIED, headers, None)
            return
        wanted = self.headers.get("Range") if self.headers.get("If-Range", etag) == etag and with_body else None
        selected = _select(wanted, file.size)
        headers["Content-Type"] = guess_type(file.entry.path)[0] or "application/octet-stream"
        if selected is None:
            self._refuse(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"{wanted} of {file.size} bytes",
                with_body,
                {"Content-Range": f"bytes */{file.size}"},
            )
            return
        start, end, part = selected
        if part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
        if not with_body:
            self._head(status, headers, end - start)
            return
        # Short ranges go through the leaves in memory: loaders ask for neighbours one by one. The first piece comes before
        # the head, so that a failure is a 502 and not a broken 200.
        stream = file.stream(start, end) if end - start > _SHORT_BYTES else iter([file.read(start, end)])
        piece = next(stream, b"")
        self._head(status, headers, end - start)
        try:
            while piece:
                self.wfile.write(piece)
                piece = next(stream, b"")
        except (CairnDataError, OSError):
            self.close_connection = True

    # -- answers -----------------------------------------------------------------------------------------------------

    def _head(self, status: HTTPStatus, headers: dict[str, str], length: int | None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _json(self, body: Any, headers: dict[str, str], with_body: bool) -> None:
        data = json.dumps(body).encode()
        self._head(HTTPStatus.OK, {**headers, "Content-Type": "application/json"}, len(data))
        if with_body:
            self.wfile.write(data)

    def _refuse(self, status: HTTPStatus, reason: str, with_body: bool, headers: dict[str, str] | None = None) -> None:
        data = (reason + "\n").encode()
        common = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
        self._head(status, {**common, **(headers or {})}, len(data))
        if with_body:
            self.wfile.write(data)


def _matches(header: str | None, etag: str, absent: bool) -> bool:
    if header is None:
        return absent
    return any(each.strip().removeprefix("W/") in ("*", etag) for each in header.split(","))


def _select(header: str | None, size: int) -> tuple[int, int, bool] | None:
    """Start, end, and whether it is a part; none if the range cannot be satisfied."""
    whole = (0, size, False)
    match = _RANGE.match(header.strip()) if header is not None else None
    if match is None or match[0] == "bytes=-":
        return whole
    first, last = match[1], match[2]
    if not first:
        count = min(int(last), size)
        return (size - count, size, True) if count else None
    if last and int(last) < int(first):
        return whole
    start, end = int(first), min(int(last) + 1 if last else size, size)
    return (start, end, True) if start < size else None
