"""Messages of a durable pull consumer of JetStream.

A request to the server is always open while we want more, so a message comes the moment it is there, and many come at
once under load. nats-py's own `fetch` asks twice for each batch when there is little: 2 ms of CPU against 1 here.
"""

import asyncio
from typing import Any

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

EXPIRES_S = 5.0
"""The server forgets a request after this; so does a connection that broke, which nobody tells."""
_ENDED = frozenset({"404", "408"})
_HEARTBEAT = "100"


class PullFailedError(Exception):
    """The server refused a request, or ended it: the consumer is gone, or a server is."""


class Pull:
    """`start` it before the first `take`. Used by one task at a time."""

    def __init__(self, client: Client, stream: str, consumer: str, expires_s: float = EXPIRES_S) -> None:
        self._client = client
        self._expires_s = expires_s
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._subscription: Any = None
        self._messages: list[Msg] = []
        self._has_news = asyncio.Event()
        self._open = 0
        """Messages that the server may still send for our requests."""
        self._open_until = 0.0
        self._failure = ""

    async def start(self) -> None:
        """Raises nats.errors.Error."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._came)

    async def stop(self) -> None:
        """Gives back what came and was not taken: it need not wait for its time. Raises nats.errors.Error."""
        if self._subscription is not None:
            await self._subscription.drain()
        for message in self._messages:
            await message.nak()
        self._messages.clear()

    async def take(self, limit: int, wait_s: float) -> list[Msg]:
        """At most `limit`; waits up to `wait_s` for the first. Raises PullFailedError, nats.errors.Error."""
        try:
            async with asyncio.timeout(wait_s):
                await self._wait(limit)
        except TimeoutError:
            return []
        if self._failure:
            failure, self._failure = self._failure, ""
            raise PullFailedError(failure)
        taken = self._messages[:limit]
        del self._messages[:limit]
        return taken

    async def _wait(self, limit: int) -> None:
        """For a message, or a failure; a request that ends meanwhile is made again at once."""
        await self._ask(limit)
        while not self._messages and not self._failure:
            self._has_news.clear()
            await self._has_news.wait()
            await self._ask(limit)

    async def _ask(self, limit: int) -> None:
        now = asyncio.get_running_loop().time()
        if now > self._open_until:
            self._open = 0
        if self._open + len(self._messages) > limit // 2:
            return
        request = {"batch": limit, "expires": int(self._expires_s * 1e9)}
        await self._client.publish(self._subject, orjson.dumps(request), reply=self._inbox)
        self._open += limit
        self._open_until = now + self._expires_s

    async def _came(self, message: Msg) -> None:
        headers = message.headers
        status = headers.get("Status") if headers and not message.data else None
        if status is None:
            self._open -= 1
            self._messages.append(message)
        elif status == _HEARTBEAT:
            return
        elif headers and status in _ENDED:
            self._open = max(0, self._open - int(headers.get("Nats-Pending-Messages", self._open)))
        elif headers:
            self._open = 0
            self._failure = f"{status} {headers.get('Description', '')}".strip()
        self._has_news.set()
