"""A fault run: numbered events are published steadily, something breaks, and afterwards everything is counted.

After any fault each event must have arrived; only events that were in flight may have arrived twice; PostgreSQL must
agree with the receiver, row by row; no invariant of the database or the broker may be violated; the broker must be
empty but for its configuration.
"""

import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.exchange import Received
from tests.flow.system import System
from tests.receiver import Receiver

IN_FLIGHT = 16
"""How many requests a worker has in flight at most; these may be repeated when it is killed."""
_CONFIGURATION = (
    *(
        "fair:limits",
        "fair:epoch",
        "fair:workers",
        "fair:fences",
        "fair:watch",
        "fair:waiting",
        "fair:bell",
        "fair:bucket",
        "breakers-opened",  # kept until operational events report them
        "reconcile-reached",  # how far back it has looked for a partner; expires
        "retention-reached",  # kept for the next removal of old rows
    ),
    "_kombu.binding",
)


@dataclass
class Stream:
    """Publishes numbered events at a steady rate from a thread of its own, and keeps trying while NATS is away."""

    system: System
    per_s: int = 100
    event_type: str = "orders.created"
    published: int = 0
    refused: int = 0
    """Batches that NATS refused; each was published again."""
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    """Part of each event's id: JetStream remembers ids for two minutes, even when the stream is purged."""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        batch = max(1, self.per_s // 10)
        is_unsure = False  # a failed batch may have arrived: publish it until NATS acknowledges it
        while is_unsure or not self._stopping.is_set():
            events = [(self.event_type, f"{self.run_id}-{self.published + n}", b'{"n": %d}' % n) for n in range(batch)]
            try:
                self.system.publish(events)
            except Exception:
                is_unsure = True
                with self._changed:
                    self.refused += 1
                    self._changed.notify_all()
                time.sleep(0.2)
            else:
                is_unsure = False
                with self._changed:
                    self.published += batch
                    self._changed.notify_all()
                time.sleep(batch / self.per_s)

    def flow_on(self, events: int) -> None:
        """Returns when `events` more were published; a fault lasts that long."""
        with self._changed:
            wanted = self.published + events
            assert self._changed.wait_for(lambda: self.published >= wanted, 120), "nothing can be published"

    def be_refused(self, times: int) -> None:
        """Returns when NATS has refused `times` more batches."""
        with self._changed:
            wanted = self.refused + times
            assert self._changed.wait_for(lambda: self.refused >= wanted, 120), "nothing was refused"

    @contextmanager
    def flowing(self) -> Iterator[None]:
        self._stopping.clear()
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join(60)


@dataclass(frozen=True)
class Count:
    """The result of a run."""

    events: int
    arrived: int
    repeated: int
    """POSTs without a recorded attempt: they were in flight at a crash and were sent again."""


def count_after(
    system: System,
    receiver: Receiver,
    disturb: Callable[[Stream], None],
    *,
    stream: Stream | None = None,
) -> Count:
    """Publishes events, calls `disturb`, publishes more, waits until all are delivered, and checks everything.

    With the `stream` of an earlier call, its events are counted too.
    """
    stream = stream or Stream(system)
    with stream.flowing():
        receiver.wait_for(len(receiver.requests) + 50, timeout_s=60)
        disturb(stream)
        more = len(receiver.requests) + 100
        receiver.wait_for(more, timeout_s=120)
    return counted(system, receiver, stream.published, timeout_s=120)


def counted(system: System, receiver: Receiver, events: int, timeout_s: float) -> Count:
    """Waits until all events are delivered, then compares receiver, PostgreSQL and broker."""
    finished(system, events, timeout_s)
    ended = [name for name, process in system.processes.items() if not process.is_running]
    assert not ended, f"{ended} ended; the log ends with\n{system.log_end()}"
    requests = receiver.requests
    arrived = {request.webhook_id for request in requests}
    assert len(arrived) == events, f"{events - len(arrived)} lost events"
    repeated = the_database_agrees(system, requests)
    the_broker_is_empty(system)
    system.manage("verify")
    return Count(events, len(arrived), repeated)


def finished(system: System, events: int, timeout_s: float) -> None:
    sql = "SELECT count(*) FROM delivery_delivery WHERE status = 'succeeded'"
    system.wait_until(lambda: system.count(sql) >= events, f"{events} deliveries", timeout_s)


def the_database_agrees(system: System, requests: Sequence[Received]) -> int:
    """Checks that each event has one delivery that succeeded, with attempts numbered from 1, each of which arrived.

    An attempt starts in the second of its POST's `webhook-timestamp`. Returns how many POSTs have no recorded attempt.
    """
    posts: dict[str, Counter[int]] = defaultdict(Counter)
    for request in requests:
        posts[request.webhook_id][int(request.headers["webhook-timestamp"])] += 1
    rows = system.query(
        """
        SELECT d.event_id, d.status, d.attempt_count, array_agg(a.number ORDER BY a.number),
               array_agg(floor(extract(epoch FROM a.started_at))::bigint) FILTER (WHERE a.status_code IS NOT NULL)
        FROM delivery_delivery d JOIN delivery_attempt a ON a.delivery_id = d.id GROUP BY d.id
        """
    )
    assert {row[0] for row in rows} == set(posts)
    assert len(rows) == len(posts), "two deliveries of an event"
    answered = 0
    for event_id, status, attempt_count, numbers, sent_at in rows:
        assert status == "succeeded", event_id
        assert numbers == list(range(1, attempt_count + 1)), event_id
        assert Counter(sent_at) <= posts[event_id], f"{event_id}: attempts that never came"
        answered += len(sent_at)
    sent = "SELECT count(*) FROM delivery_attempt WHERE request_headers <> ''"
    unanswered = system.count(f"{sent} AND status_code IS NULL")
    return max(0, len(requests) - answered - unanswered)


def the_broker_is_empty(system: System) -> None:
    """Checks that only keys of configuration are left: no queue, no lease, no marker of a message."""

    def left() -> list[str]:
        keys = [key.decode() for key in system.valkey.scan_iter(count=1000)]
        return [key for key in keys if not key.startswith(_CONFIGURATION)]

    system.wait_until(lambda: not left(), f"an empty broker, there is {left()[:5]}", 30)
