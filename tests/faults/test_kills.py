"""Random kills (SIGKILL) for minutes under load: up to three processes or servers at once. Servers keep their data.

`FAULTS_EVENTS` sets the number of events, `FAULTS_SEED` repeats an order of kills.
"""

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from recart_hooks.stack import Server
from tests.exchange import Received
from tests.faults.run import IN_FLIGHT, Stream, counted
from tests.faults.servers import start_web
from tests.flow.system import System
from tests.receiver import Receiver

EVENTS = int(os.environ.get("FAULTS_EVENTS", "100000"))
SEED = int(os.environ.get("FAULTS_SEED", random.SystemRandom().randrange(10**6)))
EVENTS_PER_S = 400
LET_GO_S = 2.0
"""A request may still arrive this long after its worker was killed or lost its lease."""

PROCESSES = ("bridge", "worker-1", "worker-2", "beat", "web")
LETTING_GO = {"worker-1": 1, "worker-2": 1, "valkey": 2}
"""How many workers' requests in flight may be repeated when this is killed."""

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(EVENTS / 50 + 600)]


@dataclass
class Killer:
    system: System
    random: random.Random
    kills: list[tuple[float, str]] = field(default_factory=list)
    """The time (time.monotonic()) and the name of each."""

    def strike(self) -> None:
        """Kills one to three parts at once and starts them again up to three seconds later."""
        victims = self.random.sample((*PROCESSES, *self._servers), self.random.choice((1, 1, 2, 3)))
        print(time.strftime("%H:%M:%S"), *victims, flush=True)
        for name in victims:
            self._servers[name].kill() if name in self._servers else self.system.kill(name)
            self.kills.append((time.monotonic(), name))
        time.sleep(self.random.uniform(0, 3))
        for name in victims:
            self._servers[name].start() if name in self._servers else self.system.start(name)

    @property
    def _servers(self) -> dict[str, Server]:
        return {server.name: server for server in self.system.stack.servers}

    @property
    def most_repeated(self) -> int:
        return IN_FLIGHT * sum(LETTING_GO.get(name, 0) for _, name in self.kills)


def test_events_survive_random_kills_of_everything(system: System, receiver: Receiver) -> None:
    print(f"FAULTS_SEED={SEED}", flush=True)
    start_web(system)
    killer, stream = Killer(system, random.Random(SEED)), Stream(system, per_s=EVENTS_PER_S)
    with stream.flowing():
        while stream.published < EVENTS:
            receiver.wait_for(len(receiver.requests) + killer.random.randrange(2000), timeout_s=180)
            killer.strike()
    count = counted(system, receiver, stream.published, timeout_s=300)
    print(count, dict(Counter(name for _, name in killer.kills)), flush=True)
    assert count.repeated <= killer.most_repeated
    assert unexplained(receiver.requests, killer) == []
    system.wait_until(lambda: system.readyz()["status"] == "ok", "a ready web process")


def unexplained(requests: Sequence[Received], killer: Killer) -> list[str]:
    """Events that were sent again although since the previous time nothing was killed that can cause a repetition."""
    arrivals: dict[str, list[float]] = defaultdict(list)
    for request in requests:
        arrivals[request.webhook_id].append(request.arrived_at)
    causes = [at for at, name in killer.kills if name in LETTING_GO]
    return [
        event_id
        for event_id, times in arrivals.items()
        for first, again in pairwise(times)
        if not any(first - LET_GO_S <= at <= again for at in causes)
    ]
