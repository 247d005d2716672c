"""One fault run: numbered events flow steadily, something breaks, and afterwards everything is counted.

What must hold after any fault: each event arrived; what arrived twice was in flight; PostgreSQL tells the same story as
the receiver; the broker is empty but for its configuration.
"""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.flow.system import System
from tests.receiver import Receiver

_CONFIGURATION = (
    *("fair:limits", "fair:epoch", "fair:workers", "fair:fences", "fair:watch", "fair:bell", "fair:bucket"),
    "_kombu.binding",
)


@dataclass
class Stream:
    """Publishes numbered events at a steady pace from its own thread; goes on when NATS is away for a while."""

    system: System
    per_s: int = 100
    published: int = 0
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    """JetStream remembers ids for two minutes, whatever became of the stream."""
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        batch = max(1, self.per_s // 10)
        is_unsure = False  # a batch that failed may have arrived all the same: it is published until that is certain
        while is_unsure or not self._stopping.is_set():
            events = [("orders.created", f"{self.run_id}-{self.published + n}", b'{"n": %d}' % n) for n in range(batch)]
            try:
                self.system.publish(events)
            except Exception:
                is_unsure = True
                time.sleep(0.2)
            else:
                is_unsure = False
                self.published += batch
                time.sleep(batch / self.per_s)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join(60)


@dataclass(frozen=True)
class Count:
    """What came of a run."""

    events: int
    arrived: int
    repeated: int
    """POSTs beyond the first of each event."""


def count_after(system: System, receiver: Receiver, disturb: Callable[[], None], timeout_s: float = 120) -> Count:
    """Lets events flow, disturbs, lets them flow on, waits until all is delivered, and checks what must always hold."""
    stream = Stream(system)
    with stream.flowing():
        receiver.wait_for(50, timeout_s=60)
        disturb()
        more = len(receiver.requests) + 100
        receiver.wait_for(more, timeout_s=timeout_s)
    finished(system, stream.published, timeout_s)
    posts = Counter(request.webhook_id for request in receiver.requests)
    count = Count(stream.published, len(posts), sum(posts.values()) - len(posts))
    assert count.arrived == count.events, "lost events"
    the_database_agrees(system, posts)
    the_broker_is_empty(system)
    return count


def finished(system: System, events: int, timeout_s: float) -> None:
    sql = "SELECT count(*) FROM delivery_delivery WHERE status = 'succeeded'"
    system.wait_until(lambda: system.count(sql) >= events, f"{events} deliveries", timeout_s)


def the_database_agrees(system: System, posts: Counter[str]) -> None:
    """Row by row: one delivery per event, succeeded, its attempts numbered from 1, each POST recorded or in flight."""
    rows = system.query(
        """
        SELECT d.event_id, d.status, d.attempt_count, array_agg(a.number ORDER BY a.number)
        FROM delivery_delivery d JOIN delivery_attempt a ON a.delivery_id = d.id GROUP BY d.id
        """
    )
    assert {row[0] for row in rows} == set(posts)
    for event_id, status, attempt_count, numbers in rows:
        assert status == "succeeded", event_id
        assert numbers == list(range(1, attempt_count + 1)), event_id
        assert posts[event_id] >= sum(1 for _ in numbers) or attempt_count > 1, event_id


def the_broker_is_empty(system: System) -> None:
    """No key is left but configuration: no queue, no lease, no marker of a message."""

    def left() -> list[str]:
        keys = [key.decode() for key in system.valkey.scan_iter(count=1000)]
        return [key for key in keys if not key.startswith(_CONFIGURATION)]

    system.wait_until(lambda: not left(), f"an empty broker, there is {left()[:5]}", 30)
