# mypy: disable-error-code="misc, assignment, arg-type, operator"
"""A message as a worker receives it: kombu's, but decoded once instead of twice."""

from binascii import a2b_base64
from typing import Any, NamedTuple

import orjson
from kombu.transport import virtual

_JSON = "application/json"


class Lease(NamedTuple):
    """A worker's lease of a message; the message's delivery tag. `number` is that of the request that fetched it: when
    a lease was lost and the message was leased again, a settlement of the old lease has no effect."""

    queue: str
    id: bytes
    number: int


class Received(virtual.Message):
    """Decodes its body once. Kombu and Celery do so when a message arrives and again when its task starts."""

    def __init__(self, envelope: dict[str, Any], lease: Lease, channel: Any) -> None:
        properties, headers = envelope["properties"], envelope["headers"]
        if "compression" in headers or properties.get("body_encoding") != "base64":
            super().__init__(envelope, channel=channel)
        else:  # what kombu's __init__ does, in a third of the time
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
        """From any thread. The leases outlive the channel, and report settlements in batches."""
        if self.acknowledged:
            raise self.MessageStateError(f"acknowledged already: {self!r}")
        self._state = "ACK"
        self.leases.settle(self.delivery_tag)

    def waits(self) -> None:
        """Its task waits in this worker until `begins` is called."""
        self.leases.waits(self.delivery_tag)

    def begins(self) -> None:
        """From any thread."""
        self.leases.begins(self.delivery_tag)

    def put_off(self, delay_s: float) -> None:
        """Instead of an acknowledgement: postpones the message by this time."""
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
        self.body, self.content_type = content, None  # Celery takes this for decoded
        return content

    def _is_plain_json(self) -> bool:
        """Whether it is without kombu's extensions of JSON, such as dates: {"__type__": …}."""
        return (
            self.content_type == _JSON
            and (self.accept is None or _JSON in self.accept)
            and b"__type__" not in self.body
        )
