"""The store on etcd (https://etcd.io/docs/v3.4/learning/api/): compare-and-swap, group commit, one resumable watch.

**Group commit.** etcd makes one write durable at a time for about the price of sixty: the disk flush dominates. So
writes that arrive together ride in one etcd transaction, each a nested transaction with its own compare: it wins or
loses alone, and its losing branch reads the key, to tell the loser why. A write that comes alone leaves at once.

**Versions.** All writes of one transaction share one etcd revision, so a version is `revision * 1000 + position`.
The position must be the same for whoever looks: the writer, a range read, a watch, another API server.
- A put's position is its place in the transaction (0..63). One byte in front of the stored JSON holds it, as a
  printable character from "0" on, so that `etcdctl get` stays readable.
- A delete stores nothing, so its position is the position of the event before it in that revision, plus one (0 if it
  is the first). An event's position never exceeds its place, by induction, so this stays below the next put's place:
  positions are unique and increase in the order of events.
- A whole revision seen is `revision * 1000 + 999`: the version of a snapshot, and of a watch that has told it all.
To know the event before a delete one must see them all: a watch always asks etcd for the whole store and picks the
wanted prefix here. A compare-and-swap compares mod_revision and the byte of the position: both name the version.

**Unknown outcomes.** A transaction that failed with the connection may have been applied. It is sent again by us, not
by the library, and only because sending it again is safe and reads back at the same time: had it been applied, every
compare now fails and the losing branch brings the value, which is ours or not. What that cannot decide is
`Unavailable`.

**Watches.** The library's own watch resumes after the last *header* revision, which can be ahead of the events already
delivered, and goes on past a compaction. So this module opens streams itself and resumes from the last event. etcd may
send the first events of a stream before it has noted that we want previous values; those missing are fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import grpc
from etcd3aio._protobuf import Compare, KVStub, TxnRequest, WatchCreateRequest, WatchRequest, WatchStub
from etcd3aio.base import TRANSIENT_CODES
from etcd3aio.connections import ConnectionManager
from etcd3aio.errors import EtcdError
from etcd3aio.kv import KVService, prefix_range_end

from apiserver.storage.base import (
    Batch,
    Compacted,
    Event,
    EventType,
    KeyExists,
    KeyMissing,
    Record,
    Snapshot,
    StorageError,
    TooLarge,
    Unavailable,
    VersionMismatch,
    stamp,
)
from apiserver.storage.commit import BATCH_WRITES, GroupCommit, Write

log = logging.getLogger(__name__)

STRIDE = 1000  # versions per etcd revision
WHOLE = STRIDE - 1  # the position that means "all of this revision"
FIRST_POSITION = ord("0")  # the byte that stands for position 0

VALUE_BYTES = 1_500_000  # the largest value
PAGE_KEYS = 500  # keys per range read: a page of usual objects stays well below gRPC's 4 MiB

ATTEMPT_SECONDS = 5.0  # one call to etcd
# etcd forgets what it was doing when its leader dies, and says nothing: better to ask anew than to wait for an answer.
WRITE_SECONDS = 2.0  # the first attempt at a transaction
CLOCK_SECONDS = 1.0  # until the present revision is asked for once more; whichever answer comes first counts
OUTAGE_SECONDS = 8.0  # how long a write waits for an etcd that is away
READ_ATTEMPTS = 10  # a read bridges about two seconds of absence
BACKOFF_SECONDS = (0.05, 0.25)  # first and longest pause between attempts
COMPACT_SECONDS = 300.0  # history kept, and how often older history is dropped

_CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A watch that resumes may get a thousand revisions in one response, and we do not want them in fragments.
    ("grpc.max_receive_message_length", -1),
]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for talking to etcd: its CA, and our client certificate and key."""

    ca: str
    cert: str = ""
    key: str = ""


class EtcdStorage:
    """`Storage` on one etcd cluster, under one prefix. Make it with `open`."""

    def __init__(self, channel: grpc.aio.Channel, *, prefix: str = "/registry") -> None:
        first, longest = BACKOFF_SECONDS
        self._channel = channel
        self._kv = KVService(channel)
        self._kv._initial_backoff_seconds, self._kv._max_backoff_seconds = first, longest
        self._txn = KVStub(channel).Txn  # without the library's retries
        self._watches = WatchStub(channel)
        self._prefix = prefix.rstrip("/").encode()
        self._clock_key = self._prefix + b"/.minik/clock"  # ours: not an object, see `touch`
        self._committer = GroupCommit(self._send)
        self._compactor: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        endpoints: Sequence[str],
        *,
        prefix: str = "/registry",
        tls: TlsFiles | None = None,
        compact_seconds: float = COMPACT_SECONDS,
    ) -> EtcdStorage:
        """Connect to `endpoints` (`http://host:port`, or `https://` with `tls`); 0 `compact_seconds` never compacts.

        Returns at once: an etcd that is not there yet shows as `Unavailable`.
        """
        storage = cls(await _channel(endpoints, tls), prefix=prefix)
        if compact_seconds:
            storage._compactor = asyncio.create_task(storage._compact_forever(compact_seconds), name="etcd-compaction")
        return storage

    async def close(self) -> None:
        if self._compactor is not None:
            self._compactor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._compactor
        await self._committer.close()
        await self._channel.close()

    # Writes

    async def create(self, key: str, value: bytes) -> Record:
        return await self._write(key, value, 0)

    async def update(self, key: str, value: bytes, *, expected: int) -> Record:
        return await self._write(key, value, expected or -1)

    async def delete(self, key: str, *, expected: int) -> Record:
        return await self._write(key, None, expected or -1)

    async def _write(self, key: str, value: bytes | None, expected: int) -> Record:
        if value is not None and len(value) > VALUE_BYTES:
            raise TooLarge(f"{key}: {len(value)} bytes, the limit is {VALUE_BYTES}")
        try:
            version, stored = await self._committer.write(self._prefix + key.encode(), value, expected)
        except _Lost as lost:
            self._tell_loser(key, expected, lost.kv)
        return Record(key, stamp(stored, version), version)

    async def _send(self, batch: list[Write]) -> None:
        """Give every write of a batch its outcome; see "Unknown outcomes" above."""
        request = _request(batch)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + OUTAGE_SECONDS
        pause, longest = BACKOFF_SECONDS
        sent_before = False
        while True:
            try:
                response = await self._txn(request, timeout=ATTEMPT_SECONDS if sent_before else WRITE_SECONDS)
                return _settle(batch, response, sent_before=sent_before)
            except grpc.aio.AioRpcError as error:
                if error.code() not in TRANSIENT_CODES or loop.time() + pause > deadline:
                    _raise(error)
            sent_before = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    def _tell_loser(self, key: str, expected: int, kv: Any) -> NoReturn:
        if kv is None:
            raise KeyMissing(key)
        if not expected:
            raise KeyExists(key)
        current = self._record(kv)
        raise VersionMismatch(current) if current else KeyMissing(key)

    # Reads

    async def get(self, key: str) -> Record | None:
        response = await self._range(self._prefix + key.encode())
        return self._record(response.kvs[0]) if response.kvs else None

    async def list(self, prefix: str, *, limit: int = 0, after: str = "", version: int = 0) -> Snapshot:
        start = self._prefix + (after.encode() + b"\0" if after > prefix else prefix.encode())
        end = prefix_range_end(self._prefix + prefix.encode())
        revision = version // STRIDE
        records: list[Record] = []
        while True:
            page = min(PAGE_KEYS, limit - len(records)) if limit else PAGE_KEYS
            response = await self._range(start, range_end=end, limit=page, revision=revision)
            revision = revision or response.header.revision
            records += [record for kv in response.kvs if (record := self._record(kv))]
            if not response.more or (limit and len(records) >= limit):
                return Snapshot(records, revision * STRIDE + WHOLE, more=response.more)
            start = response.kvs[-1].key + b"\0"

    async def version(self) -> int:
        asked: set[asyncio.Task[Any]] = set()
        done: set[asyncio.Task[Any]] = set()
        try:
            while not done:
                asked.add(asyncio.create_task(self._range(self._clock_key, count_only=True)))
                done, _ = await asyncio.wait(asked, timeout=CLOCK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return int(done.pop().result().header.revision) * STRIDE + WHOLE
        finally:
            for task in asked:
                task.cancel()

    async def touch(self) -> None:
        try:
            await self._kv.put(self._clock_key, b"", timeout=ATTEMPT_SECONDS)
        except _FAILURES as error:
            _raise(error)

    async def _range(self, key: bytes, **options: Any) -> Any:
        try:
            return await self._kv.get(key, timeout=ATTEMPT_SECONDS, max_attempts=READ_ATTEMPTS, **options)
        except _FAILURES as error:
            _raise(error)

    def _record(self, kv: Any) -> Record | None:
        """A stored key as a record; None for what is no object of ours."""
        position = kv.value[0] - FIRST_POSITION if kv.value else WHOLE
        key = kv.key[len(self._prefix) :].decode(errors="replace")
        if not 0 <= position < BATCH_WRITES:
            if kv.key != self._clock_key:
                log.warning("ignoring %s: it was not written by an API server", key)
            return None
        version = kv.mod_revision * STRIDE + position
        try:
            return Record(key, stamp(kv.value[1:], version), version)
        except ValueError:
            log.warning("ignoring %s: not an object", key)
            return None

    # Watching

    async def watch(self, prefix: str, *, since: int) -> AsyncIterator[Batch]:
        first, longest = BACKOFF_SECONDS
        away = False
        while True:
            # Ask for one revision more than needed and drop it below. A compaction of exactly the first needed
            # revision would silently take that revision's deletions; so it raises instead.
            start = max(1, (since + 1) // STRIDE - 1)
            stream = self._watches.Watch()
            try:
                await stream.write(self._watch_request(start))
                async for response in stream:
                    if response.compact_revision:
                        raise Compacted(f"events after version {since} are gone")
                    if response.header.revision < since // STRIDE:
                        raise Compacted(f"etcd knows no version {since}: it was restored or replaced")
                    if response.canceled:
                        raise Unavailable(response.cancel_reason or "etcd cancelled the watch")
                    away = False
                    batch = self._batch(await self._completed(response.events), prefix, since)
                    if batch is not None:
                        since = batch.version
                        yield batch
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, Unavailable) as error:
                if not away:
                    log.warning("the watch of etcd broke (%s); resuming after version %d", _brief(error), since)
                away = True
            finally:
                stream.cancel()
            await asyncio.sleep(longest if away else first)

    def _watch_request(self, start: int) -> WatchRequest:
        everything = self._prefix + b"/"
        return WatchRequest(
            create_request=WatchCreateRequest(
                key=everything, range_end=prefix_range_end(everything), start_revision=start, prev_kv=True
            )
        )

    async def _completed(self, changes: Sequence[Any]) -> Sequence[Any]:
        """Give every deletion the value it removed. Raises `Compacted` if it is gone."""
        for change in changes:
            if change.type == change.DELETE and not change.prev_kv.key:
                response = await self._range(change.kv.key, revision=change.kv.mod_revision - 1)
                if response.kvs:
                    change.prev_kv.CopyFrom(response.kvs[0])
        return changes

    def _batch(self, changes: Sequence[Any], prefix: str, since: int) -> Batch | None:
        """Whole revisions of etcd events as ours; None if they were told before."""
        events: list[Event] = []
        revision, position = 0, -1
        for change in changes:
            kv = change.kv
            if kv.mod_revision != revision:
                revision, position = kv.mod_revision, -1
            if change.type == change.DELETE:
                position += 1
                event = self._deletion(change, revision * STRIDE + position)
            else:
                record = self._record(kv)
                position = record.version % STRIDE if record else position
                created = kv.create_revision == kv.mod_revision
                event = Event(EventType.ADDED if created else EventType.MODIFIED, record) if record else None
            if event and event.record.version > since and event.record.key.startswith(prefix):
                events.append(event)
        version = revision * STRIDE + WHOLE
        return Batch(events, version) if version > since else None

    def _deletion(self, change: Any, version: int) -> Event | None:
        last = self._record(change.prev_kv)
        if last is None:
            return None
        return Event(EventType.DELETED, Record(last.key, stamp(change.prev_kv.value[1:], version), version))

    # Compaction

    async def _compact_forever(self, seconds: float) -> None:
        """Drop history older than `seconds`. Several API servers may do so: each keeps what it promises, at least."""
        revision = 0
        while True:
            await asyncio.sleep(seconds)
            try:
                if revision:
                    await self.compact(revision * STRIDE)
                revision = await self.version() // STRIDE
            except StorageError as error:
                log.warning("compaction: %s", error)

    async def compact(self, version: int) -> None:
        """Forget the events up to the revision of `version`."""
        try:
            await self._kv.compact(version // STRIDE, timeout=ATTEMPT_SECONDS)
        except _FAILURES as error:
            with contextlib.suppress(Compacted):  # another API server was quicker
                _raise(error)


class _Lost(Exception):
    """A compare failed; `kv` is what etcd has, or None."""

    def __init__(self, kv: Any) -> None:
        self.kv = kv


def _request(batch: Sequence[Write]) -> Any:
    """One transaction of nested ones. Built in place: protobuf copies a message that is put into another."""
    request = TxnRequest()
    for position, write in enumerate(batch):
        _fill(request.success.add().request_txn, write, position)
    return request


def _fill(transaction: Any, write: Write, position: int) -> None:
    """The nested transaction of one write."""
    key, revision, expected_position = write.key, *divmod(write.expected, STRIDE)
    if write.expected and not revision:
        revision = -1  # 0 would mean that the key must not exist
    compare = transaction.compare.add()  # result EQUAL is the default
    compare.target, compare.key, compare.mod_revision = Compare.MOD, key, revision
    if write.expected:
        byte = FIRST_POSITION + min(expected_position, BATCH_WRITES)  # etcd orders values as bytes
        transaction.compare.add(result=Compare.GREATER, target=Compare.VALUE, key=key, value=bytes([byte]))
        transaction.compare.add(result=Compare.LESS, target=Compare.VALUE, key=key, value=bytes([byte + 1]))
    if write.value is None:
        deletion = transaction.success.add().request_delete_range
        deletion.key, deletion.prev_kv = key, True
    else:
        put = transaction.success.add().request_put
        put.key, put.value = key, _stored(write.value, position)
    transaction.failure.add().request_range.key = key


def _stored(value: bytes, position: int) -> bytes:
    return b"%c%b" % (FIRST_POSITION + position, value)


def _settle(batch: list[Write], response: Any, *, sent_before: bool) -> None:
    """Tell every writer its outcome."""
    revision = response.header.revision * STRIDE
    last = -1
    for position, (write, answer) in enumerate(zip(batch, response.responses, strict=True)):
        result = answer.response_txn
        if result.succeeded:
            last = position if write.value is not None else last + 1
        if write.outcome.done():
            continue
        if not result.succeeded:
            _settle_lost(write, position, result, sent_before=sent_before)
        elif write.value is not None:
            write.outcome.set_result((revision + last, write.value))
        else:
            write.outcome.set_result((revision + last, result.responses[0].response_delete_range.prev_kvs[0].value[1:]))


def _settle_lost(write: Write, position: int, result: Any, *, sent_before: bool) -> None:
    kvs = result.responses[0].response_range.kvs
    kv = kvs[0] if kvs else None
    if not sent_before:
        write.outcome.set_exception(_Lost(kv))
    elif kv is not None and write.value is not None and kv.value == _stored(write.value, position):
        write.outcome.set_result((kv.mod_revision * STRIDE + position, write.value))
    else:  # applied and overtaken, or never applied: nobody can tell
        write.outcome.set_exception(Unavailable("the outcome of the write is unknown: the connection to etcd broke"))


# Errors

_FAILURES = (EtcdError, grpc.RpcError, TimeoutError)


def _raise(error: Exception) -> NoReturn:
    raise _translated(error) from error


def _translated(error: Exception) -> StorageError:
    if isinstance(error, grpc.aio.AioRpcError):
        if error.code() is grpc.StatusCode.OUT_OF_RANGE:  # compacted; or a future revision: made up, or a lost etcd's
            return Compacted(error.details() or "compacted")
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT and "too large" in (error.details() or ""):
            return TooLarge(error.details() or "too large")
    return Unavailable(f"etcd: {_brief(error)}")


def _brief(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or "no answer in time"


# Connection


async def _channel(endpoints: Sequence[str], tls: TlsFiles | None) -> grpc.aio.Channel:
    """gRPC wants addresses, and the one name to look for in the certificate."""
    loop = asyncio.get_running_loop()
    addresses = []
    name = ""
    for endpoint in endpoints:
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
        name = name or parts.hostname or ""
        found = await loop.getaddrinfo(parts.hostname, parts.port or 2379, family=2)
        addresses.append("{}:{}".format(*found[0][4][:2]))
    manager = ConnectionManager(addresses)
    manager.grpc_options += _CHANNEL_OPTIONS
    if tls is None:
        return manager.get_channel()
    read = asyncio.to_thread
    return manager.get_channel(
        ca_cert=await read(Path(tls.ca).read_bytes),
        cert_chain=await read(Path(tls.cert).read_bytes) if tls.cert else None,
        cert_key=await read(Path(tls.key).read_bytes) if tls.key else None,
        tls_server_name=name,
    )
