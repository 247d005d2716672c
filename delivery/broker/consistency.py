"""Finds faults in the data of fair queues: lost messages, leases without a worker, wrong counts. Changes nothing."""

from collections.abc import Iterator, Sequence

from kombu.utils.encoding import bytes_to_str

from delivery.broker.queues import CHUNK, FairQueues

_KINDS = ("known", "delayed")


def faults(of: FairQueues) -> Iterator[str]:
    """One sentence for each fault. Raises redis.RedisError.

    One script reads each queue, so a running system shows no faults. It scans all keys: not for frequent use.
    """
    workers = [name for name in _names(of, "leases", "") if not of.naming.is_fair(name)]
    names = sorted({*of.names(), *(name for kind in _KINDS for name in _names(of, kind, of.naming.prefix))})
    for start in range(0, len(names), CHUNK):
        chunk = names[start : start + CHUNK]
        for queue, row in zip(chunk, of.scripts.run("consistency", len(workers), *workers, *chunk), strict=True):
            yield from (f"{queue}: {fault}" for fault in _of_queue(row))
    if unreadable := int(of.client.llen(of.naming.key("unreadable"))):
        yield f"{unreadable} messages were no task messages: see {of.naming.key('unreadable')}"


def _names(of: FairQueues, kind: str, prefix: str) -> Iterator[str]:
    """Those that have a key of this kind."""
    start = of.naming.key(kind, prefix)
    for found in of.client.scan_iter(match=f"{start}*", count=1000):
        yield prefix + bytes_to_str(found)[len(start) :]


def _of_queue(row: Sequence[int | bytes]) -> Iterator[str]:
    ready, delayed, leased, known = (int(number) for number in row[:4])
    is_in_line, counted, orphans = row[4] != b"", int(row[5]), int(row[6])
    if known != ready + delayed + leased:
        yield f"{known} ids for {ready} ready, {delayed} delayed and {leased} leased messages"
    if ready + delayed and not is_in_line:
        yield f"{ready + delayed} messages wait, and it is not in line"
    if counted != leased:
        yield f"{leased} leases, and {counted} are counted"
    if orphans:
        yield f"{orphans} leases of workers that are not known"
