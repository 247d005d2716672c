"""Where a run of removal ended in each table: stored in Valkey for the next run, which starts over if it is lost."""

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import orjson
import redis

from delivery import publish

_KEY = "retention-reached"


@contextmanager
def kept_places() -> Iterator[MutableMapping[str, Sequence[Any]]]:
    """Loads the places, and stores them again at the end. Times become text, which PostgreSQL accepts as well. Raises
    redis.RedisError if they cannot be loaded."""
    client = publish.queues().client
    places: dict[str, Sequence[Any]] = orjson.loads(client.get(_KEY) or b"{}")
    try:
        yield places
    finally:
        with suppress(redis.RedisError):  # such as out of memory: the next run starts where this one did
            client.set(_KEY, orjson.dumps(places))
