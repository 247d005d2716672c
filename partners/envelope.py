"""What a partner receives without a transformation: `{"id","type","timestamp","data"}`.

The bytes of the data are inserted unchanged, white space included. Filters and transformations get the envelope as a
tree of exact values, which is parsed once for all subscriptions. Nobody may change that tree.
"""

from datetime import UTC, datetime

import orjson

from partners.exact_json import Value, loads


def rfc3339(moment: datetime) -> str:
    """`2026-11-23T08:00:00.123456Z`: always UTC, always six digits, so that it sorts as text."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


class Envelope:
    """One event as it is sent. `timestamp` is ISO 8601 text; `data` is JSON that `exact_json.check` accepted."""

    __slots__ = ("_tree", "data", "id", "timestamp", "type")

    def __init__(self, id: str, type: str, timestamp: str, data: bytes) -> None:
        self.id = id
        self.type = type
        self.timestamp = timestamp
        self.data = data
        self._tree: dict[str, Value] | None = None

    @property
    def body(self) -> bytes:
        head = orjson.dumps({"id": self.id, "type": self.type, "timestamp": self.timestamp})
        return b'%b,"data":%b}' % (head[:-1], self.data)

    @property
    def tree(self) -> dict[str, Value]:
        """Raises JSONError when the data is not JSON."""
        if self._tree is None:
            data = loads(self.data)
            self._tree = {"id": self.id, "type": self.type, "timestamp": self.timestamp, "data": data}
        return self._tree
