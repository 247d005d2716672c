"""Alternatives that people would use instead, given the same events and measured by the same receiver."""

import os
import signal
from collections.abc import Sequence
from importlib.util import find_spec

import redis

from bench import seed
from bench.programs import START_S, Programs, ProgramsFailedError
from recart_hooks.waiting import wait_until

WORKERS = 2


class Peer(Programs):
    """Celery on the stock transport. `apps` are its Django apps, `take` is the module that turns events into tasks."""

    def __init__(self, groups: Sequence[seed.Group], apps: str, take: str) -> None:
        super().__init__(
            {
                "DJANGO_SETTINGS_MODULE": "bench.peers.settings",
                "SECRET_KEY": "only-for-the-benchmark",
                "PEER_APPS": apps,
            }
        )
        self._groups = groups
        self._take = take

    def start(self) -> None:
        self._settings["BROKER_URL"] = self.stack.valkey.redis_url
        self.run("-m", "bench.peers.prepare", text=seed.dump(self._groups))
        self.spawn("consumer", "-m", "bench.peers.consume", self._take)
        self._spawn_workers()
        if not wait_until(self.takes_events, START_S):
            raise ProgramsFailedError("the consumer made no stream")

    def _spawn_workers(self) -> None:
        for number in range(WORKERS):
            worker = ("-m", "celery", "-A", "bench.peers.celery", "worker", "-n", f"worker{number}@peer")
            self.spawn("workers", *worker, "-P", "threads", "-c", "32", "--loglevel", "ERROR")

    def hold(self, _group: seed.Group) -> None:
        """Stops all workers, because nothing can hold back one partner."""
        for one in self.processes["workers"]:
            os.kill(one.pid, signal.SIGSTOP)

    def release(self, _group: seed.Group) -> None:
        for one in self.processes["workers"]:
            os.kill(one.pid, signal.SIGCONT)

    def empty_queue(self) -> None:
        with redis.Redis.from_url(self.stack.valkey.redis_url) as client:
            client.delete("celery")

    def replace_workers(self) -> None:
        """Starts new workers and drops all messages, also those that the old workers held."""
        for one in self.processes.pop("workers"):
            one.kill()
        with redis.Redis.from_url(self.stack.valkey.redis_url) as client:
            client.delete("celery", "unacked", "unacked_index")
        self._spawn_workers()

    def is_idle(self) -> bool:
        with redis.Redis.from_url(self.stack.valkey.redis_url) as client:
            return not client.llen("celery") and not client.hlen("unacked")


def plain_celery(groups: Sequence[seed.Group]) -> Peer:
    return Peer(groups, "bench.peers.plain_celery", "bench.peers.plain_celery.tasks")


def django_webhook(groups: Sequence[seed.Group]) -> Peer:
    """Needs bench/requirements.txt; see `has_django_webhook`."""
    return Peer(groups, "django_webhook,bench.peers.shop", "bench.peers.shop.models")


def has_django_webhook() -> bool:
    return find_spec("django_webhook") is not None
