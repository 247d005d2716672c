# mypy: disable-error-code="misc, assignment, arg-type, operator"
"""A message as a worker gets it: kombu's, without what Celery does twice."""

from binascii import a2b_base64
from typing import Any, NamedTuple

import orjson
from kombu.transport import virtual

_JSON = "application/json"


class Lease(NamedTuple):
    """A worker's hold on a message; its delivery tag. `number` is that of the request that fetched it, so that the
    acknowledgement of a lease that was lost, and taken again since, means nothing."""

    queue: str
    id: bytes
    number: int


class Received(virtual.Message):
    """Decodes its body once: kombu and Celery would do so when it arrives and again when its task starts."""

    def __init__(self, envelope: dict[str, Any], lease: Lease, channel: Any) -> None:
        properties, headers = envelope["properties"], envelope["headers"]
        if "compression" in headers or properties.get("body_encoding") != "base64":
            super().__init__(envelope, channel=channel)
        else:  # the same, in a third of the time
            self.errors = []
            self.channel = channel
            self.body = a2b_base64(envelope["body"])
            self.content_type = envelope["content-type"]
            self.content_encoding = envelope["content-encoding"]
            self.headers = headers
            self.properties = properties
            self.delivery_info = properties["delivery_info"]
            self.accept = self._decoded_cache = None
            self._state = "RECEIVED"
            self._raw = envelope
        self.delivery_tag = lease
        self.leases = channel.leases
        self.is_awaited = bool(self.leases.is_awaited)
        self.delivery_info["routing_key"] = self.delivery_info["queue"] = lease.queue

    def ack(self, multiple: bool = False) -> None:
        """From any thread: the leases outlive channels, and settle in batches."""
        if self.acknowledged:
            raise self.MessageStateError(f"acknowledged already: {self!r}")
        self._state = "ACK"
        self.leases.settle(self.delivery_tag)

    def put_off(self, delay_s: float) -> None:
        """In place of an acknowledgement: it comes again after so many seconds."""
        self._state = "REQUEUED"
        self.leases.put_off(self.delivery_tag, delay_s)

    def ack_log_error(self, logger: Any, errors: Any, multiple: bool = False) -> None:
        self.ack()

    def _decode(self) -> Any:
        if not self._is_plain_json():
            return super()._decode()
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return super()._decode()
        self.body, self.content_type = content, None  # what Celery takes for decoded
        return content

    def _is_plain_json(self) -> bool:
        """Kombu's JSON may hold more, such as dates: {"__type__": …}."""
        return (
            self.content_type == _JSON
            and (self.accept is None or _JSON in self.accept)
            and b"__type__" not in self.body
        )
