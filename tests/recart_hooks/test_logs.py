import json
import logging

from recart_hooks.logs import JsonFormatter, TextFormatter


def a_record(message: str = "stored a batch", **facts: object) -> logging.LogRecord:
    record = logging.makeLogRecord(
        {"name": "delivery.bridge", "levelname": "INFO", "levelno": logging.INFO, "msg": message, "created": 1.5}
    )
    vars(record).update(facts)
    return record


def test_in_production_a_record_is_one_json_object_on_one_line() -> None:
    line = JsonFormatter().format(a_record("two\nlines", events=12))

    assert "\n" not in line
    assert json.loads(line) == {
        "at": "1970-01-01T00:00:01.500+00:00",
        "level": "info",
        "logger": "delivery.bridge",
        "message": "two\nlines",
        "events": 12,
    }


def test_what_json_does_not_know_is_written_as_python_shows_it() -> None:
    assert json.loads(JsonFormatter().format(a_record(what={1, 2})))["what"] == "{1, 2}"


def test_a_traceback_is_one_string() -> None:
    record = a_record()
    error = ValueError("wrong")
    record.exc_info = (ValueError, error, None)

    assert json.loads(JsonFormatter().format(record))["traceback"].endswith("ValueError: wrong")


def test_in_development_a_line_ends_with_its_facts() -> None:
    assert TextFormatter().format(a_record()).endswith(" INFO delivery.bridge: stored a batch")
    assert TextFormatter().format(a_record(events=12)).endswith(" INFO delivery.bridge: stored a batch events=12")
