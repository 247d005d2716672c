"""A worker that a test runs by hand: it calls the scripts directly, step by step, at times that the test sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import redis

from delivery.broker.naming import Naming
from delivery.broker.scripts import Scripts


class Held(NamedTuple):
    queue: str
    id: str
    number: int


@dataclass(frozen=True)
class Answer:
    due_in_s: float | None
    left: int
    is_awaited: bool
    messages: list[Held]
    raw: list[bytes]

    @property
    def ids(self) -> list[str]:
        return [held.id for held in self.messages]


class ManualWorker:
    def __init__(self, client: redis.Redis, name: str = "worker", clock: float | None = None) -> None:
        self.name = name
        self.scripts = Scripts(client, Naming(), clock)
        self.number = 0

    def exchange(
        self,
        room: int,
        *settled: tuple[str, Held],
        open_room: int | None = None,
        lost_since: int | None = None,
        number: int | None = None,
    ) -> Answer:
        if number is None:
            self.number += 1
        sent = self.number if number is None else number
        entries = [value for how, held in settled for value in (how, *held)]
        open_room = room if open_room is None else open_room
        due_in, left, is_awaited, *rest = self.scripts.run(
            "exchange", self.name, sent, room, open_room, "" if lost_since is None else lost_since, *entries
        )
        messages, raw = [], []
        while rest:
            queue, count = rest[0].decode(), rest[1]
            of_queue, rest = rest[2 : 2 + 2 * count], rest[2 + 2 * count :]
            messages += [Held(queue, id_.decode(), sent) for id_ in of_queue[::2]]
            raw += of_queue[1::2]
        return Answer(float(due_in) if due_in else None, left, bool(is_awaited), messages, raw)

    def fetch(self, room: int = 100) -> list[str]:
        return self.exchange(room).ids

    def settle(self, how: str, held: Sequence[Held]) -> None:
        self.exchange(0, *((how, one) for one in held))

    def beat(self, dead_after_s: float = 10, gap_s: float = 6) -> tuple[list[str], int]:
        """Returns the workers that were found dead, and how many messages went back."""
        _, *dead = self.scripts.run("beat", self.name, dead_after_s, gap_s)
        return ([name.decode() for name in dead[:-1]], dead[-1]) if dead else ([], 0)

    def leave(self) -> int:
        return int(self.scripts.run("leave", self.name))
