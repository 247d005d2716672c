"""Runs a function as a task of `delivery.turns`; the future has its result."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from delivery.turns import Turns

Result = TypeVar("Result")


def start(turns: Turns, work: Callable[..., Result], *arguments: object) -> "Future[Result]":
    future: Future[Result] = Future()

    def task() -> None:
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)

    turns.branch(task)
    return future
