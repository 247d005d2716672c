"""The floor: a bare HTTP client that posts signed events in a loop and does nothing else.

`python -m bench.floor CLIENT URL SECONDS` is one such client in a process of its own; `measure()` runs them all.
Rates are POSTs per second of the client's CPU time: what one core could do, however busy the machine is.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pycurl
import requests

from bench.payloads import order
from bench.receiver_process import ReceiverProcess
from delivery.signing import decode_secret, sign
from partners.secrets import new_secret

Post = Callable[[bytes, dict[str, str]], int]
"""Sends a body with headers; returns the status."""


@contextmanager
def with_requests(url: str) -> Iterator[Post]:
    with requests.Session() as session:
        session.trust_env = False
        yield lambda body, headers: session.post(url, data=body, headers=headers, timeout=15).status_code


@contextmanager
def with_pycurl(url: str) -> Iterator[Post]:
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, url)
    handle.setopt(pycurl.TIMEOUT, 15)
    handle.setopt(pycurl.WRITEFUNCTION, lambda _: None)

    def post(body: bytes, headers: dict[str, str]) -> int:
        handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
        handle.setopt(pycurl.POSTFIELDS, body)
        handle.perform()
        return int(handle.getinfo(pycurl.RESPONSE_CODE))

    yield post
    handle.close()


CLIENTS = {"requests": with_requests, "pycurl": with_pycurl}


def post_for(client: str, url: str, seconds: float) -> dict[str, float]:
    """Posts signed events of 1 KB one after the other; the first 100 do not count."""
    payload, key = order(1024), decode_secret(new_secret())
    with CLIENTS[client](url) as post:

        def attempt(number: int) -> None:
            body, now = payload.fill(number, time.time_ns()), int(time.time())
            headers = {
                "content-type": "application/json",
                "user-agent": "bench",
                "webhook-id": f"evt_{number}",
                "webhook-timestamp": str(now),
                "webhook-signature": sign([key], f"evt_{number}", now, body),
            }
            if post(body, headers) != 204:
                raise RuntimeError("the receiver refused")

        for number in range(100):
            attempt(number)
        posts, cpu, end = 0, time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            attempt(posts)
            posts += 1
        return {"posts": posts, "cpu_s": time.process_time() - cpu}


def measure(receiver: ReceiverProcess, seconds: float = 2.0) -> dict[str, float]:
    """POSTs per second and core, by client."""
    rates = {}
    for client in CLIENTS:
        command = [sys.executable, "-m", "bench.floor", client, receiver.url("ok", "floor", 0), str(seconds)]
        done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        rates[client] = round(done["posts"] / done["cpu_s"], 1)
    receiver.reset()
    return rates


if __name__ == "__main__":
    sys.stdout.write(json.dumps(post_for(sys.argv[1], sys.argv[2], float(sys.argv[3]))) + "\n")
