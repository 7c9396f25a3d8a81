"""What the tests share: a real gateway, a proxy that meters and breaks things, and data made from seeds."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import random
import re
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("CAIRN_BINARY", REPOSITORY / "target" / "release" / "cairn"))
MIB = 1 << 20
PIECE = 64 << 10


def noise(seed: object, size: int) -> bytes:
    """Bytes that look random and are the same every time."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def tar_shard(seed: str, samples: int, size: int) -> bytes:
    """A WebDataset shard: a field of about ``size`` bytes, a class and a JSON text per sample."""
    out = io.BytesIO()
    draw = random.Random(seed)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(samples):
            key = f"{seed}/{number:06d}"
            image = noise(key, draw.randrange(size // 2, size * 3 // 2))
            for name, data in [
                ("bin", image),
                ("cls", str(number % 10).encode()),
                ("json", f'{{"key": "{key}"}}'.encode()),
            ]:
                info = tarfile.TarInfo(f"{key}.{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Gateway:
    """A `cairn gateway` process that serves a folder, or several, or a hot store."""

    def __init__(self, *folders: Path, store: Path | None = None) -> None:
        command = [str(BINARY), "gateway", "--listen", "127.0.0.1:0"]
        command += [word for each in folders for word in ("--data", str(each))]
        command += ["--store", str(store)] if store else []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.root = self.url = ""
        said = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said.append(line)
            self.root = next(iter(re.findall(r"\b(bafy[a-z2-7]{55})\b", line)), self.root)
            self.url = next(iter(re.findall(r"(http://[0-9.:]+)", line)), self.url)
            if self.root and self.url:
                break
        assert self.root and self.url, f"{command} said: {''.join(said)}"
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:  # it lets running transfers end; nobody waits for theirs any more
            self.process.kill()
            self.process.wait()


class Proxy:
    """Forwards GET and HEAD to a gateway, counts what it sends, and misbehaves as told.

    ``cut``: chance that a connection is cut, per 64 KiB of a body. ``flip``: one byte per MiB of file content is wrong.
    ``stall``: nothing more comes after the first 100 kB of a body. ``busy``: how many requests get a 503 first.
    """

    def __init__(self, upstream: str, cut: float = 0.0, flip: bool = False, stall: bool = False, busy: int = 0) -> None:
        self.upstream = upstream.removeprefix("http://")
        self.cut, self.flip, self.stall, self.busy = cut, flip, stall, busy
        self.random = random.Random(7)
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.reset()
        proxy = self

        class Handler(_ProxyHandler):
            owner = proxy

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def reset(self) -> None:
        """Counts anew."""
        self.requests = self.bytes = self.cuts = 0
        self.log: list[tuple[str, str, str | None]] = []

    def stop(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _ProxyHandler(BaseHTTPRequestHandler):
    owner: Proxy
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._forward()

    def do_GET(self) -> None:
        self._forward()

    def _forward(self) -> None:
        proxy = self.owner
        with proxy.lock:
            proxy.requests += 1
            proxy.log.append((self.command, self.path, self.headers.get("Range")))
            busy = proxy.busy > 0
            proxy.busy -= busy
        if busy:
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        upstream = http.client.HTTPConnection(proxy.upstream, timeout=60)
        wanted = ("Range", "If-Match", "If-None-Match", "If-Range", "Accept")
        upstream.request(self.command, self.path, headers={n: self.headers[n] for n in wanted if n in self.headers})
        answer = upstream.getresponse()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._body(answer)
        upstream.close()

    def _body(self, answer: http.client.HTTPResponse) -> None:
        proxy, sent = self.owner, 0
        content = self.path.startswith("/data/")
        while piece := answer.read(PIECE):
            if proxy.flip and content and sent % MIB == 0:
                piece = bytes([piece[0] ^ 1]) + piece[1:]
            if proxy.stall and content and sent >= 100_000:
                proxy.closing.wait(30)
                self.close_connection = True
                return
            with proxy.lock:
                cut = content and proxy.random.random() < proxy.cut
                proxy.cuts += cut
            if cut:
                piece = piece[: len(piece) // 2]
            self.wfile.write(piece)
            sent += len(piece)
            with proxy.lock:
                proxy.bytes += len(piece)
            if cut:
                self.wfile.flush()
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return


@contextlib.contextmanager
def proxies(upstream: str, *faults: dict[str, Any]) -> Iterator[list[Proxy]]:
    """Proxies in front of one gateway, stopped at the end."""
    running = [Proxy(upstream, **fault) for fault in faults]
    try:
        yield running
    finally:
        for proxy in running:
            proxy.stop()
