import json

import pytest

from partners.envelope import Envelope
from partners.errors import JSONError
from partners.exact_json import Number


def an_envelope(data: bytes) -> Envelope:
    return Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", data)


def test_the_data_is_inserted_unchanged() -> None:
    body = an_envelope(b'{ "total":  1.10,\n"id":12345678901234567890123 }').body
    assert body == (
        b'{"id":"evt_1","type":"orders.created","timestamp":"2026-01-02T03:04:05Z",'
        b'"data":{ "total":  1.10,\n"id":12345678901234567890123 }}'
    )


def test_an_id_with_quotes_is_still_json() -> None:
    body = Envelope('a"b\\c', "t", "now", b"[]").body
    assert json.loads(body)["id"] == 'a"b\\c'


def test_the_tree_is_read_once_and_exact() -> None:
    envelope = an_envelope(b'{"total":1.10}')
    assert envelope.tree == {
        "id": "evt_1",
        "type": "orders.created",
        "timestamp": "2026-01-02T03:04:05Z",
        "data": {"total": Number("1.10")},
    }
    assert envelope.tree is envelope.tree


def test_data_that_is_not_json_is_noticed_when_it_is_read() -> None:
    with pytest.raises(JSONError):
        _ = an_envelope(b"{").tree
