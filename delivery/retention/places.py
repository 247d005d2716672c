"""Where the runs of a removal came to: Valkey keeps it for the next one. Where it is lost, that one begins again."""

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import orjson
import redis

from delivery import publish
from delivery.broker import FairQueues

_KEY = "retention-reached"


@contextmanager
def kept_places(of: FairQueues | None = None) -> Iterator[MutableMapping[str, Sequence[Any]]]:
    """What is changed inside is kept. Times come back as text, which PostgreSQL reads as well. Raises
    redis.RedisError."""
    client = (of or publish.queues()).client
    places: dict[str, Sequence[Any]] = orjson.loads(client.get(_KEY) or b"{}")
    try:
        yield places
    finally:
        with suppress(redis.RedisError):  # out of memory, for example: the next run begins where this one did
            client.set(_KEY, orjson.dumps(places))
