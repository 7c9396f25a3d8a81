"""The fetch engine: pieces of work, attempts at them, and one coordinator that decides who is asked next.

A :class:`Job` is a run of consecutive leaves of one file, brought by one HTTP range. The steps:

1. The coordinator (:meth:`Fetch.pump`, in the caller's thread) starts attempts, at most ``parallel`` at a time, each at the
   provider that is expected to be fastest (see :mod:`~cairn_data.transport`).
2. An attempt runs in a worker thread: it reads leaf by leaf and hashes each against its CID. A leaf counts when it
   matches, whoever sent it.
3. A leaf that does not match ends the attempt and blacklists the provider. Everything verified before it stays.
4. An attempt that breaks off is followed by another for the leaves that are missing, at another provider if there is one;
   at the same provider it continues within the leaf, at the byte where it broke.
5. An attempt from which nothing comes for the 95th percentile of answers is *hedged*: a second provider is asked for the
   missing leaves, and the first of the two that delivers a leaf wins; the other is cut. Hedges may cost
   ``hedge_share`` of the bytes (5 %), plus one range.
6. An attempt from which nothing comes for ``stall_seconds`` is cut and counted as a fault, if there is anyone else to ask.
7. When no provider is left for a job, the fetch ends with a :class:`~cairn_data.errors.FetchError` that says what each did.

Waits between attempts double with jitter, and honour Retry-After. Nothing here knows of files or caches.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Literal

from .cid import BLOCK_BYTES_MAX, Cid
from .errors import BadBytes, Busy, Disconnected, FetchError, Mismatch, OptionRejection, ProviderFault, Stalled
from .transport import Provider, Reply, cut

_PIECE_BYTES = 256 << 10
_HEDGE_FLOOR_BYTES = 8 << 20
_HEDGE_SECONDS_MIN = 0.05
_TICK_SECONDS = 0.05
_PROGRESS_BYTES = 16 << 10
"""An attempt that brought this much has moved the work on: the count of failures in a row begins anew."""
_MOVED_WEIGHT = 0.2
_STALL_WEIGHT = 3.0
_WORKER_IDLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How to fetch. The defaults fit a client with a good connection."""

    parallel: int = 8
    """Requests at a time, per read. 1 to 64."""
    range_bytes: int = 8 << 20
    """Bytes per request, rounded down to whole leaves."""
    window_bytes: int = 32 << 20
    """Bytes that a stream may be ahead of its reader."""
    memory_bytes: int = 64 << 20
    """Leaves kept in memory, per process."""
    stall_seconds: float = 1.0
    """Silence after which another provider takes over."""
    timeout_seconds: float = 30.0
    """Silence after which a request is given up when there is nobody else."""
    retries: int = 6
    """Failures in a row, per provider and piece of work, that are tried again."""
    backoff_seconds: float = 0.1
    """Wait after the first failure; doubles with each further one, up to ten seconds."""
    hedge_share: float = 0.05
    """Share of all bytes that hedged requests may cost."""
    verify: bool | Literal["leaves", "manifest", "off"] = True
    """Whether leaves are fetched whole and hashed (``"leaves"``). With ``"manifest"``, parts of leaves are checked by blocks of
    64 KiB, whose digests a signed manifest vouches for (:mod:`cairn_data.blocks`). With ``"off"``, ranges are exact to the
    byte, and nobody checks them. ``"leaves"`` and ``"off"`` are kept as a bool.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.verify, bool):
            if self.verify not in ("leaves", "manifest", "off"):
                raise OptionRejection(f"verify={self.verify!r}; expected leaves, manifest or off")
            if self.verify != "manifest":
                object.__setattr__(self, "verify", self.verify == "leaves")
        wrong = [
            name
            for name, right in {
                "parallel": 1 <= self.parallel <= 64,
                "range_bytes": self.range_bytes > 0,
                "window_bytes": self.window_bytes > 0,
                "memory_bytes": self.memory_bytes >= 0,
                "stall_seconds": self.stall_seconds > 0,
                "timeout_seconds": self.timeout_seconds > 0,
                "retries": self.retries >= 0,
                "backoff_seconds": self.backoff_seconds >= 0,
                "hedge_share": 0 <= self.hedge_share <= 1,
            }.items()
            if not right
        ]
        if wrong:
            raise OptionRejection(f"out of range: {', '.join(f'{name}={getattr(self, name)!r}' for name in wrong)}")


@dataclass(slots=True)
class Stats:
    """Counts of one process. ``bytes_requested / bytes_needed`` is the amplification of the network."""

    bytes_asked: int = 0
    """What callers asked for."""
    bytes_needed: int = 0
    """Leaves that hold it and were in no cache."""
    bytes_requested: int = 0
    """Bytes of leaves that came over the network, with what was thrown away."""
    bytes_nodes: int = 0
    """Bytes of interior nodes that came over the network."""
    bytes_cached: int = 0
    """Bytes of leaves that came from a cache."""
    requests: int = 0
    """Requests sent."""
    hedges: int = 0
    """Second requests for something that was slow."""
    faults: int = 0
    """Things that providers did wrong."""
    longest_wait: float = 0.0
    """Longest time between two arrivals of verified bytes while somebody waited, in seconds."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A run of bytes of an object that is fetched whole: a leaf with its name, or any span if nothing is verified."""

    cid: Cid | None
    offset: int
    size: int
    """Length in bytes; -1 for a block whose length is not known before it comes."""

    @property
    def end(self) -> int:
        return self.offset + self.size


class Job:
    """Consecutive leaves of one object."""

    def __init__(
        self,
        dataset: str,
        target: str,
        total: int | None,
        leaves: Sequence[Leaf],
        deliver: Callable[[Leaf, bytes], None],
    ) -> None:
        """``target``: request path; ``total``: length of the object, None for a block that is fetched whole;
        ``deliver`` is called once per leaf, by the coordinator.
        """
        self.dataset = dataset
        self.target = target
        self.total = total
        self.missing = list(leaves)
        self.deliver = deliver
        self.attempts: list[Attempt] = []
        self.failures: dict[Provider, int] = {}
        self.ready_at: dict[Provider, float] = {}
        self.given_up: set[Provider] = set()
        self.faults: list[ProviderFault] = []
        self.partial: dict[Provider, tuple[Leaf, bytes]] = {}
        self.stalls = 0

    @property
    def size(self) -> int:
        """Bytes that are missing, at least 1."""
        return max(sum(leaf.size for leaf in self.missing), 1)

    def run(self) -> list[Leaf]:
        """The first missing leaves that one range can bring."""
        leaves = self.missing[:1]
        for leaf in self.missing[1:]:
            if leaf.offset != leaves[-1].end:
                break
            leaves.append(leaf)
        return leaves


class Attempt:
    """One request for some leaves of a job, in a worker thread."""

    def __init__(self, job: Job, provider: Provider, fetch: Fetch, hedge: bool) -> None:
        self.job = job
        self.provider = provider
        self.hedge = hedge
        self.leaves = job.run()
        self.rival: Attempt | None = None
        self.started_at = self.progress_at = time.monotonic()
        self.first_byte_at = 0.0
        self.cancelled = False
        self._fetch = fetch
        self._socket: socket.socket | None = None
        kept = job.partial.pop(provider, None)
        self._started = kept[1] if kept is not None and kept[0] == self.leaves[0] else b""
        self.received = 0
        self.keep: tuple[Leaf, bytes] | None = None

    def cancel(self) -> None:
        """Cuts the connection; the worker ends soon, and what it still says is ignored."""
        self.cancelled = True
        if self._socket is not None:
            cut(self._socket)

    def _on_socket(self, sock: socket.socket) -> None:
        self._socket = sock
        if self.cancelled:
            cut(sock)

    def run(self) -> None:
        """The worker's part."""
        fault: BaseException | None = None
        received = 0
        try:
            received = self._transfer()
        except BaseException as error:  # noqa: BLE001  (whatever it is, the coordinator must hear of it)
            fault = error
        with self._fetch.shared.lock:
            self.provider.running -= 1
        if fault is None:
            now = time.monotonic()
            self.provider.succeeded(self.first_byte_at - self.started_at, received, now - self.started_at)
        self._fetch.events.put((self, None, fault))

    def _transfer(self) -> int:
        first = self.leaves[0].offset + len(self._started)
        last = self.leaves[-1].end - 1
        headers = {} if self.job.total is None else {"Range": f"bytes={first}-{last}"}
        reply = self.provider.request(self.job.target, headers, self._on_socket)
        self.first_byte_at = self.progress_at = time.monotonic()
        reply.check_status(self.job.target)
        if self.job.total is None:
            return self._block(reply)
        reply.check_range(self.job.target, first, last, self.job.total)
        for leaf in self.leaves:
            self._leaf(reply, leaf)
        reply.finish()
        return last + 1 - first

    def _leaf(self, reply: Reply, leaf: Leaf) -> None:
        at = len(self._started)
        buffer = bytearray(leaf.size)
        buffer[:at] = self._started
        self._started = b""
        with memoryview(buffer) as view:
            while at < leaf.size:
                try:
                    count = self._read(reply, view[at : at + _PIECE_BYTES])
                    if count == 0:
                        raise Disconnected(self.provider.url, f"{self.job.target} ended at byte {leaf.offset + at}")
                except ProviderFault:
                    self.keep = (leaf, bytes(view[:at]))
                    raise
                at += count
        self._verified(leaf, bytes(buffer))

    def _block(self, reply: Reply) -> int:
        buffer = bytearray(BLOCK_BYTES_MAX + 1)
        at = 0
        with memoryview(buffer) as view:
            while at < len(buffer):
                count = self._read(reply, view[at:])
                if count == 0:
                    break
                at += count
        expected = reply.response.headers.get("Content-Length")
        if expected is not None and expected != str(at) and at <= BLOCK_BYTES_MAX:
            raise Disconnected(self.provider.url, f"{self.job.target} ended at byte {at} of {expected}")
        reply.finish()
        self._verified(self.leaves[0], bytes(buffer[:at]))
        return at

    def _read(self, reply: Reply, view: memoryview) -> int:
        if self.cancelled:
            reply.connection.close()
            raise Disconnected(self.provider.url, "cut, because another provider was faster")
        count = reply.readinto(view)
        self.received += count
        self.progress_at = time.monotonic()
        with self._fetch.shared.lock:
            if self.job.total is None:
                self._fetch.shared.stats.bytes_nodes += count
            else:
                self._fetch.shared.stats.bytes_requested += count
        return count

    def _verified(self, leaf: Leaf, data: bytes) -> None:
        if leaf.cid is not None:
            if not leaf.cid.matches(data):
                got = Cid.of(leaf.cid.codec, data)
                where = f"bytes {leaf.offset}-{leaf.end - 1} of {self.job.target}" if leaf.size >= 0 else self.job.target
                raise BadBytes(self.provider.url, f"{where}: expected {leaf.cid}, got {got}")
            self._fetch.shared.verified(leaf, data)
        self.provider.verified(len(data))
        self._fetch.events.put((self, (leaf, data), None))


class Workers:
    """Daemon threads that take work, made when none is idle and gone after some idle seconds."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None]) -> None:
        """Runs ``work`` soon. Whoever submits bounds how much."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._work.put(work)
                return
        threading.Thread(target=self._loop, args=(work,), name="cairn-data", daemon=True).start()

    def _loop(self, work: Callable[[], None]) -> None:
        while True:
            work()
            with self._lock:
                self._idle += 1
            try:
                work = self._work.get(timeout=_WORKER_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle > 0 and self._work.empty():
                        self._idle -= 1
                        return
                # Somebody counted on this thread between the time-out and the lock.
                work = self._work.get()


@dataclass
class Shared:
    """What all fetches of a process share."""

    providers: list[Provider]
    options: Options
    verified: Callable[[Leaf, bytes], None]
    """Called by workers for every verified leaf, before anybody sees it: the place of caches."""
    workers: Workers = field(default_factory=Workers)
    stats: Stats = field(default_factory=Stats)
    lock: threading.Lock = field(default_factory=threading.Lock)
    hedged_bytes: int = 0


_Event = tuple[Attempt, "tuple[Leaf, bytes] | None", "BaseException | None"]


class Fetch:
    """Coordinates jobs until their leaves are delivered. For one thread; :meth:`close` it."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.events: SimpleQueue[_Event] = SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._jobs: set[Job] = set()
        self._attempts: set[Attempt] = set()
        self._random = random.Random()
        self._present_since = 0.0
        self._seen_at = 0.0

    def add(self, job: Job) -> None:
        """Takes a job; it starts when :meth:`pump` is called and there is room."""
        self._jobs.add(job)
        self._waiting.append(job)

    def close(self) -> None:
        """Cuts everything that still runs."""
        for attempt in self._attempts:
            attempt.cancel()
        self._attempts.clear()
        self._jobs.clear()
        self._waiting.clear()

    def pump(self, until: Callable[[], bool]) -> None:
        """Works until ``until()`` holds. Raises :class:`FetchError`; the fetch is over then."""
        arrived = time.monotonic()
        if arrived - self._seen_at > 2 * _TICK_SECONDS:
            # The caller was busy elsewhere, perhaps with the interpreter lock held: no silence of that time is the providers'.
            self._present_since = arrived
        while not until():
            now = time.monotonic()
            self._start(now)
            try:
                event = self.events.get(timeout=_TICK_SECONDS)
            except Empty:
                event = None
            if event is not None and self._handle(*event):
                moment = time.monotonic()
                self.shared.stats.longest_wait = max(self.shared.stats.longest_wait, moment - arrived)
                arrived = moment
            self._watch(time.monotonic())
        # What came meanwhile costs no wait, and frees room for the next jobs.
        self._start(time.monotonic())
        self._seen_at = time.monotonic()

    # -- starting ----------------------------------------------------------------------------------------------------

    def _start(self, now: float) -> None:
        for _ in range(len(self._waiting)):
            if len(self._attempts) >= self.shared.options.parallel:
                return
            job = self._waiting.popleft()
            provider = self._choose(job, now)
            if provider is None:
                self._waiting.append(job)  # everyone is to be waited for
            else:
                self._launch(Attempt(job, provider, self, hedge=False))

    def _usable(self, job: Job, now: float) -> list[Provider]:
        """Everyone who may still serve the job, now or later."""
        return [
            provider
            for provider in self.shared.providers
            if provider.blacklisted is None and provider not in job.given_up and not provider.lacks(job.dataset, now)
        ]

    def _choose(self, job: Job, now: float) -> Provider | None:
        """The provider to ask now; none if all are to be waited for. Raises if none is left."""
        usable = self._usable(job, now)
        if not usable:
            faults = job.faults or [p.blacklisted for p in self.shared.providers if p.blacklisted is not None]
            faults = faults or [
                ProviderFault(p.url, "does not serve this dataset") for p in self.shared.providers if p not in usable
            ]
            raise FetchError(f"no provider is left for {job.target}", faults)
        busy = {attempt.provider for attempt in job.attempts}
        ready = [p for p in usable if p not in busy and job.ready_at.get(p, 0.0) <= now]
        if not ready:
            return None
        size = job.size
        return min(ready, key=lambda p: (job.failures.get(p, 0), p.expected_seconds(size, now)))

    def _launch(self, attempt: Attempt) -> None:
        with self.shared.lock:
            attempt.provider.running += 1
            self.shared.stats.requests += 1
        attempt.job.attempts.append(attempt)
        self._attempts.add(attempt)
        self.shared.workers.submit(attempt.run)

    # -- events ------------------------------------------------------------------------------------------------------

    def _handle(self, attempt: Attempt, got: tuple[Leaf, bytes] | None, fault: BaseException | None) -> bool:
        """Whether verified bytes came that were missing."""
        job = attempt.job
        if got is not None:
            return self._deliver(attempt, *got)
        current = attempt in self._attempts
        self._attempts.discard(attempt)
        if attempt in job.attempts:
            job.attempts.remove(attempt)
        if isinstance(fault, BadBytes):
            attempt.provider.blacklist(fault)  # whether anybody still waits for this attempt or not
        if current and fault is not None:
            self._failed(attempt, fault)
        if current and job.missing and not job.attempts:
            self._waiting.appendleft(job)
        return False

    def _deliver(self, attempt: Attempt, leaf: Leaf, data: bytes) -> bool:
        job = attempt.job
        if leaf not in job.missing:
            return False
        job.missing.remove(leaf)
        job.failures.pop(attempt.provider, None)
        if attempt.rival is not None:  # the race is decided
            self._drop(attempt.rival)
            attempt.rival.rival = None
            attempt.rival = None
        job.deliver(leaf, data)
        if not job.missing:
            self._jobs.discard(job)
            for other in list(job.attempts):
                if other is not attempt:
                    self._drop(other)
        return True

    def _drop(self, attempt: Attempt) -> None:
        attempt.cancel()
        self._attempts.discard(attempt)
        if attempt in attempt.job.attempts:
            attempt.job.attempts.remove(attempt)

    def _failed(self, attempt: Attempt, fault: BaseException) -> None:
        if not isinstance(fault, ProviderFault):
            raise fault  # a mistake of ours
        job, provider, options = attempt.job, attempt.provider, self.shared.options
        self.shared.stats.faults += 1
        moved = attempt.received >= _PROGRESS_BYTES
        weight = _STALL_WEIGHT if isinstance(fault, Stalled) else _MOVED_WEIGHT if moved else 1.0
        provider.failed(fault, job.dataset, weight)
        job.faults.append(fault)
        if attempt.rival is not None:
            attempt.rival.rival = None
        if isinstance(fault, Mismatch) or not fault.retryable:
            job.given_up.add(provider)
            return
        if attempt.keep is not None and attempt.keep[0] in job.missing:
            job.partial[provider] = attempt.keep
        if moved:
            job.failures.pop(provider, None)
        failures = job.failures.get(provider, 0) + 1
        job.failures[provider] = failures
        if failures > options.retries:
            job.given_up.add(provider)
            return
        wait = min(options.backoff_seconds * 2 ** (failures - 1), 10.0) * self._random.uniform(0.5, 1.0)
        if isinstance(fault, Busy) and fault.retry_after is not None:
            wait = max(wait, fault.retry_after)
        elif failures == 1 and not isinstance(fault, Busy):
            wait = 0.0  # most breaks are accidents of one connection
        job.ready_at[provider] = time.monotonic() + wait

    # -- slow answers ------------------------------------------------------------------------------------------------

    def _watch(self, now: float) -> None:
        for attempt in list(self._attempts):
            job = attempt.job
            idle = now - max(attempt.progress_at, self._present_since)
            if idle < _HEDGE_SECONDS_MIN or not job.missing:
                continue
            others = [p for p in self._usable(job, now) if p is not attempt.provider]
            rounds = job.stalls // (len(others) + 1)  # if all are slow, patience is what helps
            if others and idle >= self.shared.options.stall_seconds * 2 ** min(rounds, 5):
                job.stalls += 1
                self._drop(attempt)
                self._failed(attempt, Stalled(attempt.provider.url, f"nothing came for {idle:.1f} s"))
                job.ready_at[attempt.provider] = now + self.shared.options.stall_seconds
                if not job.attempts:
                    self._waiting.appendleft(job)
            elif others and attempt.rival is None and idle >= self._hedge_after(attempt):
                self._hedge(attempt, now)

    def _hedge_after(self, attempt: Attempt) -> float:
        p95 = attempt.provider.first_byte_p95()
        return min(max(1.5 * p95, _HEDGE_SECONDS_MIN), self.shared.options.stall_seconds)

    def _hedge(self, attempt: Attempt, now: float) -> None:
        job, shared = attempt.job, self.shared
        provider = self._choose(job, now)
        cost = job.size
        allowed = shared.stats.bytes_requested * shared.options.hedge_share + _HEDGE_FLOOR_BYTES
        if provider is None or shared.hedged_bytes + cost > allowed or shared.options.hedge_share == 0:
            return
        with shared.lock:
            shared.hedged_bytes += cost
            shared.stats.hedges += 1
        second = Attempt(job, provider, self, hedge=True)
        attempt.rival, second.rival = second, attempt
        self._launch(second)
