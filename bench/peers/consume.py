"""Takes events from JetStream and passes each to a peer's function, as our bridge does for us.

    python -m bench.peers.consume MODULE

MODULE holds `take(event_type: str, event_id: str, data: bytes) -> None`. A batch's messages are acknowledged
once it has returned for all of them.
"""

import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import django
import nats
from nats.js.api import ConsumerConfig

from bench.programs import STREAM
from delivery.sources.pull import Pull

Take = Callable[[str, str, bytes], None]


def take_all(messages: Sequence[Any], take: Take) -> None:
    for message in messages:
        take(message.subject.partition(".")[2], f"evt_{message.metadata.sequence.stream}", message.data)


async def consume(nats_url: str, take: Take) -> None:
    client = await nats.connect(nats_url)
    stream = client.jetstream()
    await stream.add_stream(name=STREAM, subjects=["events.>"])
    await stream.add_consumer(STREAM, ConsumerConfig(durable_name="peer", max_ack_pending=20_000, ack_wait=600))
    pull = Pull(client, STREAM, "peer")
    await pull.start()
    while True:
        messages = await pull.take(100, 1)
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
