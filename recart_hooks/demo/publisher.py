"""Publishes the shop's events as a platform's service would: with a plain NATS client."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import nats
import nats.errors
import nats.js.errors
from django.conf import settings

from recart_hooks.demo.scoreboard import Scoreboard
from recart_hooks.demo.shop import ShopEvent

STREAM_PATIENCE_S = 60.0


async def publish(
    events: Iterator[ShopEvent],
    scoreboard: Scoreboard,
    pause_s: float,
    count: int | None = None,
    connect: Callable[..., Awaitable[Any]] = nats.connect,
) -> None:
    """Publishes `count` events, or for ever, with a pause after each. Raises TimeoutError if no stream appears."""
    client = await connect(settings.NATS_URL, max_reconnect_attempts=-1)
    try:
        jetstream = client.jetstream()
        async with asyncio.timeout(STREAM_PATIENCE_S):
            while True:
                with contextlib.suppress(nats.js.errors.Error, nats.errors.Error):
                    await jetstream.stream_info(settings.NATS_STREAM)
                    break
                await asyncio.sleep(0.1)
        for number, event in enumerate(events):
            if number == count:
                break
            scoreboard.publish(event)
            headers = {"Nats-Msg-Id": event.id}
            await jetstream.publish(f"events.{event.type}", event.data, headers=headers)
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError  # Python 3.11's wait_for, in nats-py, drops one that meets the answer
            await asyncio.sleep(pause_s)
    finally:
        await client.close()
