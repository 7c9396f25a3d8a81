"""One provider: its connections, what it did, and how good it has been.

A score is the expected time of a piece of work: time to the first byte, plus bytes by measured throughput, times the work
already running there, doubled for every recent failure. Providers without measurements count as good, so each is tried.
A failure weighs half as much after thirty seconds.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from .errors import BadBytes, Busy, Disconnected, Mismatch, ProviderFault, Refused, Stalled, Unreachable, UrlRejection

_IDLE_CONNECTIONS = 16
_IDLE_SECONDS = 30.0
_FAILURE_HALF_LIFE = 30.0
_LACKING_SECONDS = 5.0
_RETRY_AFTER_MAX = 60.0
_BUSY = {429, 502, 503, 504}
_FIRST_BYTE_GUESS = 0.02
_THROUGHPUT_GUESS = 200e6
_WEIGHT = 0.25
_TELLING_BYTES = 64 << 10
"""Answers shorter than this say nothing about throughput, nor that a provider that failed is well again."""


class Provider:
    """A gateway that serves ``/data/{root}/{path}`` and ``/ipfs/{cid}?format=raw``."""

    def __init__(self, url: str, timeout: float) -> None:
        """``timeout``: seconds without a byte after which a request is given up."""
        parts = urlsplit(url.rstrip("/"))
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.fragment:
            raise UrlRejection(f"{url!r} is no provider: expected http://host[:port][/path] or https://..")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._https = parts.scheme == "https"
        self._host, self._port, self._base = parts.hostname, port, parts.path
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self.blacklisted: ProviderFault | None = None
        self.running = 0
        self.bytes_verified = 0
        self.faults: dict[str, int] = {}
        self.piece_checks = {"passed": 0, "failed": 0, "unanswered": 0}
        self._first_byte = _FIRST_BYTE_GUESS
        self._throughput = _THROUGHPUT_GUESS
        self._recent_first_bytes: deque[float] = deque(maxlen=64)
        self._failures = 0.0
        self._failed_at = 0.0
        self._lacking: dict[str, float] = {}

    # -- judgement ---------------------------------------------------------------------------------------------------

    def expected_seconds(self, size: int, now: float) -> float:
        """Expected time for a request of ``size`` bytes; the lowest is asked next."""
        failures = self._failures * math.pow(0.5, (now - self._failed_at) / _FAILURE_HALF_LIFE)
        return (self._first_byte + size / self._throughput * (self.running + 1)) * math.pow(2.0, min(failures, 10.0))

    def first_byte_p95(self) -> float:
        """95th percentile of the latest times to the first byte, in seconds; a guess until there are eight."""
        recent = sorted(self._recent_first_bytes)
        return recent[int(len(recent) * 0.95)] if len(recent) >= 8 else 4 * _FIRST_BYTE_GUESS

    def lacks(self, dataset: str, now: float) -> bool:
        """Whether it said lately that it does not serve this dataset."""
        return now - self._lacking.get(dataset, -_LACKING_SECONDS) < _LACKING_SECONDS

    def succeeded(self, first_byte: float, size: int, seconds: float) -> None:
        """Records a request that brought all its bytes."""
        with self._lock:
            if size >= _TELLING_BYTES:
                self._failures *= 0.8
            self._recent_first_bytes.append(first_byte)
            self._first_byte += _WEIGHT * (first_byte - self._first_byte)
            if size >= _TELLING_BYTES:
                rate = size / max(seconds - first_byte, 1e-4)
                self._throughput += _WEIGHT * (rate - self._throughput)

    def failed(self, fault: ProviderFault, dataset: str, weight: float) -> None:
        """Records a fault. ``weight``: 1 for a usual one; it doubles the expected time."""
        now = time.monotonic()
        with self._lock:
            self.faults[type(fault).__name__] = self.faults.get(type(fault).__name__, 0) + 1
            self._failures = self._failures * math.pow(0.5, (now - self._failed_at) / _FAILURE_HALF_LIFE) + weight
            self._failed_at = now
            if isinstance(fault, Refused):
                self._lacking[dataset] = now

    def blacklist(self, fault: ProviderFault) -> None:
        """Wrong bytes: never asked again by this process."""
        self.blacklisted = self.blacklisted or fault

    def piece_checked(self, fault: ProviderFault | None) -> None:
        """Records a spot check of a piece. Wrong bytes end its part; silence counts as a failure, a refusal does not."""
        wrong = isinstance(fault, BadBytes)
        with self._lock:
            self.piece_checks["passed" if fault is None else "failed" if wrong else "unanswered"] += 1
        if fault is not None and not isinstance(fault, Refused):
            self.failed(fault, "", 1.0)
            if wrong:
                self.blacklist(fault)

    def verified(self, size: int) -> None:
        """Counts bytes that this provider sent and that hashed to their CIDs."""
        with self._lock:
            self.bytes_verified += size

    # -- connections -------------------------------------------------------------------------------------------------

    def _new_connection(self) -> http.client.HTTPConnection:
        if self._https:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self.timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self.timeout)

    def _take_idle(self) -> http.client.HTTPConnection | None:
        oldest = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if since > oldest:
                    return connection
                connection.close()
        return None

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keeps a connection whose answer was read to its end."""
        with self._lock:
            if len(self._idle) < _IDLE_CONNECTIONS:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def close(self) -> None:
        """Closes the idle connections."""
        with self._lock:
            for _, connection in self._idle:
                connection.close()
            self._idle.clear()

    def request(self, target: str, headers: dict[str, str], on_socket: Callable[[socket.socket], None]) -> Reply:
        """Sends a GET and reads the head of the answer.

        ``on_socket`` receives the socket before anything is sent, so that another thread can cut it. Raises a
        :class:`ProviderFault`.
        """
        headers = {"Accept-Encoding": "identity", "User-Agent": "cairn-data", **headers}
        idle = self._take_idle()
        if idle is not None:
            on_socket(idle.sock)
            # A connection that was idle may have been closed by the other side: that is no fault, once.
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self._send(idle, target, headers)
            idle.close()
        connection = self._new_connection()
        try:
            connection.connect()
        except OSError as error:
            raise Unreachable(self.url, f"no connection: {error}") from None
        on_socket(connection.sock)
        try:
            return self._send(connection, target, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.fault(error) from None

    def _send(self, connection: http.client.HTTPConnection, target: str, headers: dict[str, str]) -> Reply:
        connection.request("GET", self._base + target, headers=headers)
        return Reply(self, connection, connection.getresponse())

    def fault(self, error: BaseException) -> ProviderFault:
        """Names what went wrong on the wire."""
        if isinstance(error, TimeoutError):
            return Stalled(self.url, f"nothing came for {self.timeout:g} s")
        return Disconnected(self.url, f"the answer broke off: {error or type(error).__name__}")


class Reply:
    """An answer whose head has been read."""

    def __init__(self, provider: Provider, connection: http.client.HTTPConnection, response: http.client.HTTPResponse):
        self.provider = provider
        self.connection = connection
        self.response = response

    def check_status(self, target: str) -> None:
        """Raises the fault that the status stands for, unless it is 200 or 206."""
        status = self.response.status
        if status in (200, 206):
            return
        self.connection.close()
        if status in _BUSY:
            fault = Busy(self.provider.url, f"status {status} for {target}")
            text = self.response.headers.get("Retry-After", "")
            if text.isdigit():
                fault.retry_after = min(float(text), _RETRY_AFTER_MAX)
            raise fault
        raise Refused(self.provider.url, f"status {status} for {target}")

    def check_range(self, target: str, first: int, last: int, total: int) -> None:
        """Checks that the answer is bytes ``first`` to ``last`` of ``total``; a 200 will do for all of them."""
        headers = self.response.headers
        if self.response.status == 200:
            if first == 0 and headers.get("Content-Length") == str(total):
                return
            self.connection.close()
            raise Mismatch(
                self.provider.url,
                f"status 200 of {headers.get('Content-Length')} bytes for bytes {first}-{last}/{total} of {target}",
            )
        expected = f"bytes {first}-{last}/{total}"
        if headers.get("Content-Range") != expected:
            self.connection.close()
            raise Mismatch(
                self.provider.url, f"Content-Range {headers.get('Content-Range')!r} for {target}; expected {expected!r}"
            )

    def readinto(self, view: memoryview) -> int:
        """Reads some bytes, 0 at the end. Raises a :class:`ProviderFault`."""
        try:
            return self.response.readinto(view)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # http.client loses its file object when another thread cuts the connection.
            self.connection.close()
            raise self.provider.fault(error) from None

    def finish(self) -> None:
        """Gives the connection back if the answer was read to its end, and closes it otherwise."""
        if self.response.isclosed() or self.response.length == 0:
            self.response.close()
            if not self.response.will_close:
                self.provider.give_back(self.connection)
                return
        self.connection.close()


def cut(sock: socket.socket) -> None:
    """Ends whatever another thread is doing with a connection."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
