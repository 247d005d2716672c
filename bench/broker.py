"""What the broker costs: tasks per second through a real worker, with kombu's Redis transport and with the fair broker.

    python -m bench.broker [--quick] [--json FILE]

Both use the same worker (one process, threads pool), the same task that does nothing, messages of about 0.4 KB in four
queues, and a Valkey database each. Rounds alternate, so that a noisy neighbour affects both; the ratio is the median of
the ratios of neighbouring rounds. Then the fair broker runs alone, with 10 to 10,000 partners. The worker records when
its first and its last task ran, so observing it costs nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu import Queue

from bench import machine
from delivery.broker import FairMessage, FairQueues, connect, register
from recart_hooks.stack import Stack

TASK = "bench.nothing"
THREADS = 64
QUEUES = 4
PARTNERS = (10, 100, 1_000, 10_000)
_BEGAN, _ENDED, _CPU = "bench:began", "bench:ended", "bench:cpu_s"
_GIVE_UP_S = 120


def application(url: str, count: int = 0) -> Celery:
    """The same application on either transport. Its task counts its runs and records the first and the last."""
    fair = url.startswith("fair")
    app = Celery("bench", broker=url)
    register(app)
    names = ["partner.*"] if fair else [f"stock.{number}" for number in range(QUEUES)]
    app.conf.update(
        task_queues=[Queue(name, routing_key=name) for name in names],
        task_acks_late=True,
        task_ignore_result=True,
        worker_pool="threads",
        worker_concurrency=THREADS,
        worker_prefetch_multiplier=1,
        worker_disable_rate_limits=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={} if fair else {"priority_steps": [0]},
    )
    client = connect(_fair(url))
    done, lock, cpu = [0], threading.Lock(), [0.0]

    @app.task(name=TASK)
    def nothing(_number: int) -> None:
        with lock:
            done[0] += 1
            number = done[0]
        if number == 1:
            cpu[0] = time.process_time()
            client.set(_BEGAN, time.time())
        if number == count:
            client.mset({_ENDED: time.time(), _CPU: time.process_time() - cpu[0]})

    return app


def _fair(url: str) -> str:
    return "fair" + url[url.index("://") :]


if "BENCH_BROKER_URL" in os.environ:
    app = application(os.environ["BENCH_BROKER_URL"], int(os.environ["BENCH_BROKER_COUNT"]))


@contextmanager
def worker(url: str, count: int) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "bench.broker", "worker", "-l", "ERROR"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    env = {**os.environ, "BENCH_BROKER_URL": url, "BENCH_BROKER_COUNT": str(count)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def fill_stock(url: str, count: int) -> None:
    app = application(url)
    with app.connection_for_write() as connection, connection.Producer() as producer:
        for number in range(count):
            task = app.amqp.as_task_v2(f"{number}", TASK, (number,), {}, argsrepr="()", kwargsrepr="{}")
            app.amqp.send_task_message(producer, TASK, task, queue=app.amqp.queues[f"stock.{number % QUEUES}"])


def fill_fair(url: str, count: int, partners: int) -> float:
    """Returns the CPU seconds that publishing took per message."""
    queues = FairQueues(connect(url))
    began = time.process_time()
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        queues.publish([FairMessage(f"partner.{n % partners}", f"m{n}:1", TASK, (n,), argsrepr="()") for n in numbers])
    return (time.process_time() - began) / count


def drain(url: str, count: int, partners: int = QUEUES) -> dict[str, float]:
    """Fills the queues, starts a worker, and waits until it has run all tasks."""
    client = connect(_fair(url))
    client.flushdb()
    publish_s = 0.0
    if url.startswith("fair"):
        publish_s = fill_fair(url, count, partners)
    else:
        fill_stock(url, count)
    with worker(url, count):
        used_s = float(_wait_for(client, _CPU))
    seconds = float(client.get(_ENDED) or 0) - float(client.get(_BEGAN) or 0)
    return {"tasks_per_s": count / seconds, "cpu_us": used_s / count * 1e6, "publish_us": publish_s * 1e6}


def _wait_for(client: "redis.Redis", key: str) -> Any:
    deadline = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < deadline:
        if (value := client.get(key)) is not None:
            return value
        time.sleep(0.1)
    raise TimeoutError(f"the worker has not ended after {_GIVE_UP_S} s")


def measure(url: str, quick: bool) -> dict[str, Any]:
    rounds, stock_count, fair_count = (1, 3_000, 12_000) if quick else (5, 10_000, 60_000)
    base = url.rpartition("/")[0]
    fair_url, stock_url = f"{base}/1", f"{base}/2".replace("fair://", "redis://", 1)
    pairs = [(drain(stock_url, stock_count), drain(fair_url, fair_count)) for _ in range(rounds)]
    stock, fair = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "stock_tasks_per_s": round(statistics.median(one["tasks_per_s"] for one in stock)),
        "fair_tasks_per_s": round(statistics.median(one["tasks_per_s"] for one in fair)),
        "ratio": round(statistics.median(b["tasks_per_s"] / a["tasks_per_s"] for a, b in pairs), 2),
        "fair_by_partners": {str(n): round(drain(fair_url, fair_count, n)["tasks_per_s"]) for n in PARTNERS},
        "stock_cpu_us_per_task": round(min(one["cpu_us"] for one in stock)),
        "fair_cpu_us_per_task": round(min(one["cpu_us"] for one in fair)),
        "fair_publish_cpu_us_per_task": round(min(one["publish_us"] for one in fair)),
        "machine": machine.describe(),
    }


def table(result: dict[str, Any]) -> str:
    stock, fair = ((result[f"{kind}_tasks_per_s"], result[f"{kind}_cpu_us_per_task"]) for kind in ("stock", "fair"))
    lines = [
        f"kombu's Redis transport  {stock[0]:>7,} tasks/s  {stock[1]:>5} µs of the worker's CPU a task",
        f"the fair broker          {fair[0]:>7,} tasks/s  {fair[1]:>5} µs of the worker's CPU a task",
        f"ratio                    {result['ratio']:>7}",
        f"publishing               {result['fair_publish_cpu_us_per_task']:>7} µs of CPU a task, in batches of 500",
    ]
    lines += [f"with {int(n):>6,} partners     {rate:>7,} tasks/s" for n, rate in result["fair_by_partners"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="ends within 50 s")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recart-hooks-bench-") as directory:
        stack = Stack(Path(directory), environ={})
        stack.own()
        stack.valkey.start()
        try:
            result = measure(stack.valkey.url, options.quick)
        finally:
            stack.stop()
    print(table(result))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
