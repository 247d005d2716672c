"""Looks for what must not be: messages nobody will serve, leases nobody holds, keys nobody needs. Changes nothing."""

from collections.abc import Iterator, Sequence

from kombu.utils.encoding import bytes_to_str

from delivery.broker.queues import CHUNK, FairQueues

_KINDS = ("known", "delayed", "leases")


def faults(of: FairQueues) -> Iterator[str]:
    """One sentence for each. Raises redis.RedisError.

    Each queue is looked at in one moment, so a running system has none. The keys are scanned: for a look now and then.
    """
    names = {*of.names(), *_with_keys(of)}
    asked = sorted(names)
    for start in range(0, len(asked), CHUNK):
        chunk = asked[start : start + CHUNK]
        for queue, row in zip(chunk, of.scripts.run("audit", *chunk), strict=True):
            yield from (f"{queue}: {fault}" for fault in _of_queue(row))
    if unreadable := int(of.client.llen(of.naming.key("unreadable"))):
        yield f"{unreadable} messages were no task messages: see {of.naming.key('unreadable')}"


def _with_keys(of: FairQueues) -> Iterator[str]:
    """Queues that have a key of their own, in line or not."""
    for kind in _KINDS:
        start = of.naming.key(kind, of.naming.prefix)
        for found in of.client.scan_iter(match=f"{start}*", count=1000):
            yield of.naming.prefix + bytes_to_str(found)[len(start) :]


def _of_queue(row: Sequence[int | bytes]) -> Iterator[str]:
    ready, delayed, leased, known = (int(number) for number in row[:4])
    is_in_line, is_noted, strangers = row[4] != b"", bool(row[5]), int(row[6])
    if known != ready + delayed + leased:
        yield f"{known} ids for {ready} ready, {delayed} delayed and {leased} leased messages"
    if ready + delayed and not is_in_line:
        yield f"{ready + delayed} messages wait, and it is not in line"
    if bool(leased) != is_noted:
        yield f"{leased} leases, and it is {'noted' if is_noted else 'not noted'} to have any"
    if strangers:
        yield f"{strangers} leases of workers that are not known"
