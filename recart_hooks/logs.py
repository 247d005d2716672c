"""Log formats: one JSON object per line in production, a readable line in development.

Code logs a short constant message and puts the facts into `extra={...}`; both formats show them.
"""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

request_id_of_thread: ContextVar[str] = ContextVar("request_id", default="")
"""Set by recart_hooks.request_ids while a request is being answered."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller put into `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, message, then the facts. A traceback is one string."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **facts(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """`12:00:00.123 INFO delivery.bridge: stored a batch events=12`."""

    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        line = super().formatMessage(record)
        extra = facts(record)
        return f"{line} {' '.join(f'{name}={value}' for name, value in extra.items())}" if extra else line


class RequestIdFilter(logging.Filter):
    """Adds the request's id to every record that is logged while the request is being answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        if request_id := request_id_of_thread.get():
            record.request_id = request_id
        return True
