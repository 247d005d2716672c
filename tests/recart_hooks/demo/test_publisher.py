"""What cannot be made to happen with a real server: an answer in the same moment as Ctrl-C, one that does not come."""

import asyncio
from itertools import repeat
from typing import Any

import nats.errors

from recart_hooks.demo.publisher import publish
from recart_hooks.demo.scoreboard import Scoreboard
from recart_hooks.demo.shop import ShopEvent


class Server:
    """A NATS client whose second answer comes when `publisher` is cancelled."""

    def __init__(self) -> None:
        self.publisher: asyncio.Task[None] | None = None
        self.published = 0

    def jetstream(self) -> "Server":
        return self

    async def stream_info(self, name: str) -> None:
        pass

    async def publish(self, *_: object, **__: object) -> None:
        self.published += 1
        answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, self._answer, answer)
        await asyncio.wait_for(answer, 5)  # as nats-py does

    def _answer(self, answer: "asyncio.Future[None]") -> None:
        answer.set_result(None)
        if self.published == 2:
            assert self.publisher
            self.publisher.cancel()

    async def close(self) -> None:
        pass


class Busy(Server):
    """A NATS client whose first answer does not come in time."""

    async def publish(self, *_: object, **__: object) -> None:
        self.published += 1
        if self.published == 1:
            raise nats.errors.TimeoutError


def test_an_event_is_published_again_until_it_is_acknowledged() -> None:
    server, said = Busy(), list[str]()

    async def connect(*_: object, **__: object) -> Any:
        return server

    event = ShopEvent("evt_1", "orders.created", b"{}", "an order")
    asyncio.run(publish(iter([event]), Scoreboard(said.append), 0, 1, connect))

    assert server.published == 2
    assert said == ["NATS has not acknowledged evt_1 (nats: timeout); trying again …"]


def test_ctrl_c_ends_it_even_in_the_moment_of_an_answer() -> None:
    async def run() -> int:
        server = Server()

        async def connect(*_: object, **__: object) -> Any:
            return server

        events = repeat(ShopEvent("evt", "orders.created", b"{}", "an order"))
        server.publisher = asyncio.create_task(publish(events, Scoreboard(print), 0, 100, connect))
        await asyncio.wait([server.publisher])
        assert server.publisher.cancelled()
        return server.published

    assert asyncio.run(run()) == 2
