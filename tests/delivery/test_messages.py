"""Source messages of the three forms become events; unreadable ones raise the reason."""

import base64
from datetime import UTC, datetime

import pytest

from delivery.errors import Unreadable
from delivery.messages import NewEvent, read_message
from delivery.sources import SourceMessage

STORED_AT = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def message(body: bytes, subject: str = "events.orders.created", **headers: str) -> SourceMessage:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SourceMessage("nats", subject, named, body, "EVENTS_7_1", STORED_AT, None)


def read(body: bytes, subject: str = "events.orders.created", **headers: str) -> NewEvent:
    return read_message(message(body, subject, **headers), max_bytes=10_000)


def test_a_plain_message_keeps_its_bytes_and_takes_its_type_from_the_subject() -> None:
    body = b'{ "z": 1.10, "a": 12345678901234567890123, "e": 1E5 }'
    event = read(body, nats_msg_id="order-1", traceparent=TRACEPARENT)
    assert event == NewEvent("order-1", "orders.created", "", STORED_AT, body, TRACEPARENT)


def test_without_an_id_the_place_in_the_stream_is_the_id() -> None:
    assert read(b"{}").id == "evt_EVENTS_7_1"


def test_a_structured_cloudevent_gives_its_attributes_and_the_exact_bytes_of_its_data() -> None:
    body = (
        b'{"specversion":"1.0","id":"c1","source":"/shop","type":"carts.abandoned","time":"2026-01-02T03:04:05+01:00",'
        b'"data": {"price": 1.10,"n":1e400} }'
    )
    event = read(body, content_type="application/cloudevents+json; charset=utf-8")
    moment = datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert event == NewEvent("c1", "carts.abandoned", "/shop", moment, b'{"price": 1.10,"n":1e400}')


def test_a_structured_cloudevent_is_recognised_without_a_content_type() -> None:
    event = read(b'{"specversion":"1.0","id":"c1","source":"/shop","type":"carts.abandoned","data":[1]}')
    assert (event.id, event.type, event.data) == ("c1", "carts.abandoned", b"[1]")


def test_plain_data_that_only_mentions_specversion_stays_plain() -> None:
    assert read(b'{"specversion":"1.0","note":"ours"}').source == ""


def test_base64_data_is_decoded() -> None:
    data = base64.b64encode(b'{"a":1.0}').decode()
    body = b'{"specversion":"1.0","id":"c1","source":"s","type":"a.b","data_base64":"%s"}' % data.encode()
    assert read(body).data == b'{"a":1.0}'


def test_a_binary_cloudevent_has_its_attributes_in_headers() -> None:
    event = read(b'{"a": 1}', ce_specversion="1.0", ce_id="c2", ce_source="/x", ce_type="orders.paid")
    assert event == NewEvent("c2", "orders.paid", "/x", STORED_AT, b'{"a": 1}')


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"", {}, "JSON"),
        (b"[1]", {}, "must be a JSON object"),
        (b'{"a":', {}, "line 1"),
        (b'{"a": NaN}', {}, "JSON"),
        (b'\xff{"a":1}', {}, "UTF-8"),
        (b"[" * 200 + b"]" * 200, {}, "deep"),
        (b'{"a":"' + b"x" * 20_000 + b'"}', {}, "10000"),
        (b"{}", {"nats_msg_id": "two words"}, "visible ASCII"),
        (b"{}", {"nats_msg_id": "x" * 300}, "visible ASCII"),
        (b"{}", {"ce_id": "1"}, "specversion"),
        (b"{}", {"ce_specversion": "0.3", "ce_id": "1"}, "'0.3'"),
        (b"{}", {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "s"}, "'type'"),
        (b"{}", {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "s" * 600, "ce_type": "a"}, "source"),
        (b'{"specversion":"1.0","id":7,"source":"s","type":"a.b"}', {}, "'id'"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"a b"}', {}, "a b"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"endpoint.challenge"}', {}, "is reserved"),
        (b'{"specversion":"1.0","id":"1","source":"recart-hooks:test","type":"a"}', {}, "are reserved"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"a","time":"yesterday"}', {}, "RFC 3339"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"a","time":"2026-01-01T00:00:00"}', {}, "no time zone"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"a","ext":1e400,"data":{}}', {}, "64-bit floats"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"a","data_base64":"?"}', {}, "base64"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"a","data_base64":"eA=="}', {}, "JSON"),
    ],
)
def test_an_unreadable_message_raises_the_reason(body: bytes, headers: dict[str, str], reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(body, **headers)


def test_a_subject_without_a_type_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        read(b"{}", subject="events")


def test_producers_may_not_send_challenges() -> None:
    with pytest.raises(Unreadable, match="is reserved"):
        read(b"{}", subject="events.endpoint.challenge")


def test_the_traceparent_of_a_cloudevent_is_its_own_or_that_of_the_message() -> None:
    body = b'{"specversion":"1.0","id":"c1","source":"s","type":"a.b"%s}'
    own = TRACEPARENT.replace("-b7", "-c8")
    assert read(body % b"", traceparent=TRACEPARENT).traceparent == TRACEPARENT
    assert read(body % b',"traceparent":"%s"' % own.encode(), traceparent=TRACEPARENT).traceparent == own


def test_a_malformed_traceparent_is_dropped() -> None:
    assert read(b"{}", traceparent="zz").traceparent == ""


def test_the_envelope_splices_the_data_in_as_it_came() -> None:
    event = read(b'{ "price": 1.10 }', nats_msg_id="e1")
    expected = b'{"id":"e1","type":"orders.created","timestamp":"2026-11-23T08:00:00.123456Z","data":{ "price": 1.10 }}'
    assert event.envelope.body == expected
