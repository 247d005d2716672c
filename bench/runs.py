"""The two measurements: draining a backlog and holding a steady load, for the system and for its peers."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Protocol

from bench.load import Load, Published
from bench.measures import Latency, latency_of
from bench.receiver_process import NOTHING, Arrived, ReceiverProcess
from bench.seed import Group
from bench.usage import Meter


class UnderTest(Protocol):
    """What the measurements require of the system or a peer."""

    @property
    def events_url(self) -> str: ...

    @property
    def classes(self) -> dict[str, list[int]]: ...

    def wait_until_recorded(self) -> None: ...


class NotDeliveredError(Exception):
    """Fewer POSTs arrived than events require, so the numbers would be meaningless."""


@dataclass(frozen=True, slots=True)
class Drained:
    """A drained backlog: the rate from the first POST to the last, the CPU from publishing to the last record."""

    deliveries: int
    repeated: int
    deliveries_per_s: float
    cpu_s_per_1000: float
    cpu_split: dict[str, float]
    """CPU seconds per 1,000 deliveries, by class of process."""
    peak_rss_mb: float


@dataclass(frozen=True, slots=True)
class Steady:
    """A steady load. Latencies are from the scheduled publish to the arrival of the POST."""

    events_per_s: float
    expected: int
    arrived: Arrived
    published: Published

    def latency(self, patience_s: float) -> Latency:
        """Deliveries that did not arrive in time count with the time that was waited for them."""
        missing = max(0, self.expected - self.arrived.delivered)
        return latency_of([*self.arrived.latencies_ms, *[patience_s * 1000] * missing])


def start_load(events_url: str, load: Load) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load", events_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(load)).encode())
    process.stdin.close()
    return process


def finish_load(process: "subprocess.Popen[bytes]") -> Published:
    assert process.stdout is not None
    output = process.stdout.read()
    if process.wait():
        raise NotDeliveredError("the publisher failed; its error is above")
    return Published(**json.loads(output))


def run_load(events_url: str, load: Load) -> Published:
    return finish_load(start_load(events_url, load))


def warm_up(under_test: UnderTest, receiver: ReceiverProcess, group: Group, events: int = 300) -> None:
    """Delivers an event to every partner, so that connections are open and caches are filled."""
    receiver.reset()
    events = max(events, len(group.subjects))
    run_load(under_test.events_url, Load(group.subjects, events))
    if not receiver.wait_for(group.name, events * group.fan_out, patience_s=90):
        raise NotDeliveredError(f"warm-up: {receiver.counts()} of {events * group.fan_out} arrived")
    under_test.wait_until_recorded()
    receiver.reset()


def drain(under_test: UnderTest, receiver: ReceiverProcess, group: Group, events: int, size: int = 1024) -> Drained:
    expected = events * group.fan_out
    with Meter(under_test.classes) as meter:
        run_load(under_test.events_url, Load(group.subjects, events, size=size))
        if not receiver.wait_for(group.name, expected, patience_s=300):
            raise NotDeliveredError(f"drain: {receiver.counts()} of {expected} arrived")
        under_test.wait_until_recorded()
        cpu = meter.cpu_s()
    arrived = receiver.arrived()[group.name]
    receiver.reset()
    if arrived.delivered != expected:
        raise NotDeliveredError(f"drain: {arrived.delivered} different POSTs of {expected} arrived")
    return Drained(
        deliveries=expected,
        repeated=arrived.repeated,
        deliveries_per_s=round(expected / (arrived.last_at - arrived.first_at), 1),
        cpu_s_per_1000=round(sum(cpu.values()) / expected * 1000, 4),
        cpu_split={name: round(used / expected * 1000, 4) for name, used in cpu.items()},
        peak_rss_mb=meter.peak_mb,
    )


def hold(
    under_test: UnderTest,
    receiver: ReceiverProcess,
    group: Group,
    events_per_s: float,
    seconds: float,
    warm_up_s: float = 2.0,
    size: int = 1024,
    patience_s: float = 20.0,
) -> Steady:
    """A steady load for `seconds` after `warm_up_s`, whose events do not count.

    First writes dirty pages back to the disk. Otherwise the kernel would do so during the measurement, up to 100 MB at
    once, and every commit would wait.
    """
    os.sync()
    events, skipped = int((seconds + warm_up_s) * events_per_s), int(warm_up_s * events_per_s)
    published = run_load(under_test.events_url, Load(group.subjects, events, events_per_s, size))
    receiver.wait_for(group.name, events * group.fan_out, patience_s)
    arrived = receiver.arrived(skipped).get(group.name, NOTHING)
    return Steady(events_per_s, (events - skipped) * group.fan_out, arrived, published)
