"""A worker has enough sockets for all its simultaneous requests, and threads for deliveries that ended."""

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from delivery.open_files import allow_open_files
from delivery.pool import TaskPool
from delivery.publish import TASK
from delivery.senders import kept

FILES = resource.RLIMIT_NOFILE


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit of this process; restores its soft limit afterwards."""
    soft, hard = resource.getrlimit(FILES)
    yield soft if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(FILES, (soft, hard))


def test_the_limit_is_raised_as_far_as_it_may_be(hard: int, caplog: pytest.LogCaptureFixture) -> None:
    given = resource.getrlimit(FILES)[1]
    resource.setrlimit(FILES, (hard - 10, given))
    allow_open_files(hard - 5)
    assert resource.getrlimit(FILES) == (hard - 5, given)
    allow_open_files(hard - 7)
    assert resource.getrlimit(FILES) == (hard - 5, given), "never lowered"
    allow_open_files(hard + 1)
    assert resource.getrlimit(FILES) == (hard if given != resource.RLIM_INFINITY else hard + 1, given)
    assert not caplog.records


@pytest.mark.parametrize(("allowed", "at_once"), [(256, 64), (1024, 256), (1500, 500), (2024, 1024), (4096, 1024)])
def test_a_worker_has_no_more_places_than_its_files_allow(hard: int, allowed: int, at_once: int) -> None:
    """In a process of its own, because a hard limit cannot be raised again."""
    script = (
        "from celery.signals import worker_init; import recart_hooks.celery\n"
        "class Worker: concurrency, options = 1024, {'autoscale': None}\n"
        "worker_init.send(sender=Worker); print(Worker.concurrency)"
    )
    done = subprocess.run(
        ["sh", "-c", f'ulimit -n {allowed} && exec "$@"', "sh", sys.executable, "-c", script],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.split() == [str(at_once)]
    assert ("makes fewer deliveries at once" in done.stderr) == (at_once < 1024)


def test_idle_connections_leave_most_files_to_requests(hard: int) -> None:
    given = resource.getrlimit(FILES)[1]
    resource.setrlimit(FILES, (400, given))
    assert kept().connections == 100
    resource.setrlimit(FILES, (hard, given))
    assert kept().connections == min(500, hard // 4)


def test_a_delivery_that_ended_does_not_wait_behind_maintenance(hard: int) -> None:
    pool = TaskPool(64)
    is_over, has_ended = threading.Event(), threading.Event()
    try:
        for _ in range(64):
            pool.apply_async(lambda *_: is_over.wait(60), ("maintenance.tell_of_trouble", "id"))
        pool.apply_async(lambda *_: has_ended.set(), (TASK, "id"))
        assert has_ended.wait(10)
    finally:
        is_over.set()
        pool.on_stop()
