"""The admin pages of deliveries, events, dead letters, replays and task results."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages.storage.session import SessionStorage
from django.db import connection
from django.db.models import Func, Model, QuerySet, TextField, Value
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_results.models import TaskResult
from pytest_django import DjangoAssertNumQueries

from delivery.admin import list_filters
from delivery.admin.delivery import DeliveryAdmin
from delivery.models import Attempt, DeadLetter, Delivery, Event, FanOut, ReplayJob
from delivery.trying import shared_places
from partners import services
from partners.admin.base import change_url, list_url, url_of
from partners.identifiers import first_id, new_id
from partners.models import AuditEntry, EventType, Subscription
from tests.admin_pages import DIALOG, assert_staff_see, assert_strangers_log_in, dialog_url, viewer
from tests.rows import NOON, new_delivery, new_event, new_subscription

pytestmark = pytest.mark.django_db


def new_attempt(delivery: Delivery, number: int = 1, **fields: Any) -> Attempt:
    return Attempt.objects.create(delivery=delivery, number=number, started_at=NOON, latency_ms=42.4, **fields)


def new_replay(subscription: Subscription, **fields: Any) -> ReplayJob:
    fields = {"mode": "failed", "since": NOON, "until": NOON, "total": 40, "is_total_exact": True, **fields}
    return ReplayJob.objects.create(partner=subscription.partner, subscription=subscription, **fields)


def shown(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def listed(client: Client, **filters: str) -> list[str]:
    """The ids of the deliveries on the page, in the order shown."""
    page = shown(client, list_url(Delivery, **filters))
    return re.findall(r'title="(dlv_[0-9a-f]{32})"', page)


def every_page() -> list[str]:
    delivery = new_delivery()
    new_attempt(delivery)
    letter = DeadLetter.objects.create(source="nats", position="EVENTS:1", body=b"\xff", reason="not UTF-8")
    result = TaskResult.objects.create(task_id=f"{delivery.pk}:1", task_name="delivery.deliver", status="FAILURE")
    job = new_replay(delivery.subscription)
    pages = []
    for obj in (delivery, delivery.event, letter, job, result):
        pages += [list_url(type(obj)), change_url(obj), change_url(obj).replace("/change/", "/history/")]
    return pages


def test_every_page_opens_for_staff(admin_client: Client) -> None:
    assert_staff_see(admin_client, every_page())


def test_every_page_refuses_strangers(client: Client) -> None:
    assert_strangers_log_in(client, every_page())


def test_logs_are_read_only(admin_client: Client) -> None:
    for page in every_page():
        if page.endswith("/change/"):
            assert admin_client.post(page, {"status": "dead"}).status_code == 403, page
            assert admin_client.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403, page
        elif not page.endswith("/history/"):
            assert admin_client.get(f"{page}add/").status_code == 403, page
    assert Delivery.objects.get().status == "pending"


def test_attempts_have_no_page_of_their_own(admin_client: Client) -> None:
    assert admin_client.get("/admin/delivery/attempt/").status_code == 404


def test_a_delivery_shows_its_attempts_and_the_data_as_it_came(admin_client: Client) -> None:
    delivery = new_delivery(event=new_event(data='{"n": 1.10, "big": 12345678901234567890, "n": 2e5}'), attempt_count=2)
    new_attempt(delivery, 1, error="timeout", detail="no answer within 15 s", worker="host:7")
    new_attempt(
        delivery,
        2,
        status_code=503,
        error="http_status",
        request_headers="webhook-id: evt_1\nAuthorization: Bearer hunter2",
        response_headers="server: nginx",
        response_excerpt="<script>alert(1)</script>",
    )

    page = shown(admin_client, change_url(delivery))

    assert "no answer within 15 s" in page
    assert "timed out" in page
    assert "host:7" in page
    assert "42 ms" in page
    assert "<b>server</b>: nginx" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page
    assert "hunter2" not in page
    assert '<span class="rh-key">&quot;n&quot;</span>: <span class="rh-value">1.10</span>' in page
    assert "12345678901234567890" in page
    assert "2e5" in page


def test_a_delivery_that_was_not_tried_yet_says_so(admin_client: Client) -> None:
    assert "Nothing was sent yet." in shown(admin_client, change_url(new_delivery()))


@pytest.mark.parametrize(
    ("error", "told"),
    [("transformation", "not sent"), ("unsendable", "not sent"), ("timeout", "timed out")],
)
def test_lists_tell_what_became_of_the_last_attempt(admin_client: Client, error: str, told: str) -> None:
    why = "$.data.total: not a number"
    delivery = new_delivery(status="dead", attempt_count=2, last_error=why)
    new_attempt(delivery, 1, status_code=503, error="http_status")
    new_attempt(delivery, 2, error=error, detail=why)
    badge = f'<span class="rh-badge rh-danger" title="{why}">{told}</span>'

    assert f"{badge} ×2<span class=" in shown(admin_client, list_url(Delivery))  # noqa: RUF001
    for obj in (delivery, delivery.event, delivery.subscription, delivery.partner):
        assert badge in shown(admin_client, change_url(obj)), obj


def test_what_was_given_up_without_an_attempt_was_not_sent(admin_client: Client) -> None:
    new_delivery(status="dead", last_error="the event was expunged")

    page = shown(admin_client, list_url(Delivery))

    assert '<span class="rh-badge rh-danger" title="the event was expunged">not sent</span>' in page


def test_only_the_latest_of_many_attempts_are_shown(admin_client: Client) -> None:
    delivery = new_delivery(attempt_count=60)
    for number in range(1, 61):
        new_attempt(delivery, number, error="timeout")

    page = shown(admin_client, change_url(delivery))

    assert "The latest 50 of 60." in page
    assert page.count('class="rh-attempt"') == 50


def test_an_expunged_event_says_so(admin_client: Client) -> None:
    event = new_event(data="", expunged_at=NOON)

    assert "Expunged" in shown(admin_client, change_url(event))


def test_an_event_shows_whose_deliveries_are_still_to_be_made(admin_client: Client) -> None:
    event, partner = new_event(), new_subscription("Many Shops").partner
    FanOut.objects.create(event=event, partner=partner, event_type=event.type, created_at=NOON)
    page = admin_client.get(change_url(event)).content.decode()
    assert "to be made" in page
    assert "Many Shops" in page
    assert "Nobody was subscribed" not in page


def test_an_event_shows_what_became_of_it(admin_client: Client) -> None:
    event = new_event(id="shop-1/order:7")
    new_delivery(new_subscription("Yotpo"), event, status="succeeded", attempt_count=1, last_status_code=204)
    new_delivery(new_subscription("Okendo"), event)

    page = shown(admin_client, change_url(event))

    assert "204" in page
    assert "not tried yet" in page
    assert "Yotpo" in page
    assert "Okendo" in page


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"a": 1}', '<span class="rh-key">&quot;a&quot;</span>: <span class="rh-value">1</span>'),
        (b"<b>not JSON</b>", "&lt;b&gt;not JSON&lt;/b&gt;"),
        (b'{"a": \xff\x00 "', "000000  7b 22 61 22 3a 20 ff 00 20 22"),
    ],
)
def test_a_dead_letter_shows_its_bytes_safely(admin_client: Client, body: bytes, told: str) -> None:
    letter = DeadLetter.objects.create(source="nats", position="EVENTS:1", body=body, reason="unreadable")

    assert told in shown(admin_client, change_url(letter))


def test_a_task_result_tells_what_failed_and_leads_to_the_delivery(admin_client: Client) -> None:
    delivery = new_delivery()
    result = TaskResult.objects.create(
        task_id=f"{delivery.pk}:3",
        task_name="delivery.deliver",
        status="FAILURE",
        result='{"exc_type": "DeliveryDead", "exc_message": ["the endpoint answered 503"]}',
        task_args="('hunter2',)",
        task_kwargs="{'secret': 'hunter2'}",
    )

    page = shown(admin_client, change_url(result))

    assert "DeliveryDead: the endpoint answered 503" in page
    assert change_url(delivery) in page
    assert "hunter2" not in page


def test_a_dead_delivery_is_retried(admin_client: Client) -> None:
    delivery = new_delivery(status="dead", attempt_count=3)

    admin_client.get(dialog_url(delivery, "retry"))
    delivery.refresh_from_db()
    assert delivery.status == "dead"

    answer = admin_client.post(dialog_url(delivery, "retry"), DIALOG)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempt_count) == ("pending", 3)
    assert answer["HX-Redirect"] == change_url(delivery)
    assert LogEntry.objects.get().change_message == "Retried."


def test_selected_deliveries_are_retried_and_what_cannot_be_is_told(admin_client: Client) -> None:
    subscription, disabled = new_subscription("Yotpo"), new_subscription("Okendo")
    dead = [new_delivery(subscription, status="dead", attempt_count=1) for _ in range(2)]
    stuck = new_delivery(disabled, status="dead", attempt_count=1)
    services.disable_subscription(disabled, "staff")
    chosen = [one.pk for one in (*dead, stuck)]

    answer = admin_client.post(
        list_url(Delivery), {"_selected_action": chosen, "action": "retry_selected"}, follow=True
    )

    assert set(Delivery.objects.filter(status="pending")) == set(dead)
    page = answer.content.decode()
    assert "Retried: 2." in page
    assert f"{stuck}: its subscription is disabled: enable it first" in page


def test_who_may_only_look_retries_nothing() -> None:
    delivery = new_delivery(status="dead", attempt_count=1)
    client = viewer("view_delivery")

    assert "/retry/" not in shown(client, change_url(delivery))
    assert client.post(dialog_url(delivery, "retry"), DIALOG).status_code == 403
    client.post(list_url(Delivery), {"_selected_action": [delivery.pk], "action": "retry_selected"})

    delivery.refresh_from_db()
    assert delivery.status == "dead"


def test_a_test_event_is_sent_from_the_page_of_a_subscription(admin_client: Client) -> None:
    subscription = new_subscription()
    EventType.objects.create(name="orders.created", sample='{"n": 7}')

    asked = admin_client.get(dialog_url(subscription, "send_test_event")).content
    answer = admin_client.post(dialog_url(subscription, "send_test_event"), {**DIALOG, "event_type": "orders.created"})

    delivery = Delivery.objects.get()
    assert b"orders.created" in asked
    assert (delivery.subscription, delivery.event.data) == (subscription, '{"n": 7}')
    assert answer["HX-Redirect"] == change_url(subscription)
    assert change_url(delivery) in shown(admin_client, change_url(subscription))


def test_a_test_event_is_sent_from_the_page_of_a_partner(admin_client: Client) -> None:
    subscription, other = new_subscription("Yotpo"), new_subscription("Okendo")
    url = dialog_url(subscription.partner, "send_test_event")

    admin_client.post(url, {**DIALOG, "subscription": other.pk})
    assert not Delivery.objects.exists()

    admin_client.post(url, {**DIALOG, "subscription": subscription.pk})
    assert Delivery.objects.get().subscription == subscription


def test_a_partner_without_an_enabled_subscription_gets_no_test_event(admin_client: Client) -> None:
    subscription = new_subscription()
    services.disable_subscription(subscription, "staff")

    answer = admin_client.post(dialog_url(subscription.partner, "send_test_event"), DIALOG)

    assert "This partner has no enabled subscription." in answer.content.decode()


def test_a_disabled_subscription_is_told_to_get_no_test_event(admin_client: Client) -> None:
    subscription = new_subscription()
    services.disable_subscription(subscription, "staff")

    admin_client.post(dialog_url(subscription, "send_test_event"), {**DIALOG, "event_type": ""})

    assert "Its subscription is disabled: enable it first" in shown(admin_client, change_url(subscription))
    assert not Delivery.objects.exists()


def test_an_endpoint_is_verified_from_its_page(admin_client: Client, settings: Any) -> None:
    settings.ENDPOINT_PROOF = True
    subscription = new_subscription()
    Subscription.objects.update(url="http://127.0.0.1/")
    assert "Unverified" in shown(admin_client, change_url(subscription))

    admin_client.post(dialog_url(subscription, "verify"), DIALOG)

    page = shown(admin_client, change_url(subscription))
    assert "Not verified: " in page
    assert "/verify/" in page
    services.enable_subscription(subscription)
    assert "/verify/" not in shown(admin_client, change_url(subscription))


def test_an_endpoint_is_not_verified_while_another_request_is_under_way(admin_client: Client, settings: Any) -> None:
    settings.ENDPOINT_PROOF = True
    subscription = new_subscription()

    with shared_places.taken(subscription.partner_id):
        admin_client.post(dialog_url(subscription, "verify"), DIALOG)

    assert "Other requests to endpoints are under way" in shown(admin_client, change_url(subscription))


def test_a_replay_is_counted_and_started_from_the_page_of_a_subscription(admin_client: Client) -> None:
    subscription = new_subscription()
    dead = [new_delivery(subscription, status="dead", attempt_count=1) for _ in range(2)]
    asked = {"mode": "failed", "since": "2026-05-01T11:00"}
    Event.objects.update(received_at=NOON)

    dialog = shown(admin_client, dialog_url(subscription, "replay"))
    (counting,) = re.findall(r'hx-get="([^"]+)"', dialog)
    assert admin_client.get(counting, asked).content == b"This sends 2 deliveries."
    assert admin_client.get(counting, {**asked, "since": "soon"}).content == b""
    assert not ReplayJob.objects.exists()

    answer = admin_client.post(dialog_url(subscription, "replay"), {**DIALOG, **asked})

    job = ReplayJob.objects.get()
    assert (job.subscription, job.mode, job.since) == (subscription, "failed", NOON.replace(hour=11))
    assert job.total == len(dead)
    assert answer["HX-Redirect"] == change_url(subscription)
    entry = AuditEntry.objects.get(action="replay.start")
    assert (entry.actor_kind, entry.actor_name, entry.subject_id) == ("staff", "admin", job.pk)
    assert LogEntry.objects.get().change_message == f"Started a replay ({job.pk})."
    page = shown(admin_client, change_url(subscription))
    assert "A replay of 2 deliveries has started: " in page
    assert change_url(job) in page
    assert "/replay/" in page
    admin_client.post(dialog_url(subscription, "replay"), {**DIALOG, **asked})
    assert "A replay of this subscription is running" in shown(admin_client, change_url(subscription))


def test_a_replay_begins_in_the_past(admin_client: Client) -> None:
    subscription = new_subscription()
    asked = {**DIALOG, "mode": "all", "since": "2999-01-01T00:00"}

    assert b"This time is in the future." in admin_client.post(dialog_url(subscription, "replay"), asked).content
    assert not ReplayJob.objects.exists()


def test_who_may_not_start_replays_is_not_offered_one() -> None:
    subscription = new_subscription()
    client = viewer("view_subscription", "change_subscription")
    asked = {"mode": "all", "since": "2026-05-01T11:00"}

    assert "/replay/" not in shown(client, change_url(subscription))
    assert client.post(dialog_url(subscription, "replay"), {**DIALOG, **asked}).status_code == 403
    assert client.get(f"{dialog_url(subscription, 'replay')}estimate/", asked).status_code == 403
    assert not ReplayJob.objects.exists()


def test_a_replay_shows_how_far_it_came_and_is_canceled(admin_client: Client) -> None:
    job = new_replay(new_subscription(), queued=10, skipped=2)
    page = shown(admin_client, change_url(job))
    assert 'value="30"' in page
    assert "10 of 40 queued, 2 left out" in page

    assert viewer("view_replayjob").post(dialog_url(job, "cancel"), DIALOG).status_code == 403
    admin_client.post(dialog_url(job, "cancel"), DIALOG)

    job.refresh_from_db()
    assert job.status == "canceled"
    assert LogEntry.objects.get().change_message == "Canceled."
    assert "/cancel/" not in shown(admin_client, change_url(job))
    admin_client.post(dialog_url(job, "cancel"), DIALOG)
    assert "This replay has ended already." in shown(admin_client, change_url(job))


def test_a_replay_that_is_done_is_complete_whatever_was_estimated(admin_client: Client) -> None:
    new_replay(new_subscription(), status="done", queued=3, is_total_exact=False)
    page = shown(admin_client, list_url(ReplayJob))
    assert 'value="100"' in page
    assert "</progress> 3 queued<" in page


def queries_of(client: Client, obj: Model) -> int:
    """The number of queries for the page of an object."""
    with CaptureQueriesContext(connection) as queries:
        shown(client, change_url(obj))
    return len(queries)


def test_partner_and_subscription_pages_show_their_latest_deliveries(admin_client: Client) -> None:
    subscription, other = new_subscription("Yotpo"), new_subscription("Okendo")
    own = [new_delivery(subscription)]
    foreign = new_delivery(other)
    pages = (subscription, subscription.partner)
    for obj in pages:
        shown(admin_client, change_url(obj))  # fills caches, whose queries should not count
    with_one = [queries_of(admin_client, obj) for obj in pages]
    own += [new_delivery(subscription) for _ in range(24)]

    assert [queries_of(admin_client, obj) for obj in pages] == with_one
    for obj in pages:
        page = shown(admin_client, change_url(obj))
        assert [change_url(one) in page for one in own] == [False] * 5 + [True] * 20
        assert change_url(foreign) not in page


def test_the_log_is_paged_from_new_to_old_and_back(admin_client: Client) -> None:
    subscription = new_subscription()
    made = [new_delivery(subscription).pk for _ in range(120)][::-1]
    size = DeliveryAdmin.list_per_page

    first = listed(admin_client)
    second = listed(admin_client, older=first[-1])
    third = listed(admin_client, older=second[-1])
    back = listed(admin_client, newer=third[0])

    assert first + second + third == made
    assert back == second
    assert len(first) == size


def test_events_of_the_same_moment_are_paged_without_a_gap(admin_client: Client) -> None:
    for number in range(120):
        new_event(id=f"e{number:03}", received_at=NOON)
    seen: list[str] = []
    address = list_url(Event)

    while address:
        page = shown(admin_client, address)
        seen += re.findall(r'class="rh-id" title="(e\d+)"', page)
        older = re.search(r'href="(\?older=[^"]+)">Older', page)
        address = list_url(Event) + older[1].replace("&amp;", "&") if older else ""

    assert seen == [f"e{number:03}" for number in range(119, -1, -1)]


def test_a_page_key_that_makes_no_sense_leads_back_to_the_list(admin_client: Client) -> None:
    answer = admin_client.get(list_url(Event, older="yesterday"))

    assert (answer.status_code, answer["Location"]) == (302, "/admin/delivery/event/?e=1")


def test_deliveries_are_found_by_every_identifier(admin_client: Client) -> None:
    wanted = new_delivery(new_subscription("Yotpo"), new_event(id="shop-1/order:7"))
    new_delivery(new_subscription("Okendo"))

    for term in (wanted.pk, "shop-1/order:7", "shop-1", wanted.subscription_id, wanted.partner_id, f" {wanted.pk} "):
        assert listed(admin_client, q=term.replace("/", "%2F")) == [wanted.pk], term
    assert listed(admin_client, q="order:7") == []
    assert listed(admin_client, q="%25") == []


def test_an_event_is_found_though_its_id_begins_like_a_delivery(admin_client: Client) -> None:
    wanted = new_delivery(event=new_event(id="dlv_of_the_shop"))

    assert listed(admin_client, q="dlv_of") == [wanted.pk]


def test_the_log_is_filtered(admin_client: Client) -> None:
    yotpo, okendo = new_subscription("Yotpo"), new_subscription("Okendo")
    dead = new_delivery(yotpo, status="dead", attempt_count=1)
    pending = new_delivery(okendo, new_event(type="orders.items.added"))
    other = new_delivery(okendo, new_event(type="ordersbook.opened"))

    assert listed(admin_client, status__exact="dead") == [dead.pk]
    assert listed(admin_client, partner__id__exact=yotpo.partner_id) == [dead.pk]
    assert listed(admin_client, subscription__id__exact=okendo.pk) == [other.pk, pending.pk]
    assert listed(admin_client, type="orders.items.added") == [pending.pk]
    assert listed(admin_client, type="orders.*") == [pending.pk, dead.pk]


def test_a_common_type_is_filtered_as_a_rare_one_is(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription = new_subscription()
    made = [new_delivery(subscription, new_event(type=f"orders.{name}")) for name in ("created", "paid", "created")]

    def found() -> list[list[str]]:
        return [listed(admin_client, type=wanted) for wanted in ("orders.created", "orders.*", "orders.none")]

    rare = found()
    monkeypatch.setattr(list_filters, "RARE", 0)

    assert found() == rare == [[made[2].pk, made[0].pk], [one.pk for one in made[::-1]], []]
    assert 'title="evt_' in shown(admin_client, list_url(Event, type="orders.paid"))


def test_the_log_is_filtered_by_time(admin_client: Client) -> None:
    subscription = new_subscription()
    at = {hour: NOON.replace(hour=hour) for hour in (10, 11, 12)}
    made = {
        hour: new_delivery(subscription, id=f"{first_id('dlv', moment)}{hour:020x}", created_at=moment).pk
        for hour, moment in at.items()
    }

    assert listed(admin_client, created_from="2026-05-01T11:00") == [made[12], made[11]]
    assert listed(admin_client, created_to="2026-05-01T11:00") == [made[10]]
    assert listed(admin_client, created_from="2026-05-01T10:30", created_to="2026-05-01T11:30") == [made[11]]
    assert len(listed(admin_client, created_from="soon")) == 3


@pytest.mark.parametrize("edge", ["from", "to"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00", "0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("time", ["delivery/delivery/?created", "delivery/event/?received", "partners/auditentry/?at"])
def test_the_first_and_the_last_time_there_is_can_be_asked_for(
    admin_client: Client, time: str, moment: str, edge: str
) -> None:
    assert admin_client.get(f"/admin/{time}_{edge}={moment.replace('+', '%2B')}").status_code == 200


def test_an_identifier_begins_with_its_time() -> None:
    before, now, after = (timezone.now() + timedelta(seconds=shift) for shift in (-1, 0, 1))

    assert first_id("dlv", before) < first_id("dlv", now) < new_id("dlv") < first_id("dlv", after)


def test_no_list_counts_and_no_list_grows_with_its_rows(admin_client: Client) -> None:
    every_page()
    for number in range(12):
        new_delivery(new_subscription(f"Partner {number}"))

    for model, budget in ((Delivery, 10), (Event, 7), (DeadLetter, 7), (TaskResult, 7)):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            shown(admin_client, list_url(model))
        assert len(queries) <= budget, model
        assert not any("count(" in query["sql"].lower() for query in queries), model


def test_a_delivery_page_asks_few_questions(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    delivery = new_delivery(attempt_count=9)
    for number in range(1, 10):
        new_attempt(delivery, number)

    with django_assert_max_num_queries(9):
        shown(admin_client, change_url(delivery))


class SlowAdmin(DeliveryAdmin):
    query_timeout_s = 0.05

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return Delivery.objects.annotate(slow=Func(Value(2.0), function="pg_sleep", output_field=TextField()))


def test_a_search_that_takes_too_long_is_cut_off_and_told(rf: RequestFactory, admin_user: User) -> None:
    new_delivery()
    request = rf.get(list_url(Delivery))
    request.user = admin_user
    request.session = {}  # type: ignore[assignment]  # only for messages
    request._messages = SessionStorage(request)  # type: ignore[attr-defined]

    page = SlowAdmin(Delivery, site).changelist_view(request)

    page.render()  # type: ignore[attr-defined]
    assert b"narrow it down by time" in page.content
    assert b"dlv_" not in page.content


def test_an_unknown_id_leads_to_the_dashboard(admin_client: Client) -> None:
    answer = admin_client.get(url_of(Delivery, "dlv_nobody"))

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
