"""Takes events from JetStream and hands each to a peer's function: what stands in for our bridge.

    python -m bench.peers.consume MODULE

MODULE holds `take(event_type: str, event_id: str, data: bytes) -> None`. A message is acknowledged when that returned.
"""

import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import django
import nats
from nats.js.api import ConsumerConfig

from bench.programs import STREAM

Take = Callable[[str, str, bytes], None]


def take_all(messages: Sequence[Any], take: Take) -> None:
    for message in messages:
        take(message.subject.partition(".")[2], f"evt_{message.metadata.sequence.stream}", message.data)


async def consume(nats_url: str, take: Take) -> None:
    client = await nats.connect(nats_url)
    stream = client.jetstream()
    await stream.add_stream(name=STREAM, subjects=["events.>"])
    pull = await stream.pull_subscribe(
        "events.>", durable="peer", config=ConsumerConfig(max_ack_pending=20_000, ack_wait=600)
    )
    while True:
        with suppress(asyncio.TimeoutError):
            messages = await pull.fetch(100, timeout=1)
            await asyncio.to_thread(take_all, messages, take)
            for message in messages:
                await message.ack()


def main() -> None:
    importlib.import_module("bench.peers.celery").app.set_default()  # what `.delay` publishes to
    django.setup()
    take: Take = importlib.import_module(sys.argv[1]).take
    asyncio.run(consume(os.environ["NATS_URL"], take))


if __name__ == "__main__":
    main()
