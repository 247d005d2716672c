"""A short fault test for `make test`: one system, several faults in turn. The other fault tests are long."""

import pytest

from delivery import publish
from delivery.broker import FairMessage, FairQueues
from tests.faults.run import IN_FLIGHT, Stream, count_after
from tests.faults.servers import read_only, readyz_says, start_web
from tests.faults.watch import calm
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(600)]


def test_what_waits_or_ends_in_order_repeats_nothing_and_a_crash_only_what_was_in_flight(
    system: System, receiver: Receiver
) -> None:
    stream = Stream(system)

    def trouble(stream: Stream) -> None:
        a_newer_release_queues_a_message(system)
        system.replace("worker-1")
        start_web(system)
        with calm(system), read_only(system):
            readyz_says(system, "postgresql", "read-only")
            stream.flow_on(100)
        system.wires["postgres"].hold()
        readyz_says(system, "postgresql", "timeout")
        system.wires["postgres"].mend()

    def crash(_: Stream) -> None:
        system.kill("worker-2")
        system.kill("bridge")
        system.start("bridge")
        system.stack.postgres.kill()
        system.stack.postgres.start()

    assert count_after(system, receiver, trouble, stream=stream).repeated == 0
    assert count_after(system, receiver, crash, stream=stream).repeated <= 3 * IN_FLIGHT


def a_newer_release_queues_a_message(system: System) -> None:
    """The message is delayed, not lost, and other messages are processed."""
    queue, queues = publish.queue_of("ptr_newer"), FairQueues(system.valkey)
    form = {"message_version": publish.VERSION + 1}
    queues.publish([FairMessage(queue, "dlv_newer:1", publish.TASK, args=({"of": "another form"},), headers=form)])
    system.wait_until(lambda: queues.stats([queue])[queue].delayed == 1, "the message to be parked")
    assert queues.missing(queue, ["dlv_newer:1"]) == []
    queues.purge(queue)
