"""What healthy partners notice of one that is limited, slow, down or flooded, with the fair broker and without.

    python -m bench.isolation [--quick] --json FILE

Healthy partners get a steady load, first alone and then beside each trouble in turn, whose events are already queued
when the measurement begins. The same is measured for plain Celery on kombu's stock Redis transport, with Celery's
rate_limit for the limited partner, at a third of the rate that it can do here. An event that did not arrive in time
counts with the time that was waited for it. Each case reports how many processors were busy: if all were, the healthy
partners also waited for a processor.

The full form starts a fresh system for every case. The quick form uses one system for all cases and ends within 50 s;
between cases it pauses the troubled partner, or empties the stock queue.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import machine
from bench.load import Load
from bench.peers import Peer, plain_celery
from bench.programs import ProgramsFailedError
from bench.receiver_process import ReceiverProcess
from bench.runs import finish_load, hold, run_load, start_load, warm_up
from bench.seed import Group
from bench.system import System
from bench.troubles import TROUBLES, Trouble, other_urls
from recart_hooks.waiting import wait_until

HEALTHY_PARTNERS = 20
FAIR_EVENTS_PER_S = 150.0
STOCK_EVENTS_PER_S = 60.0
FULL_S, FULL_WARM_UP_S = 30, 5
QUICK_OVERHEAD_S = 1.7
QUICK_S = 34.0
STOCK_QUICK = 300  # more than it delivers during a measurement
QUICK_TROUBLES = [trouble for trouble in TROUBLES if trouble.quick]
ALONE = "alone"

Subject = System | Peer
Case = dict[str, float]


class Bench:
    """The receiver, the other endpoints, and the groups that every case is made of."""

    def __init__(self, receiver: ReceiverProcess, others: Mapping[str, str]) -> None:
        self.receiver = receiver
        urls = [receiver.url("ok", "healthy", number) for number in range(HEALTHY_PARTNERS)]
        self.healthy = Group("healthy", urls)
        self.troubled = {trouble.name: trouble.group(receiver, others) for trouble in TROUBLES}

    def fair(self, *names: str) -> System:
        return System(self._groups(names))

    def stock(self, *names: str) -> Peer:
        return plain_celery(self._groups(names))

    def _groups(self, names: Sequence[str]) -> list[Group]:
        return [self.healthy, *(self.troubled[name] for name in names)]

    def let_wait(self, subject: Subject, trouble: Trouble, events: int) -> None:
        """Publishes the trouble's events and returns when they are queued; until then its queue is held."""
        group = self.troubled[trouble.name]
        subject.hold(group)
        run_load(subject.events_url, Load(group.subjects, events))
        if not wait_until(subject.has_taken_all, patience_s=300):
            raise ProgramsFailedError(f"{trouble.name}: the events were not taken in")
        subject.release(group)

    def let_come(self, subject: Subject, trouble: Trouble, after_s: float) -> Future[None]:
        """Publishes the trouble's events all at once after this time. The result comes when they are published."""
        load = Load(self.troubled[trouble.name].subjects, trouble.waiting)

        def publish() -> None:
            time.sleep(after_s)
            finish_load(start_load(subject.events_url, load))

        return ThreadPoolExecutor(1).submit(publish)

    def measure(self, subject: Subject, seconds: float, warm_up_s: float, patience_s: float) -> Case:
        """The healthy partners' latencies under a steady load. Late events may still arrive during the next case."""
        self.receiver.reset()
        rate = FAIR_EVENTS_PER_S if isinstance(subject, System) else STOCK_EVENTS_PER_S
        began, used_s = time.monotonic(), machine.busy_s()
        held = hold(subject, self.receiver, self.healthy, rate, seconds, warm_up_s, patience_s=patience_s)
        busy = (machine.busy_s() - used_s) / (time.monotonic() - began)
        return {
            **held.latency(patience_s).as_json(),
            "delivered": held.arrived.delivered,
            "expected": held.expected,
            "busy_processors": round(busy, 2),
        }


def full(bench: Bench, make: Callable[..., Subject]) -> dict[str, Case]:
    """Every case in a fresh system."""
    cases: dict[str, Case] = {}
    for trouble in (None, *(one for one in TROUBLES if one.is_for_peers or make == bench.fair)):
        with make(*[trouble.name] if trouble else []) as subject:
            if trouble and trouble.subscriptions > 1:  # it wants the warm-up's events as well
                subject.hold(bench.troubled[trouble.name])
            warm_up(subject, bench.receiver, bench.healthy)
            coming: Future[None] | None = None
            if trouble and trouble.at_once:
                coming = bench.let_come(subject, trouble, after_s=FULL_WARM_UP_S + 1)
            elif trouble:
                bench.let_wait(subject, trouble, trouble.waiting)
            name = trouble.name if trouble else ALONE
            cases[name] = bench.measure(subject, FULL_S, FULL_WARM_UP_S, patience_s=10)
            if coming:
                coming.result()
            print(line(name, cases[name]), flush=True)
    return cases


def quick(
    bench: Bench,
    subject: Subject,
    put_aside: Callable[[Trouble], None],
    until: float,
) -> dict[str, Case]:
    """All cases in one system, in the time that is left until `until` (monotonic)."""
    warm_up(subject, bench.receiver, bench.healthy, events=100)
    cases: dict[str, Case] = {}
    for number, trouble in enumerate((None, *QUICK_TROUBLES)):
        seconds = (until - time.monotonic()) / (len(QUICK_TROUBLES) + 1 - number) - QUICK_OVERHEAD_S
        if trouble:
            most = trouble.quick if isinstance(subject, System) else STOCK_QUICK
            bench.let_wait(subject, trouble, min(trouble.quick, most))
        name = trouble.name if trouble else ALONE
        cases[name] = bench.measure(subject, max(0.8, min(3.0, seconds)), warm_up_s=0.3, patience_s=0.7)
        print(line(name, cases[name]), flush=True)
        if trouble:
            put_aside(trouble)
    return cases


def line(name: str, case: Case) -> str:
    arrived = f"{case['delivered']} of {case['expected']}"
    late = "  ".join(f"{which} {case[f'{which}_ms']:>9.1f}" for which in ("p50", "p95", "p99"))
    return f"  {name:<11} {late} ms, {arrived} arrived, {case['busy_processors']:.1f} processors busy"


def put_aside(bench: Bench, stock: Peer, trouble: Trouble) -> None:
    """Empties the stock queue. Messages that workers hold back for a rate limit go only with these workers."""
    if trouble.rate_limit:
        stock.replace_workers()
        warm_up(stock, bench.receiver, bench.healthy, events=1)
    else:
        stock.empty_queue()


def run_quick(bench: Bench, ends: float) -> dict[str, dict[str, Case]]:
    names = [trouble.name for trouble in QUICK_TROUBLES]
    fair, stock = bench.fair(*names), bench.stock(*names)
    with ExitStack() as stack, ThreadPoolExecutor() as starting:
        list(starting.map(stack.enter_context, (fair, stock)))
        half = time.monotonic() + (ends - time.monotonic()) * 0.52
        print("fair broker:", flush=True)
        of_fair = quick(bench, fair, lambda trouble: fair.hold(bench.troubled[trouble.name]), half)
        print("stock transport:", flush=True)
        of_stock = quick(bench, stock, lambda trouble: put_aside(bench, stock, trouble), ends)
    return {"fair": of_fair, "stock": of_stock}


def run_full(bench: Bench) -> dict[str, dict[str, Case]]:
    print("fair broker:", flush=True)
    of_fair = full(bench, bench.fair)
    print("stock transport:", flush=True)
    return {"fair": of_fair, "stock": full(bench, bench.stock)}


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m bench.isolation", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one system for all cases; ends within 50 s")
    parser.add_argument("--json", type=Path, help="where the result is written")
    options = parser.parse_args()
    with ReceiverProcess(10) as receiver, other_urls() as others:
        bench = Bench(receiver, others)
        result: dict[str, Any] = run_quick(bench, began + QUICK_S) if options.quick else run_full(bench)
    result["machine"] = machine.describe()
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
