"""Identifiers: a prefix that says what it is, and a UUIDv7 in hex that sorts by the time it was made.

Owns their form and nothing else. An event's own identifier is its producer's, verbatim, when the producer gave one;
`check_event_id` holds what such an identifier may look like (it becomes the `webhook-id` header, so visible ASCII).
"""

import re
from datetime import datetime

import uuid_utils

from partners.errors import IdentifierError

PARTNER, SUBSCRIPTION, EVENT, DELIVERY = "ptr", "sub", "evt", "dlv"
EVENT_ID_MAX = 200

_VISIBLE_ASCII = re.compile(rf"[\x21-\x7e]{{1,{EVENT_ID_MAX}}}")


def new_id(prefix: str) -> str:
    """`new_id("dlv")` is `dlv_` and 32 hex digits. A later one sorts after an earlier one."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def first_id(prefix: str, moment: datetime) -> str:
    """Not after any identifier made at this time: a UUIDv7 begins with its milliseconds."""
    milliseconds = max(int(moment.timestamp() * 1000), 0)
    return f"{prefix}_{milliseconds:012x}"


def check_event_id(identifier: str) -> str:
    """The producer's own event identifier when it can be sent as a header; raises IdentifierError otherwise."""
    if not _VISIBLE_ASCII.fullmatch(identifier):
        raise IdentifierError(f"an event id is 1 to {EVENT_ID_MAX} visible ASCII characters, not {identifier[:60]!r}")
    return identifier
