"""Tasks of one thread take turns: while one waits, the others go on."""

import os
import socket
import threading
from collections.abc import Callable

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection

from delivery.polling import READS, WRITES
from delivery.turns import Turns
from delivery.waits import Waiter, current_task, offload, rest, sleep, wait_for_socket
from tests.turns import start


def test_a_task_that_waits_lets_the_others_go_on_in_the_same_thread(turns: Turns) -> None:
    waiters: list[Waiter] = []

    def waits() -> threading.Thread:
        waiters.append(Waiter())
        waiters[-1].wait()
        return threading.current_thread()

    waiting = [start(turns, waits) for _ in range(1000)]
    other = start(turns, threading.current_thread).result(10)
    assert len(waiters) == 1000
    assert not any(one.done() for one in waiting)
    for waiter in waiters:
        waiter.wake()
    assert {one.result(10) for one in waiting} == {other}


def test_a_wake_before_the_wait_is_not_lost(turns: Turns) -> None:
    def woken_already() -> str:
        waiter = Waiter()
        thread = threading.Thread(target=waiter.wake)
        thread.start()
        thread.join()
        waiter.wait()
        return "went on"

    assert start(turns, woken_already).result(10) == "went on"
    assert woken_already() == "went on", "in a plain thread too"


def test_offload_returns_the_result_or_raises_the_error(turns: Turns) -> None:
    gate = threading.Event()

    def blocks() -> str:
        gate.wait(10)
        return threading.current_thread().name

    def fails() -> None:
        raise ValueError("as given")

    blocking = [start(turns, offload, blocks) for _ in range(4)]
    assert start(turns, lambda: "meanwhile").result(10) == "meanwhile"
    gate.set()
    assert all(one.result(10).startswith("test-helper") for one in blocking)
    with pytest.raises(ValueError, match="as given"):
        start(turns, offload, fails).result(10)
    assert offload(threading.current_thread) is threading.current_thread(), "elsewhere it just runs"


def test_a_task_sleeps_while_the_others_go_on(turns: Turns) -> None:
    sleeping = start(turns, sleep, 0.2)
    assert start(turns, lambda: "meanwhile").result(10) == "meanwhile"
    sleeping.result(10)


def test_a_socket_is_polled_though_one_with_its_number_was_closed_without_unwatch(turns: Turns) -> None:
    ours, theirs = socket.socketpair()
    gone, other = socket.socketpair()
    number = gone.fileno()
    waiting = threading.Event()

    def hears() -> int:
        turns.watch(number, READS, lambda *_: None)
        gone.close()
        os.dup2(ours.fileno(), number)
        turns.soon(waiting.set)
        task = current_task()
        assert task is not None
        return wait_for_socket(task, number, READS, 30)

    heard = start(turns, hears)
    assert waiting.wait(10)
    theirs.send(b"x")
    assert heard.result(10) == READS
    os.close(number)
    for end in (ours, theirs, other):
        end.close()


def test_a_socket_whose_peer_closed_it_is_ready_for_everything(turns: Turns) -> None:
    ours, theirs = socket.socketpair()

    def hears() -> int:
        task = current_task()
        assert task is not None
        return wait_for_socket(task, ours.fileno(), READS | WRITES, 30)

    theirs.close()
    assert start(turns, hears).result(10) == READS | WRITES
    ours.close()


def test_waiting_for_a_socket_ends_with_the_timeout(turns: Turns) -> None:
    ours, theirs = socket.socketpair()

    def hears(timeout_s: float) -> int:
        task = current_task()
        assert task is not None
        return wait_for_socket(task, ours.fileno(), READS, timeout_s)

    assert start(turns, hears, 0.01).result(10) == 0
    theirs.send(b"late")
    assert start(turns, hears, 10).result(10) == READS
    for end in (ours, theirs):
        end.close()


def test_timers_ring_in_the_order_of_their_times_and_not_once_cancelled(turns: Turns) -> None:
    rang: list[str] = []
    done = threading.Event()

    def set_them() -> None:
        turns.call_later(0.03, done.set)
        turns.call_later(0.02, lambda: rang.append("second"))
        turns.call_later(0.01, lambda: rang.append("first"))
        turns.call_later(0.001, lambda: rang.append("never")).cancel()

    turns.soon(set_them)
    assert done.wait(10)
    assert rang == ["first", "second"]


def test_an_exception_in_a_task_does_not_affect_others(turns: Turns, caplog: pytest.LogCaptureFixture) -> None:
    turns.branch(lambda: 1 / 0)
    assert start(turns, lambda: "unharmed").result(10) == "unharmed"
    assert [record.message for record in caplog.records] == ["a task raised an exception"]


def test_stop_waits_for_tasks_that_began_and_what_they_need_still_runs(turns: Turns) -> None:
    gate = threading.Event()
    began = start(turns, offload, gate.wait)
    start(turns, lambda: None).result(10)
    turns.refuse()
    assert start(turns, lambda: "needed").result(10) == "needed"
    gate.set()
    turns.stop(10)
    assert began.done()


def test_stop_waits_until_begins_and_ends_are_balanced(turns: Turns) -> None:
    in_the_thread(turns, lambda: turns.begins(2))
    in_the_thread(turns, turns.ends)
    turns.stop(0.01)
    in_the_thread(turns, turns.ends)
    turns.stop(10)


def in_the_thread(turns: Turns, step: Callable[[], None]) -> None:
    done = threading.Event()
    turns.soon(step)
    turns.soon(done.set)
    assert done.wait(10)


def test_only_tasks_are_tasks(turns: Turns) -> None:
    task = start(turns, current_task).result(10)
    assert task is not None
    assert task.turns is turns
    assert current_task() is None


def test_django_refuses_to_block_the_thread(turns: Turns) -> None:
    with pytest.raises(SynchronousOnlyOperation):
        start(turns, connection.cursor).result(10)


def test_a_task_that_rests_lets_sockets_timers_and_other_tasks_go_first() -> None:
    turns = Turns("test", helpers=1, longest_turn_s=0)
    turns.start()
    log: list[str] = []
    ours, theirs = socket.socketpair()

    def works() -> None:
        turns.watch(ours.fileno(), READS, lambda *_: log.append(f"read {ours.recv(1).decode()}"))
        for number in range(2):
            theirs.send(b"%d" % number)
            turns.call_later(0, lambda number=number: log.append(f"rang {number}"))  # type: ignore[misc]
            turns.soon(lambda number=number: log.append(f"other {number}"))  # type: ignore[misc]
            rest()
            log.append(f"went on {number}")
        turns.unwatch(ours.fileno())

    start(turns, works).result(10)
    turns.stop(10)
    for one in (ours, theirs):
        one.close()
    for number in range(2):
        before, after = log[:4], log[4:]
        assert set(before) == {f"read {number}", f"rang {number}", f"other {number}", f"went on {number}"}
        assert before[-1] == f"went on {number}"
        log = after


def test_a_task_does_not_rest_before_it_is_time_nor_does_a_plain_thread() -> None:
    turns = Turns("test", helpers=1, longest_turn_s=3600)
    turns.start()
    log: list[str] = []

    def works() -> None:
        turns.soon(lambda: log.append("other"))
        rest()
        log.append("went on")

    start(turns, works).result(10)
    rest()
    turns.stop(10)
    assert log == ["went on", "other"]
