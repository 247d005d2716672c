"""Fetches messages from a durable pull consumer of JetStream.

One request to the server is open at a time. The server answers it with the messages that it has, up to the limit, and
ends it; if it has none, it waits for the first. So a single message arrives within a millisecond, and messages that
come while a batch is processed stay on the server and arrive together, in one read instead of one for each.

A request that is filled, by number or by bytes, tells that there are more. Then the next is sent at once, and messages
wait here, to be taken by turns of their subjects (delivery.sources.ahead).
"""

import asyncio
import math
import time
from contextlib import suppress
from typing import Any

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from delivery.sources.ahead import Ahead

EXPIRES_S = 5.0
"""The server drops a request after this time. So it is sent again after it, in case a broken connection lost it."""
GATHER_S = 0.02
"""After the first message of a request, how long to wait for the others and for its end, which come right after it."""
LEAST_AHEAD, MOST_AHEAD = 2_000, 30_000
MOST_AHEAD_BYTES = 64 * 1024 * 1024
MOST_BYTES = 16 * 1024 * 1024
"""Of one request: the server drops a client for whom 64 MB wait."""
AHEAD_S = 8.0
"""No more is fetched ahead than is handled in this time, at the rate of the last batches: the rest is for other
bridges, and after a crash for the next one. After 20 s the server would hand a message out again."""
STORED = "$JS.ACK."
"""The start of a stream message's reply subject. All other messages are the server's status messages."""
_HEARTBEAT = "100"
_ENDED = frozenset({"404", "408"})
_FILLED, _NEXT_IS_TOO_LARGE = "409 Batch Completed", "409 Message Size Exceeds MaxBytes"


class PullFailedError(Exception):
    """The server refused a request or ended it, because the consumer or a server is gone."""


class Pull:
    """Call `start` before the first `take`. Only one task may use it at a time."""

    def __init__(self, client: Client, stream: str, consumer: str, expires_s: float = EXPIRES_S) -> None:
        self._client = client
        self._expires_s = expires_s
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._requests = 0
        """How many were sent. Each has its own subject for status messages, which may come after the next request."""
        self._subscription: Any = None
        self._ahead = Ahead()
        self._has_news = asyncio.Event()
        self._open = 0
        """How many messages the server may still send for the open request."""
        self._open_until = 0.0
        self._asked = 0
        """The limit of the last request."""
        self._is_next_oversized = False
        """The next message alone has more than MOST_BYTES, so it is asked for without this limit."""
        self._taken: list[Msg] = []
        self._taken_at = 0.0
        """The last batch, and when it was taken."""
        self._per_s = 0.0
        """How many messages are handled a second, while some wait; 0: unknown."""
        self._failure = ""
        self._is_stopping = False

    async def start(self) -> None:
        """Raises nats.errors.Error."""
        self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._came)

    async def stop(self) -> None:
        """Gives back messages that were not taken or not answered, so that they come again at once. Raises
        nats.errors.Error.

        What the server sends while the subscription ends would be lost until it is handed out again. So no request may
        be filled then.
        """
        self._is_stopping = True
        if self._subscription is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._others()
            await self._subscription.drain()
        unanswered = [message for message in self._taken if not message.is_acked]
        while self._ahead:
            unanswered += self._ahead.take(len(self._ahead))
        for message in unanswered:
            await message.nak()

    async def take(self, limit: int, wait_s: float) -> list[Msg]:
        """Returns at most `limit` messages; waits up to `wait_s` for the first. Raises PullFailedError and
        nats.errors.Error."""
        if self._ahead:
            self._note_rate()
        else:
            self._per_s = 0.0
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._first(limit)
                async with asyncio.timeout(GATHER_S):
                    await self._others(limit)
        if self._failure and not self._ahead:
            failure, self._failure = self._failure, ""
            raise PullFailedError(failure)
        taken = self._ahead.take(limit)
        self._taken, self._taken_at = taken, time.monotonic()
        if self._ahead or len(taken) == limit:
            await self._ask_ahead(limit)
        return taken

    async def _first(self, limit: int) -> None:
        """Waits for a message or a failure. A request that ends meanwhile is sent again at once."""
        while not self._ahead and not self._failure:
            self._has_news.clear()
            await self._ask(limit)
            await self._has_news.wait()

    async def _others(self, limit: float = math.inf) -> None:
        """Waits for the end of the request, or for so many messages."""
        while self._open and len(self._ahead) < limit and not self._failure:
            self._has_news.clear()
            await self._has_news.wait()

    async def _ask(self, limit: int) -> None:
        now = asyncio.get_running_loop().time()
        if self._open and now < self._open_until:
            return
        some = {"batch": 1} if self._is_next_oversized else {"batch": limit, "max_bytes": MOST_BYTES}
        request = {**some, "no_wait": True, "expires": int(self._expires_s * 1e9)}
        self._requests += 1
        await self._client.publish(self._subject, orjson.dumps(request), reply=self._reply)
        self._open, self._asked = some["batch"], limit
        self._open_until = now + self._expires_s

    async def _ask_ahead(self, limit: int) -> None:
        most = min(MOST_AHEAD, max(LEAST_AHEAD, self._per_s * AHEAD_S))
        if len(self._ahead) < most and self._ahead.bytes < MOST_AHEAD_BYTES:
            await self._ask(limit)

    def _note_rate(self) -> None:
        lately = len(self._taken) / (time.monotonic() - self._taken_at)
        self._per_s = (self._per_s + lately) / 2 if self._per_s else lately

    @property
    def _reply(self) -> str:
        return f"{self._inbox}.{self._requests}"

    async def _came(self, message: Msg) -> None:
        headers = message.headers
        status = headers.get("Status") if headers and not message.reply.startswith(STORED) else None
        if status is None:
            self._open = max(0, self._open - 1)
            self._is_next_oversized = False
            self._ahead.add(message)
            has_more = True
        elif status == _HEARTBEAT or message.subject != self._reply:
            return
        else:
            end = f"{status} {(headers or {}).get('Description', '')}".strip()
            has_more = end == _NEXT_IS_TOO_LARGE
            self._is_next_oversized = has_more and self._open == self._asked
            self._open = 0
            if status not in _ENDED and end not in (_FILLED, _NEXT_IS_TOO_LARGE):
                self._failure = end
        self._has_news.set()
        if has_more and not self._open and not self._is_stopping:
            await self._ask_ahead(self._asked)
