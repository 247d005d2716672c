"""Stores messages that cannot become events, with the reason, for staff to see."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson

from delivery.database import bulk_cursor, storable
from delivery.sources import SourceMessage

logger = logging.getLogger(__name__)


def store_dead_letters(unreadable: Sequence[tuple[SourceMessage, str]]) -> None:
    """Stores messages with their reasons; one that is stored already is not stored twice."""
    if not unreadable:
        return
    with bulk_cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO delivery_deadletter (source, position, subject, headers, body, reason, received_at)
            SELECT source, position, subject, headers::jsonb, body, reason, %b::timestamptz
            FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::text[])
                 AS batch (source, position, subject, headers, body, reason)
            ON CONFLICT (source, position) DO NOTHING
            """,
            [datetime.now(UTC), *_columns(unreadable)],
        )
    for message, reason in unreadable:
        logger.warning(
            "dead letter", extra={"subject": message.subject, "position": message.position, "reason": reason}
        )


def _columns(unreadable: Sequence[tuple[SourceMessage, str]]) -> list[list[object]]:
    rows = [
        (
            message.source,
            message.position,
            storable(message.subject[:500]),
            _headers_json(message.headers),
            message.body,
            storable(reason),
        )
        for message, reason in unreadable
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _headers_json(headers: Mapping[str, str]) -> str:
    """The headers as JSON for PostgreSQL's jsonb, which refuses NUL."""
    return orjson.dumps({storable(name): storable(value) for name, value in headers.items()}).decode()
