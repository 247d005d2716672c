"""What an event loop has to do for a worker's intake, beside real sockets and no server."""

import select
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from delivery.broker.intake import Intake
from delivery.broker.leases import Leases
from delivery.broker.naming import Naming


class Hub:
    """Celery's event loop runs its timers just before it waits for sockets."""

    def __init__(self) -> None:
        self.timers: list[Callable[[], None]] = []

    def call_later(self, _in_s: float, timer: Callable[[], None]) -> Any:
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: None)


def test_the_time_of_a_delayed_message_ends_the_wait_for_events() -> None:
    hub = Hub()
    watched: list[Any] = []
    poller = SimpleNamespace(
        hub=hub, watch_socket=lambda _, end, __: watched.append(end), unwatch_socket=watched.remove
    )
    channel = SimpleNamespace(
        connection=SimpleNamespace(cycle=poller),
        handlers={},
        connection_errors=(),
        _create_client=lambda asynchronous: SimpleNamespace(connection=None),
    )
    intake = Intake(channel, Leases(SimpleNamespace(naming=Naming()), trust_s=5), lambda _: None, no_ack=False)  # type: ignore[arg-type]
    intake.leases.request(8, 8)
    intake._take([b"0.001", 0, 0])
    (timer,) = hub.timers
    assert select.select(watched, [], [], 0)[0] == []
    timer()
    assert select.select(watched, [], [], 5)[0] == watched
    intake.stop()
    assert not watched
