"""How many messages wait in the stream. A process other than the bridge asks, so that a dead bridge is noticed."""

import asyncio

import nats
import nats.errors
import nats.js.errors

from delivery.sources import SourceUnavailable

_TIMEOUT_S = 2.0


def read_lag(url: str, stream: str, consumer: str) -> int:
    """The number of messages that no bridge has acknowledged, fetched or not. Raises SourceUnavailable."""
    try:
        return asyncio.run(asyncio.wait_for(_ask(url, stream, consumer), _TIMEOUT_S))
    except (TimeoutError, nats.errors.Error, nats.js.errors.Error, OSError) as error:
        raise SourceUnavailable(str(error) or type(error).__name__) from error


async def _ask(url: str, stream: str, consumer: str) -> int:
    client = await nats.connect(
        url, name="recart-hooks-metrics", connect_timeout=_TIMEOUT_S, allow_reconnect=False, error_cb=_ignore
    )
    try:
        info = await client.jetstream(timeout=_TIMEOUT_S).consumer_info(stream, consumer)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)
    finally:
        await client.close()


async def _ignore(_error: Exception) -> None:
    """Does nothing: the error is raised as well."""
