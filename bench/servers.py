"""Compares us with Svix and Convoy, built from their sources, on one machine, one after the other.

    python -m bench.servers [--svix BINARY] [--convoy BINARY] [--json FILE]

Each drains the same events to the same partners and holds the same steady loads, and then one load beside each troubled
partner, whose events came first. docs/performance.md says how the binaries are built.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import machine
from bench.isolation import HEALTHY_PARTNERS
from bench.load import Load
from bench.peers.servers import Convoy, Svix
from bench.programs import Programs
from bench.receiver_process import ReceiverProcess
from bench.runs import drain, hold, run_load, warm_up
from bench.scenarios import Scenario
from bench.seed import Group
from bench.system import System
from bench.troubles import TROUBLES

SCENARIO = Scenario("servers", partners=100, deliveries=10_000)
RATES = (100.0, 300.0, 600.0)
STEADY_S = 8.0
TROUBLED_RATE = 100.0
TROUBLED = ("hanging", "failing", "limited")
WAITING = 1_000
PATIENCE_S = 10.0

Make = Callable[[Sequence[Group]], Programs]


def steady(subject: Programs, receiver: ReceiverProcess, group: Group, rate: float) -> dict[str, float]:
    held = hold(subject, receiver, group, rate, STEADY_S, patience_s=PATIENCE_S)
    late = held.latency(PATIENCE_S)
    print(f"  {rate:.0f}/s: {late}, {held.arrived.delivered} of {held.expected} arrived", flush=True)
    return {**late.as_json(), "delivered": held.arrived.delivered, "expected": held.expected}


def speed(make: Make) -> dict[str, Any]:
    with ReceiverProcess(SCENARIO.ports) as receiver:
        plain = SCENARIO.group(receiver)
        with make([plain]) as subject:
            group = subject.addressed(plain)
            warm_up(subject, receiver, group)
            drained = drain(subject, receiver, group, SCENARIO.events)
            print(f"  {drained}", flush=True)
            held = {}
            for rate in RATES:
                held[rate] = steady(subject, receiver, group, rate)
                receiver.reset()
            return {**asdict(drained), "steady": held}


def isolation(make: Make) -> dict[str, Any]:
    """The healthy partners' latencies, alone and beside each trouble, each in a fresh system."""
    found = {}
    for trouble in (None, *(one for one in TROUBLES if one.name in TROUBLED)):
        name = trouble.name if trouble else "alone"
        with ReceiverProcess(10) as receiver:
            healthy = Group("healthy", [receiver.url("ok", "healthy", n) for n in range(HEALTHY_PARTNERS)])
            troubled = [trouble.group(receiver, {})] if trouble else []
            with make([healthy, *troubled]) as subject:
                warm_up(subject, receiver, subject.addressed(healthy))
                for group in troubled:
                    run_load(subject.events_url, Load(subject.addressed(group).subjects, WAITING))
                print(f"  beside {name}:", flush=True)
                found[name] = steady(subject, receiver, subject.addressed(healthy), TROUBLED_RATE)
                found[name]["posts_to_the_troubled"] = receiver.counts().get(name, 0)
    return found


def _binary(path: str) -> Path:
    if shutil.which(path) is None:
        raise argparse.ArgumentTypeError(f"{path} is not an executable program")
    return Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.servers", description=__doc__.partition("\n")[0])
    parser.add_argument("--svix", type=_binary, help="a svix-server binary")
    parser.add_argument("--convoy", type=_binary, help="a convoy binary")
    parser.add_argument("--json", type=Path, help="where the result is written")
    options = parser.parse_args()
    subjects: dict[str, Make] = {"ours": System}
    if options.svix:
        subjects["svix"] = lambda groups: Svix(options.svix, groups)
    if options.convoy:
        subjects["convoy"] = lambda groups: Convoy(options.convoy, groups)
    result: dict[str, Any] = {"machine": machine.describe()}
    for name, make in subjects.items():
        print(f"{name}:", flush=True)
        result[name] = {"speed": speed(make), "isolation": isolation(make)}
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
