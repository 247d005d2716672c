"""Posts a second and CPU a post of the senders, beside the bare libraries: `python -m bench.senders [--json FILE]`.

Each figure comes from a process of its own, pinned to one core where the system can do that, with the receiver
(bench.receiver) on the others; signed bodies of 1 KB. CPU per 1,000 posts is the figure to compare: it depends little
on what else the machine does. The receiver's share of its core shows that it was not the limit.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import psutil
import pycurl
import requests
import urllib3
from requests.adapters import HTTPAdapter

from bench.payloads import order
from bench.receiver_process import ReceiverProcess
from delivery.sending import AddressPolicy, Request, make_sender
from delivery.signing import decode_secret, new_secret, sign

CLIENTS = ("requests", "curl", "bare requests", "bare urllib3", "bare pycurl")
THREADS = (1, 8, 32)
COLUMNS = ("client", "threads", "posts_per_s", "cpu_s_per_1000", "p50_ms", "p99_ms", "rss_mb", "receiver_cpu")
_RSS_UNIT = 1024 if sys.platform == "linux" else 1024 * 1024

Post = Callable[[bytes, dict[str, str]], int]
"""Sends a body with headers; returns the status."""


def maker(name: str, url: str) -> Callable[[], Post]:
    """Makes, once per thread, what posts."""
    if name in {"requests", "curl"}:
        return _sender(name, url)
    return {"bare requests": _bare_requests, "bare urllib3": _bare_urllib3, "bare pycurl": _bare_pycurl}[name](url)


def _sender(name: str, url: str) -> Callable[[], Post]:
    sender = make_sender(name, AddressPolicy(allow=[ip_network("127.0.0.0/8")]))

    def post(body: bytes, headers: dict[str, str]) -> int:
        return sender.send(Request(url, headers, body)).status_code or 0

    return lambda: post


def _bare_requests(url: str) -> Callable[[], Post]:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(pool_maxsize=64))
    return lambda: lambda body, headers: session.post(url, data=body, headers=headers, timeout=15).status_code


def _bare_urllib3(url: str) -> Callable[[], Post]:
    pool = urllib3.PoolManager(maxsize=64)
    return lambda: lambda body, headers: pool.request("POST", url, body=body, headers=headers, timeout=15).status


def _bare_pycurl(url: str) -> Callable[[], Post]:
    def make() -> Post:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.WRITEFUNCTION, lambda data: None)

        def post(body: bytes, headers: dict[str, str]) -> int:
            curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
            curl.setopt(pycurl.POSTFIELDS, body)
            curl.perform()
            return int(curl.getinfo(pycurl.RESPONSE_CODE))

        return post

    return make


def run_client(name: str, url: str, threads: int, seconds: float) -> dict[str, Any]:
    """Posts from so many threads for so long, after a second of warming up."""
    make = maker(name, url)
    payload, key = order(1024), decode_secret(new_secret())
    body, now = payload.fill(0, time.time_ns()), int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": "bench",
        "webhook-id": "evt_0198c6a3b1f07d3c8f6f4e2b5a7c9d10",
        "webhook-timestamp": str(now),
        "webhook-signature": sign([key], "evt_0198c6a3b1f07d3c8f6f4e2b5a7c9d10", now, body),
    }
    counting, stopping = threading.Event(), threading.Event()
    latencies_ms: list[list[float]] = [[] for _ in range(threads)]

    def work(mine: list[float]) -> None:
        post = make()
        while not stopping.is_set():
            started = time.perf_counter()
            if post(body, headers) != 204:
                os._exit(1)  # from a thread: nothing else would stop the others
            if counting.is_set():
                mine.append((time.perf_counter() - started) * 1000)

    workers = [threading.Thread(target=work, args=(mine,)) for mine in latencies_ms]
    for worker in workers:
        worker.start()
    time.sleep(1)
    counting.set()
    started, cpu_started = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    counting.clear()
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    stopping.set()
    for worker in workers:
        worker.join()
    every_ms = [ms for mine in latencies_ms for ms in mine]
    cuts = statistics.quantiles(every_ms, n=100)
    return {
        "posts_per_s": round(len(every_ms) / wall_s),
        "cpu_s_per_1000": round(cpu_s / len(every_ms) * 1000, 3),
        "p50_ms": round(cuts[49], 2),
        "p99_ms": round(cuts[98], 2),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _RSS_UNIT),
    }


def measure(name: str, threads: int, seconds: float, receiver: ReceiverProcess, cpu: int | None) -> dict[str, Any]:
    url = receiver.url("ok", "senders", 0)
    command = [sys.executable, "-m", "bench.senders", "--one", name, url, str(threads), str(seconds)]
    before, started = receiver.cpu_s(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if cpu is not None:
            psutil.Process(process.pid).cpu_affinity([cpu])
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{name} with {threads} threads failed")
    share = (receiver.cpu_s() - before) / (time.perf_counter() - started)
    receiver.reset()
    return {"client": name, "threads": threads, **json.loads(output), "receiver_cpu": f"{share:.0%}"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Posts a second and CPU a post of the senders.")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--clients", nargs="*", default=list(CLIENTS), choices=CLIENTS)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, url, threads, seconds = arguments.one
        print(json.dumps(run_client(name, url, int(threads), float(seconds))))
        return
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    rows = []
    print("".join(f"{column:>16}" for column in COLUMNS))
    with ReceiverProcess() as receiver:
        if len(cpus) > 1:
            psutil.Process(receiver.pid).cpu_affinity(cpus[1:])
        for name in arguments.clients:
            for threads in THREADS:
                row = measure(name, threads, arguments.seconds, receiver, cpus[0] if len(cpus) > 1 else None)
                rows.append(row)
                print("".join(f"{row[column]:>16}" for column in COLUMNS), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
