"""Publishing by the API: events are stored once, byte for byte; bad ones are refused, with the place of the error."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.utils import timezone

from delivery import idempotency, publish
from delivery.clocks import database_now
from delivery.due import Due
from delivery.metrics.process import REGISTRY
from delivery.models import Delivery, Event, IdempotentRequest
from partners.models import EventType
from tests.api_calls import Caller, call, caller, is_problem, subscription_of
from tests.delivery.broker.waiting import until
from tests.locks import somebody_waits

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


def event(**fields: Any) -> dict[str, Any]:
    return {"type": "orders.created", "data": {"id": 1}, **fields}


def test_an_event_is_stored_and_queued_for_who_wants_it() -> None:
    wanted = subscription_of(caller().partner)
    subscription_of(caller(partner="Other").partner, event_types=["carts.*"])

    answer = caller("producer").post("/events", event(id="o-1", timestamp="2026-05-01T14:00:00+02:00", source="shop"))

    assert answer.status_code == 202, answer.content
    assert answer.json() == {
        "items": [{"id": "o-1", "status": "stored"}],
        "stored": 1,
        "duplicates": 0,
        "refused": 0,
    }
    stored = Event.objects.get()
    assert (stored.id, stored.type, stored.source) == ("o-1", "orders.created", "shop")
    assert stored.occurred_at.isoformat() == "2026-05-01T12:00:00+00:00"
    delivery = Delivery.objects.get()
    assert (delivery.subscription, delivery.status) == (wanted, "pending")
    assert publish.missing(wanted.partner_id, [Due(delivery.pk, 1, wanted.partner_id, "orders.created")]) == []


DATA = [
    b'{"b": 1.10, "a": 12345678901234567890123, "n": 1e5, "z": -0}',
    b'{ "spaces" :\t[ 1 , 2 ]\n}',
    b'{"same": 1, "same": 2}',
    '"caf\u00e9 \\u00e9 \U0001f600"'.encode(),
    b"null",
    b"[]",
    b"0.10",
]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("batch", [False, True])
def test_the_data_is_stored_as_the_bytes_that_came(data: bytes, batch: bool) -> None:
    one = b'{"type": "orders.created", "data": ' + data + b"}"
    body = b'{"events": [' + one + b"]}" if batch else one

    assert caller("producer").post("/events", body).status_code == 202

    assert Event.objects.get().data.encode() == data


def test_an_event_without_an_id_gets_one() -> None:
    (item,) = caller("producer").post("/events", event()).json()["items"]

    assert item["id"].startswith("evt_")
    assert Event.objects.get().pk == item["id"]


def test_a_repeated_id_is_a_duplicate_and_delivered_once() -> None:
    subscription_of(caller().partner)
    producer = caller("producer")

    first = producer.post("/events", {"events": [event(id="a"), event(id="b"), event(id="a")]}).json()
    second = producer.post("/events", event(id="a")).json()

    assert [item["status"] for item in first["items"]] == ["stored", "stored", "duplicate"]
    assert (first["stored"], first["duplicates"]) == (2, 1)
    assert second["items"] == [{"id": "a", "status": "duplicate"}]
    assert Delivery.objects.count() == Event.objects.count() == 2


def test_two_sources_may_use_the_same_id() -> None:
    producer = caller("producer")

    producer.post("/events", event(id="7", source="shop"))
    answer = producer.post("/events", event(id="7", source="pos"))

    (item,) = answer.json()["items"]
    assert item["status"] == "stored"
    assert item["id"].startswith("7~")


BAD: list[tuple[bytes, str]] = [
    (b'{"type": "orders.created"}', "#/data"),
    (b'{"data": {}}', "#/type"),
    (b'{"type": 5, "data": {}}', "#/type"),
    (b'{"type": "orders created", "data": {}}', "#/type"),
    (b'{"type": "orders.*", "data": {}}', "#/type"),
    (b'{"type": "endpoint.challenge", "data": {}}', "#/type"),
    (b'{"type": "a\\u0000b", "data": {}}', "#/type"),
    (b'{"type": "a", "data": {}, "id": ""}', "#/id"),
    (b'{"type": "a", "data": {}, "id": 5}', "#/id"),
    (b'{"type": "a", "data": {}, "id": "x\\r\\nEvil: 1"}', "#/id"),
    (b'{"type": "a", "data": {}, "id": "caf\\u00e9"}', "#/id"),
    (b'{"type": "a", "data": {}, "id": "' + b"x" * 201 + b'"}', "#/id"),
    (b'{"type": "a", "data": {}, "timestamp": "yesterday"}', "#/timestamp"),
    (b'{"type": "a", "data": {}, "timestamp": "2026-01-01"}', "#/timestamp"),
    (b'{"type": "a", "data": {}, "timestamp": "2026-01-01T00:00:00"}', "#/timestamp"),
    (b'{"type": "a", "data": {}, "timestamp": "0001-01-01T00:00:00+23:00"}', "#/timestamp"),
    (b'{"type": "a", "data": {}, "timestamp": 1e400}', "#/timestamp"),
    (b'{"type": "a", "data": {}, "source": "\\u0000"}', "#/source"),
    (b'{"type": "a", "data": {}, "tpye": "b"}', "#/tpye"),
    (b'{"type": "a", "data": {"n": 1e999}}', "#/data"),
    (b'{"type": "a", "data": {"n": ' + b"9" * 400 + b"}}", "#/data"),
    (b'{"type": "a", "data": {"n": ' + b"9" * 5000 + b"}}", "#/data"),
    (b'{"type": "a", "data": {}, "id": ' + b"9" * 5000 + b"}", "#/id"),
    (b'{"type": "a", "data": "nul \\u0000"}', "#/data"),
    (b'{"type": "a", "data": ' + b"[" * 66 + b"]" * 66 + b"}", "#"),
    (b'{"type": "a", "data": ' + b"[" * 5000 + b"]" * 5000 + b"}", "#"),
    (b'{"type": "a", "data": "\\ud800"}', "#"),
    (b'{"type": "a", "data": "\xff"}', "#"),
    (b'{"type": "a", "data": NaN}', "#"),
    (b'{"type": "a", "data": {}', "#"),
    (b"", "#"),
    (b"[]", "#"),
    (b'"text"', "#"),
    (b'{"events": []}', "#/events"),
    (b'{"events": {}}', "#"),
    (b'{"events": [5]}', "#/events/0"),
    (b'{"events": [{"type": "a", "data": 1}], "type": "a"}', "#/type"),
    (b'{"events": [' + b",".join([b'{"type": "a", "data": 1}'] * 1001) + b"]}", "#/events"),
]


@pytest.mark.parametrize(("body", "place"), BAD, ids=lambda value: str(value)[:50])
def test_what_is_bad_is_refused_with_its_place_and_nothing_is_stored(body: bytes, place: str) -> None:
    assert is_problem(caller("producer").post("/events", body), 400, "invalid", place)

    assert not Event.objects.exists()


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    body = b'{"type": "a", "data": "\\\\u0000"}'

    assert caller("producer").post("/events", body).status_code == 202


def test_a_batch_is_stored_but_for_what_is_bad_in_it() -> None:
    producer = caller("producer")

    bad = [event(type="no good"), event(id="c", type="no good"), event(id=7)]
    answer = producer.post("/events", {"events": [event(id="a"), *bad, event(id="b")]})

    assert answer.status_code == 207
    good, *refused, last = answer.json()["items"]
    assert (good["status"], last["status"]) == ("stored", "stored")
    assert [(one["status"], one["id"], one["pointer"]) for one in refused] == [
        ("refused", None, "#/events/1/type"),
        ("refused", "c", "#/events/2/type"),
        ("refused", None, "#/events/3/id"),
    ]
    assert answer.json()["refused"] == 3
    assert set(Event.objects.values_list("pk", flat=True)) == {"a", "b"}


def test_an_event_that_is_too_large_is_refused(settings: Any) -> None:
    settings.EVENT_MAX_BYTES = 2048
    producer = caller("producer")

    large = event(id="l", data="x" * 2048)
    assert is_problem(producer.post("/events", large), 413, "invalid", "#")
    mixed = producer.post("/events", {"events": [large, event(id="s")]})

    assert mixed.status_code == 207
    assert set(Event.objects.values_list("pk", flat=True)) == {"s"}


def test_the_catalogue_may_refuse(settings: Any) -> None:
    schema = '{"type": "object", "required": ["total"]}'
    EventType.objects.create(name="orders.created", schema=schema, on_schema_error="refuse")
    settings.UNKNOWN_EVENT_TYPES = "refuse"
    producer = caller("producer")

    assert is_problem(producer.post("/events", event()), 400, "invalid", "#")
    assert is_problem(producer.post("/events", event(type="never.heard")), 400, "invalid", "#")
    assert producer.post("/events", event(data={"total": 1})).status_code == 202


def test_a_subscription_of_a_moment_ago_gets_the_event() -> None:
    producer = caller("producer")
    producer.post("/events", event())  # so that the intake loads its routes

    made = caller().post("/subscriptions", {"url": "https://hooks.example.com/in", "event_types": ["*"]}).json()
    producer.post("/events", event())
    caller().post(f"/subscriptions/{made['id']}/disable")
    producer.post("/events", event())

    assert [one.subscription_id for one in Delivery.objects.all()] == [made["id"]]


@pytest.mark.parametrize("scope", ["partner", "read_only"])
def test_only_producers_publish(scope: str) -> None:
    assert is_problem(caller(scope).post("/events", event()), 403, "permission_denied")
    assert call("POST", "/events", event()).status_code == 401


def test_the_same_key_and_body_answer_as_the_first_time() -> None:
    producer = caller("producer")
    body = {"events": [event(), event(type="no good")]}

    first = producer.post("/events", body, idempotency_key="k-1")
    again = producer.post("/events", body, idempotency_key="k-1")

    assert (again.status_code, again.content) == (207, first.content)
    assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
    assert Event.objects.count() == 1


def test_a_key_for_another_body_is_refused() -> None:
    producer = caller("producer")
    producer.post("/events", event(id="a"), idempotency_key="k-1")

    assert is_problem(producer.post("/events", event(id="b"), idempotency_key="k-1"), 422, "idempotency_key_reused")
    other = caller("producer")
    assert other.post("/events", event(id="b"), idempotency_key="k-1").status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "caf\u00e9"])
def test_a_key_is_visible_ascii(key: str) -> None:
    assert is_problem(
        caller("producer").post("/events", event(), idempotency_key=key), 400, "invalid", "Idempotency-Key"
    )


def test_a_request_in_progress_is_a_conflict_until_it_is_abandoned() -> None:
    producer = caller("producer")
    raw = orjson.dumps(event())
    idempotency.claim(producer.key, "k-1", raw)

    busy = producer.post("/events", raw, idempotency_key="k-1")
    assert is_problem(busy, 409, "in_progress")
    assert busy["Retry-After"] == "1"
    IdempotentRequest.objects.update(started_at=timezone.now() - timedelta(seconds=61))

    assert producer.post("/events", raw, idempotency_key="k-1").status_code == 202


def test_a_request_of_a_host_whose_clock_is_ahead_is_abandoned_as_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = caller("producer")
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(hours=1))

    row = idempotency.claim(producer.key, "k-1", b"{}").row

    assert row.started_at is not None
    assert max(row.first_at, row.started_at) <= database_now()


def test_a_slow_request_changes_nothing_for_the_one_that_took_over() -> None:
    producer = caller("producer")
    slow, failed = (idempotency.claim(producer.key, key, b"{}") for key in ("slow", "failed"))
    IdempotentRequest.objects.update(started_at=timezone.now() - timedelta(seconds=61))
    idempotency.claim(producer.key, "slow", b"{}").finish(idempotency.Answer(202, b"first"))
    idempotency.claim(producer.key, "failed", b"{}")

    slow.finish(idempotency.Answer(202, b"second"))
    failed.give_up()

    assert idempotency.claim(producer.key, "slow", b"{}").answer == idempotency.Answer(202, b"first")
    with pytest.raises(idempotency.InProgress):
        idempotency.claim(producer.key, "failed", b"{}")


@pytest.mark.django_db(transaction=True)
def test_of_two_requests_that_may_take_over_one_does() -> None:
    key = caller("producer").key
    idempotency.claim(key, "k-1", b"{}").give_up()

    def take_over() -> idempotency.Claim:
        try:
            return idempotency.claim(key, "k-1", b"{}")
        finally:
            connection.close()

    def meanwhile(execute: Any, sql: str, *arguments: Any) -> Any:
        """Another takes over between reading and writing, if it can."""
        result = execute(sql, *arguments)
        if sql.startswith("SELECT") and "idempotentrequest" in sql:
            others.append(thread.submit(take_over))
            until(lambda: others[0].done() or somebody_waits(), "the other has ended or waits")
        return result

    others: list[Future[idempotency.Claim]] = []
    with ThreadPoolExecutor(1) as thread:
        with connection.execute_wrapper(meanwhile):
            idempotency.claim(key, "k-1", b"{}")
        (other,) = others
        with pytest.raises(idempotency.InProgress):
            other.result(30)


def test_a_call_that_failed_half_way_is_finished_by_the_next_and_delivers_once() -> None:
    subscription_of(caller().partner)
    producer = caller("producer")
    raw = orjson.dumps({"events": [event(), event()]})
    first = producer.post("/events", raw, idempotency_key="k-1").json()
    died_before_answering = {"finished_at": None, "status": None, "body": "", "started_at": None}
    IdempotentRequest.objects.update(**died_before_answering)

    second = producer.post("/events", raw, idempotency_key="k-1").json()

    assert [item["id"] for item in second["items"]] == [item["id"] for item in first["items"]]
    assert [item["status"] for item in second["items"]] == ["duplicate", "duplicate"]
    assert Delivery.objects.count() == Event.objects.count() == 2


def test_a_refused_request_does_not_use_its_key_up() -> None:
    producer = caller("producer")
    assert producer.post("/events", event(type="no good"), idempotency_key="k-1").status_code == 400

    assert producer.post("/events", event(type="no good"), idempotency_key="k-1").status_code == 400


def test_answers_are_kept_for_a_day() -> None:
    producer = caller("producer")
    producer.post("/events", event(), idempotency_key="k-1")
    IdempotentRequest.objects.update(first_at=timezone.now() - timedelta(hours=25))

    assert "Idempotent-Replayed" not in producer.post("/events", event(), idempotency_key="k-1")
    assert Event.objects.count() == 2
    IdempotentRequest.objects.update(first_at=timezone.now() - timedelta(hours=25))
    assert idempotency.remove_old() == 1
    assert not IdempotentRequest.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_the_same_time_works_once() -> None:
    producer = caller("producer")
    start = threading.Barrier(6)
    answers: list[Any] = []

    def publish_it() -> None:
        start.wait()
        answers.append(producer.post("/events", event(), idempotency_key="k-1"))
        connection.close()

    threads = [threading.Thread(target=publish_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} <= {202, 409}
    assert 202 in {answer.status_code for answer in answers}
    assert Event.objects.count() == 1


def broker_errors(part: str) -> float:
    return REGISTRY.get_sample_value("recart_hooks_broker_errors_total", {"part": part}) or 0.0


def test_a_broker_that_is_away_holds_nothing_up(broker_away: None) -> None:
    subscription_of(caller().partner)
    producer: Caller = caller("producer")
    before = broker_errors("intake")
    assert producer.post("/events", event()).status_code == 202
    assert Delivery.objects.get().status == "pending"
    assert broker_errors("intake") == before + 1


def test_a_batch_of_a_thousand_takes_a_few_queries(django_assert_max_num_queries: Any) -> None:
    subscription_of(caller().partner)
    producer = caller("producer")
    producer.post("/events", event())

    with django_assert_max_num_queries(12):
        answer = producer.post("/events", {"events": [event(id=str(number)) for number in range(1000)]})

    assert answer.json()["stored"] == 1000
    assert Delivery.objects.count() == 1001
