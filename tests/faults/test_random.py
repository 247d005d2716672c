"""Random faults for ten minutes: killed processes and servers, cut and slowed networks, servers that refuse.

The seed is printed. FAULTS_SEED sets it, and FAULTS_RANDOM_S the time.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from recart_hooks.stack import Server
from tests.faults.run import IN_FLIGHT, Stream, counted
from tests.faults.servers import read_only
from tests.flow.system import System
from tests.receiver import Receiver

LASTS_S = float(os.environ.get("FAULTS_RANDOM_S", "600"))
SEED = int(os.environ.get("FAULTS_SEED", random.SystemRandom().randrange(10**6)))

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(LASTS_S + 600)]


@dataclass
class Chaos:
    """One fault after the other. Each is over when its method returns."""

    system: System
    random: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def once(self) -> None:
        fault = self.random.choice(self.faults())
        print(time.strftime("%H:%M:%S"), fault.__name__, flush=True)
        fault()
        self.done[fault.__name__] += 1

    def faults(self) -> list[Callable[[], None]]:
        return [
            *(self.kill_worker, self.kill_bridge, self.kill_beat, self.replace_worker, self.replace_bridge),
            *(self.kill_valkey, self.wipe_valkey, self.kill_postgresql, self.kill_nats),
            *(self.cut, self.hold, self.slow, self.fill_valkey, self.make_postgresql_read_only),
        ]

    def kill_worker(self) -> None:
        self._kill(self.random.choice(["worker-1", "worker-2"]))

    def kill_bridge(self) -> None:
        self._kill("bridge")

    def kill_beat(self) -> None:
        self._kill("beat")

    def replace_worker(self) -> None:
        self.system.replace(self.random.choice(["worker-1", "worker-2"]))

    def replace_bridge(self) -> None:
        self.system.replace("bridge")

    def kill_valkey(self) -> None:
        self._crash(self.system.stack.valkey)

    def wipe_valkey(self) -> None:
        self.system.stack.valkey.kill()
        self.system.stack.valkey.wipe()
        self.system.stack.valkey.start()

    def kill_postgresql(self) -> None:
        self._crash(self.system.stack.postgres)

    def kill_nats(self) -> None:
        self._crash(self.system.stack.nats)

    def cut(self) -> None:
        wire = self.random.choice(list(self.system.wires.values()))
        wire.cut()
        self._wait()
        wire.mend()

    def hold(self) -> None:
        wire = self.random.choice(list(self.system.wires.values()))
        wire.hold()
        self._wait()
        wire.mend()

    def slow(self) -> None:
        wire = self.random.choice(list(self.system.wires.values()))
        wire.slow(0.2)
        self._wait()
        wire.mend()

    def fill_valkey(self) -> None:
        self.system.valkey.config_set("maxmemory", "1mb")
        self._wait()
        self.system.valkey.config_set("maxmemory", "0")

    def make_postgresql_read_only(self) -> None:
        with read_only(self.system):
            self._wait()

    def _kill(self, name: str) -> None:
        self.system.kill(name)
        self.system.start(name)

    def _crash(self, server: Server) -> None:
        server.kill()
        self._wait()
        server.start()

    def _wait(self) -> None:
        time.sleep(self.random.uniform(0, 6))

    @property
    def most_repeated(self) -> int:
        """How many requests these faults may have repeated. A fault of Valkey affects both workers."""
        valkey = ("kill_valkey", "wipe_valkey", "cut", "hold", "slow")
        return IN_FLIGHT * (self.done["kill_worker"] + 2 * sum(self.done[name] for name in valkey))


def test_everything_at_random(system: System, receiver: Receiver) -> None:
    print(f"FAULTS_SEED={SEED}", flush=True)
    chaos, stream = Chaos(system, random.Random(SEED)), Stream(system)
    deadline = time.monotonic() + LASTS_S
    with stream.flowing():
        while time.monotonic() < deadline:
            receiver.wait_for(len(receiver.requests) + chaos.random.randrange(500), timeout_s=180)
            chaos.once()
    count = counted(system, receiver, stream.published, timeout_s=300)
    print(count, dict(chaos.done), f"at most {chaos.most_repeated} may be repeated", flush=True)
    assert count.repeated <= chaos.most_repeated
