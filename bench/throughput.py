"""Measures the whole path: deliveries per second, CPU per delivery, and latency at half that rate.

    python -m bench.throughput [--quick] [--peers] --json FILE

The quick form ends within 50 s and measures one scenario. The full form measures all, each in a fresh system, and the
peers.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import floor, machine, peers, report
from bench.measures import latency_of
from bench.receiver_process import ReceiverProcess, ceiling
from bench.runs import Drained, Steady, UnderTest, drain, hold, warm_up
from bench.scenarios import FULL, PEERS, PEERS_QUICK, QUICK, Scenario
from bench.system import System


@dataclass(frozen=True, slots=True)
class Measured:
    """The two measurements of one scenario."""

    scenario: str
    drained: Drained
    steady: Steady

    def as_json(self) -> dict[str, Any]:
        drained = asdict(self.drained)
        return {
            "scenario": self.scenario,
            **drained,
            "latency_half_load": latency_of(self.steady.arrived.latencies_ms).as_json(),
            "steady": {
                "events_per_s": round(self.steady.events_per_s, 1),
                "expected": self.steady.expected,
                "delivered": self.steady.arrived.delivered,
                "publisher_late_p99_ms": round(self.steady.published.late_p99_ms, 2),
            },
        }


def measure(scenario: Scenario) -> Measured:
    """Starts a fresh system, drains a backlog, then holds a load at half of that rate."""
    with ReceiverProcess(scenario.ports) as receiver:
        group = scenario.group(receiver)
        with System([group], workers=scenario.workers) as system:
            return measure_running(system, receiver, scenario)


def measure_running(under_test: UnderTest, receiver: ReceiverProcess, scenario: Scenario) -> Measured:
    group = scenario.group(receiver)
    warm_up(under_test, receiver, group)
    drained = drain(under_test, receiver, group, scenario.events, scenario.size)
    events_per_s = drained.deliveries_per_s / 2 / scenario.fan_out
    steady = hold(under_test, receiver, group, events_per_s, scenario.steady_s, size=scenario.size)
    return Measured(scenario.name, drained, steady)


def measure_peer(peer: peers.Peer, receiver: ReceiverProcess, scenario: Scenario) -> dict[str, Any]:
    with peer:
        measured = measure_running(peer, receiver, scenario).as_json()
    print(report.line(measured), flush=True)
    return measured


def measure_peers(quick: bool) -> dict[str, dict[str, Any]]:
    plain, webhook = PEERS_QUICK if quick else PEERS
    found: dict[str, dict[str, Any]] = {}
    with ReceiverProcess(plain.ports) as receiver:
        found["plain_celery"] = measure_peer(peers.plain_celery([plain.group(receiver)]), receiver, plain)
        if peers.has_django_webhook():
            peer = peers.django_webhook([webhook.group(receiver)])
            found["django_webhook"] = measure_peer(peer, receiver, webhook)
        else:
            print("django-webhook is not installed: pip install -r bench/requirements.txt", flush=True)
    return found


def run(quick: bool, with_peers: bool) -> dict[str, Any]:
    with ReceiverProcess() as receiver:
        limit = ceiling(receiver)
        rates = floor.measure(receiver, 1.0 if quick else 4.0)
    print(f"the receiver takes {limit:,.0f} POSTs/s a core; the bare clients make {rates}", flush=True)
    results = []
    for scenario in (QUICK,) if quick else FULL:
        results.append(measure(scenario))
        print(report.line(results[-1].as_json()), flush=True)
    main = results[0].as_json()
    return {
        **{name: main[name] for name in ("deliveries_per_s", "cpu_s_per_1000", "cpu_split", "peak_rss_mb")},
        "latency_half_load": main["latency_half_load"],
        "plain_celery": {},
        "django_webhook": {},
        **(measure_peers(quick) if with_peers else {}),
        "floor": {"posts_per_s_core": rates},
        "receiver": {"posts_per_s_core": round(limit)},
        "cpu_ratio_to_floor": round(main["cpu_s_per_1000"] / 1000 * rates["pycurl"], 1),
        "scenarios": [one.as_json() for one in results],
        "machine": machine.describe(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short scenario; the peers only with --peers")
    parser.add_argument("--peers", action="store_true", help="also measure the peers (the full form always does)")
    parser.add_argument("--json", type=Path, help="where the result is written")
    options = parser.parse_args()
    result = run(options.quick, options.peers or not options.quick)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
