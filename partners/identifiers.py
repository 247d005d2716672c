"""Identifiers: a prefix for the kind of thing, and a UUIDv7 in hex, which sorts by the time of creation.

Producers may give events identifiers of their own, which are kept verbatim. Such an identifier becomes the `webhook-id`
header, so `check_event_id` allows only visible ASCII.
"""

import re
from datetime import datetime

import uuid_utils

from partners.errors import IdentifierError

PARTNER, SUBSCRIPTION, EVENT, DELIVERY, FAN_OUT, AUDIT_ENTRY = "ptr", "sub", "evt", "dlv", "fan", "aud"
EVENT_ID_MAX = 200

_VISIBLE_ASCII = re.compile(rf"[\x21-\x7e]{{1,{EVENT_ID_MAX}}}")


def new_id(prefix: str) -> str:
    """`new_id("dlv")` is `dlv_` and 32 hex digits. A later one sorts after an earlier one."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def first_id(prefix: str, moment: datetime) -> str:
    """Sorts before all identifiers made from this time on: a UUIDv7 begins with its milliseconds."""
    milliseconds = max(int(moment.timestamp() * 1000), 0)
    return f"{prefix}_{milliseconds:012x}"


def check_event_id(identifier: str) -> str:
    """Returns an event's identifier if it can be sent as a header. Raises IdentifierError otherwise."""
    if not _VISIBLE_ASCII.fullmatch(identifier):
        raise IdentifierError(f"an event id is 1 to {EVENT_ID_MAX} visible ASCII characters, not {identifier[:60]!r}")
    return identifier
