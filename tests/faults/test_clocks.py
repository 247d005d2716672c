"""One process runs on a host whose clock is an hour ahead or behind: no delivery is late, early or repeated.

Only the times that this process records and signs with are wrong.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import behaviours
from tests.faults.run import Stream, count_after
from tests.flow.system import System
from tests.receiver import Receiver

HOUR_S = 3600

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library to preload that shifts a process's clock. Skips the test if it cannot be built."""
    if os.uname().sysname != "Linux" or shutil.which("cc") is None:
        pytest.skip("a shifted clock needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


def wrong(clock: Path, by_s: int) -> Mapping[str, str]:
    return {"LD_PRELOAD": str(clock), "CLOCK_AHEAD_S": str(by_s)}


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["ahead", "behind"])
@pytest.mark.parametrize("name", ["worker-1", "bridge", "beat"])
def test_one_clock_is_wrong(system: System, receiver: Receiver, clock: Path, name: str, by_s: int) -> None:
    """Every tenth event fails at first; then the endpoint is down until its breaker opens, and comes back."""
    system.stop(name)
    system.start(name, env=wrong(clock, by_s))

    def disturb(stream: Stream) -> None:
        receiver.answer("/slow", lambda exchange: behaviours.fail_every(exchange, 10))
        stream.flow_on(300)
        receiver.answer("/slow", lambda exchange: behaviours.status(exchange, 503))
        system.wait_until(lambda: system.valkey.hlen("breakers") == 1, "an open breaker")
        stream.flow_on(200)
        receiver.answer("/slow")

    assert count_after(system, receiver, disturb).repeated == 0
