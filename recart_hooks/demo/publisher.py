"""Publishes the shop's events as a platform's service would: with a plain NATS client."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import nats
import nats.errors
from django.conf import settings

from recart_hooks.demo.scoreboard import Scoreboard
from recart_hooks.demo.shop import ShopEvent

PATIENCE_S = 60.0
RETRY_S = 0.5


async def publish(
    events: Iterator[ShopEvent],
    scoreboard: Scoreboard,
    pause_s: float,
    count: int | None = None,
    connect: Callable[..., Awaitable[Any]] = nats.connect,
) -> None:
    """Publishes `count` events, or for ever, with a pause after each.

    Raises TimeoutError if no stream appears, or if one of `count` events is not acknowledged for long.
    """
    client = await connect(settings.NATS_URL, max_reconnect_attempts=-1, error_cb=_ignore)
    try:
        jetstream = client.jetstream()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(nats.errors.Error):
                    await jetstream.stream_info(settings.NATS_STREAM)
                    break
                await asyncio.sleep(0.1)
        for number, event in enumerate(events):
            if number == count:
                break
            scoreboard.publish(event)
            async with asyncio.timeout(None if count is None else PATIENCE_S):
                await _publish(jetstream, event, scoreboard.say)
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError  # Python 3.11's wait_for, in nats-py, drops one that meets the answer
            await asyncio.sleep(pause_s)
    finally:
        await client.close()


async def _publish(jetstream: Any, event: ShopEvent, say: Callable[[str], None]) -> None:
    """Publishes until it is acknowledged, with the same id, so that a repetition is not a second event."""
    is_told = False
    while True:
        try:
            await jetstream.publish(f"events.{event.type}", event.data, headers={"Nats-Msg-Id": event.id})
        except nats.errors.Error as error:
            if not is_told:
                say(f"NATS has not acknowledged {event.id} ({error}); trying again …")
            is_told = True
        else:
            return
        await asyncio.sleep(RETRY_S)


async def _ignore(error: Exception) -> None:
    """`_publish` says what follows from it. nats-py would print a traceback every two seconds."""
