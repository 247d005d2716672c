"""NATS JetStream as a source: a durable pull consumer, fetched in batches.

The stream and the consumer are created if they are missing, and again if somebody deletes them while the bridge runs.
Redelivery is unlimited (`max_deliver=-1`): with a limit, a message would be dropped silently.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig
from nats.protocol import parser

from delivery.sources import SourceMessage, SourceUnavailable
from delivery.sources.pull import STORED, Pull, PullFailedError
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

ACK_WAIT_S = 20.0
"""The messages of a killed bridge come again after this time. A batch that takes longer comes twice, which is harmless.
"""
FETCH_WAIT_S = 1.0
CONNECT_S = 5.0
CLOSE_S = 2.0
MAX_ACK_PENDING = 100_000
"""More than a few bridges fetch ahead."""
_PARTS_WITHOUT_DOMAIN = 9
_UNAVAILABLE = (nats.errors.Error, nats.js.errors.Error, OSError, asyncio.TimeoutError)


class NatsSource:
    """`subjects` are those of the stream; the part of a subject after the first dot is the event type.

    `kept_s` is how long the stream keeps a message, acknowledged or not, if it is created here. An existing stream is
    not changed.
    """

    def __init__(self, url: str, stream: str, subjects: Sequence[str], consumer: str, *, kept_s: float) -> None:
        self._url = url
        self._stream = stream
        self._subjects = list(subjects)
        self._consumer = consumer
        self._kept_s = kept_s
        self._client: Client | None = None
        self._pull: Pull | None = None
        self._trouble = Trouble(logger, "NATS has an error")

    async def connect(self) -> None:
        try:
            self._client = _Client()
            connecting = self._client.connect(
                self._url.split(","),
                name="recart-hooks-bridge",
                connect_timeout=5,
                reconnect_time_wait=1,
                max_reconnect_attempts=-1,  # the default gives up after two minutes, for good
                skip_subject_validation=True,  # the subjects of acknowledgements come from the server
                error_cb=self._met,
                reconnected_cb=self._reconnected,
            )
            await asyncio.wait_for(connecting, CONNECT_S)  # otherwise it retries for ever as well
            await self._bind()
            self._trouble.over()
        except _UNAVAILABLE as error:
            await self.close()
            raise SourceUnavailable(_words(error)) from error

    async def fetch(self, limit: int) -> list[SourceMessage]:
        if self._pull is None:
            raise SourceUnavailable("not connected")
        try:
            return [_read(message) for message in await self._pull.take(limit, FETCH_WAIT_S)]
        except (PullFailedError, *_UNAVAILABLE) as error:
            await self._mend(error)
            return []

    async def acknowledge(self, messages: Sequence[SourceMessage]) -> None:
        """Sends acknowledgements, and does not wait for the server. A lost one only causes a redelivery, which is
        harmless."""
        await self._answer(messages, "ack")

    async def terminate(self, messages: Sequence[SourceMessage]) -> None:
        await self._answer(messages, "term")

    async def close(self) -> None:
        client, self._client, pull, self._pull = self._client, None, self._pull, None
        if client is not None:
            with contextlib.suppress(*_UNAVAILABLE):
                async with asyncio.timeout(CLOSE_S):
                    if pull is not None:
                        await pull.stop()
                    await client.flush()
            with contextlib.suppress(*_UNAVAILABLE):
                await client.close()

    async def _met(self, error: Exception) -> None:
        """nats-py calls this for each failed reconnect."""
        self._trouble.met(error)

    async def _reconnected(self) -> None:
        self._trouble.over()

    async def _answer(self, messages: Sequence[SourceMessage], verb: str) -> None:
        try:
            for message in messages:
                if not message.handle.is_acked:
                    await getattr(message.handle, verb)()
        except _UNAVAILABLE as error:
            raise SourceUnavailable(_words(error)) from error

    async def _bind(self) -> None:
        if self._client is None:
            raise SourceUnavailable("not connected")
        stream = self._client.jetstream(timeout=5)
        try:
            await stream.stream_info(self._stream)
        except nats.js.errors.NotFoundError:
            await stream.add_stream(
                StreamConfig(
                    name=self._stream,
                    subjects=self._subjects,
                    retention=RetentionPolicy.LIMITS,  # other consumers may read the stream, too
                    discard=DiscardPolicy.NEW,  # refuse new messages when full: the oldest may not be stored yet
                    max_age=self._kept_s,
                    duplicate_window=120,
                )
            )
            logger.info("created the stream", extra={"stream": self._stream, "subjects": self._subjects})
        await stream.add_consumer(
            self._stream,
            ConsumerConfig(
                durable_name=self._consumer,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                max_deliver=-1,
                max_ack_pending=MAX_ACK_PENDING,
            ),
        )
        if self._pull is not None:
            with contextlib.suppress(*_UNAVAILABLE):
                await self._pull.stop()
        self._pull = Pull(self._client, self._stream, self._consumer)
        await self._pull.start()

    async def _mend(self, error: BaseException) -> None:
        """Creates the stream and the consumer again if they are gone, on the same connection, after a fetch failed."""
        if self._client is None or self._client.is_closed:
            raise SourceUnavailable(_words(error)) from error
        try:
            await self._bind()
        except _UNAVAILABLE as again:
            raise SourceUnavailable(_words(again)) from again


# For the server only spaces and tabs separate the words of a line. nats-py stops reading for good at a subject that
# contains another kind of Python's white space, such as a form feed.
_WORD, _GAP = rb"([^ \t\r\n]+)", rb"[ \t]+"
_LINE = rb"\A%b" + _GAP + _WORD + _GAP + _WORD + _GAP + rb"(" + _WORD + _GAP + rb")?"
parser.MSG_RE = re.compile(_LINE % b"MSG" + rb"(\d+)\r\n")
parser.HMSG_RE = re.compile(_LINE % b"HMSG" + rb"(\d+)" + _GAP + rb"(\d+)\r\n")


class _Client(Client):
    """Accepts any bytes in subjects and headers, as the server does: nats-py stops reading for good if it cannot decode
    them."""

    def _build_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> Any:
        readable = subject.decode(errors="backslashreplace").encode()
        return super()._build_message(sid, readable, reply, data, headers)

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError):
            return None


def _read(message: Msg) -> SourceMessage:
    stream, sequence, stored_ns = _place(message.reply)
    stored_at = datetime.fromtimestamp(int(stored_ns) / 1e9, UTC)
    return SourceMessage(
        source="nats",
        subject=message.subject,
        headers={name.lower(): value for name, value in message.headers.items()} if message.headers else {},
        body=message.data,
        position=f"{stream}_{sequence}_{stored_at.timestamp() * 1e6:.0f}",
        stored_at=stored_at,
        handle=message,
    )


def _place(reply: str) -> tuple[str, str, str]:
    """A message's stream, its sequence in it, and when it was stored in nanoseconds, from its reply subject.

    The subject is `$JS.ACK.`, then perhaps domain and account, then stream, consumer, deliveries, the two sequences,
    time, pending (ADR-15 of NATS). `Msg.metadata` takes four times as long. Raises nats.errors.NotJSMessageError.
    """
    parts = reply.split(".")
    at = 2 if len(parts) == _PARTS_WITHOUT_DOMAIN else 4
    if not reply.startswith(STORED) or len(parts) < at + 7:
        raise nats.errors.NotJSMessageError
    return parts[at], parts[at + 3], parts[at + 5]


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
