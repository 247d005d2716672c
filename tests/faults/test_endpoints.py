"""The endpoint is down, slow, resets or half-closes for a while: each event is tried again until it arrives.

A POST that the endpoint received but did not answer properly is recorded as a failed attempt and sent again.
"""

from collections.abc import Iterator

import pytest

from tests import behaviours
from tests.exchange import Behaviour
from tests.faults.run import IN_FLIGHT, Stream, count_after
from tests.faults.watch import calm
from tests.flow.system import System
from tests.proxy import Proxy
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture
def wire(system: System, receiver: Receiver) -> Iterator[Proxy]:
    """A proxy between the workers and the endpoint."""
    with Proxy(("127.0.0.1", receiver.port)) as made:
        system.query(
            "UPDATE partners_subscription SET url = %s RETURNING id", f"http://127.0.0.1:{made.port}/slow?s=0.01"
        )
        yield made


def test_an_endpoint_that_is_down(system: System, receiver: Receiver, wire: Proxy) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system):
            wire.cut()
            stream.flow_on(800)
            wire.mend()

    assert count_after(system, receiver, disturb).repeated == 0


def test_an_endpoint_that_is_slow(system: System, receiver: Receiver, wire: Proxy) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system):
            wire.slow(1)
            stream.flow_on(800)
            wire.mend()

    assert count_after(system, receiver, disturb).repeated == 0


@pytest.mark.parametrize(
    "misbehave",
    [behaviours.reset, behaviours.half_close, behaviours.half_close_unanswered, behaviours.truncated],
    ids=lambda one: one.__name__,
)
def test_an_endpoint_that_breaks_off(system: System, receiver: Receiver, misbehave: Behaviour) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system):
            receiver.answer("/slow", misbehave)
            stream.flow_on(500)
            receiver.answer("/slow")

    # A request lost on a reused connection is sent once more on a new one, within the same attempt.
    assert count_after(system, receiver, disturb).repeated <= 2 * IN_FLIGHT
