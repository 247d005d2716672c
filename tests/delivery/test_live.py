"""The present state of a partner in the admin and the API, read from a real broker and database."""

import re
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from delivery import publish
from delivery.admin.rankings import down_endpoints
from delivery.admin.standing import SHOWN, standing_context
from delivery.admin.traffic import RANGES, traffic
from delivery.backlog import Backlog
from delivery.breaker import Opened
from delivery.breaker_store import SharedBreakers
from delivery.due import Due
from delivery.live import Live, live
from delivery.models import Delivery
from partners import services
from partners.admin.base import change_url
from partners.models import AuditEntry, Partner, Subscription
from tests.admin_pages import DIALOG, dialog_url, viewer
from tests.api_calls import Caller, caller, subscription_of
from tests.delivery.broker.manual_worker import ManualWorker
from tests.delivery.broker.servers import forget
from tests.proxy import Proxy
from tests.rows import new_delivery

pytestmark = [pytest.mark.django_db, pytest.mark.servers, pytest.mark.usefixtures("valkey")]


@pytest.fixture
def partner() -> Iterator[Partner]:
    found = services.create_partner("Yotpo", rate_limit="5/s")
    yield found
    forget(publish.queues(), publish.queue_of(found.pk))


@pytest.fixture
def subscription(partner: Partner) -> Iterator[Subscription]:
    found = subscription_of(partner)
    yield found
    SharedBreakers().close(found.pk)


def new_pending(of: Subscription, due_s_ago: float, error: str = "") -> Delivery:
    due_at = timezone.now() - timedelta(seconds=due_s_ago)
    return new_delivery(of, at=due_at, attempt_count=int(bool(error)), last_error=error)


def queued(deliveries: list[Delivery], eta: float | None = None) -> None:
    publish.publish(Due(one.pk, 1, one.partner_id, one.event_type, eta) for one in deliveries)


def opened(subscription: Subscription, since_s_ago: float, for_s: float) -> float:
    """Opens its breaker, with a failed probe since; returns when it opened."""
    at = time.time() - since_s_ago
    SharedBreakers().open(subscription.pk, Opened(at + 5, 5))
    SharedBreakers().open(subscription.pk, Opened(time.time() + for_s, 60))
    return at


def test_queue_and_backlog_are_those_of_the_partner(partner: Partner, subscription: Subscription) -> None:
    queued([new_pending(subscription, due_s_ago=90), new_pending(subscription, due_s_ago=5)])
    queued([new_pending(subscription, due_s_ago=-60)], eta=time.time() + 60)
    new_pending(subscription_of(services.create_partner("Other")), due_s_ago=1000)
    publish.queues().configure(publish.queue_of(partner.pk), rate="5/s", burst=5)

    seen = live(partner.pk, timezone.now())

    assert seen.queue is not None
    assert (seen.queue.waiting, seen.queue.delayed, seen.queue.in_flight) == (2, 1, 0)
    assert (seen.queue.tokens, seen.queue.held_until) == (5, None)
    assert seen.backlogs is not None
    assert seen.backlogs[subscription.pk].pending == 3
    age_s = seen.oldest_waiting_s(timezone.now())
    assert age_s is not None
    assert 90 <= age_s < 300
    assert seen.breaker(subscription.pk).state == "closed"


def test_the_oldest_is_known_of_a_backlog_that_is_too_long_to_count(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, partner: Partner, subscription: Subscription
) -> None:
    new_pending(subscription_of(partner), due_s_ago=5)
    new_pending(subscription, due_s_ago=300)

    seen = live(partner.pk, timezone.now(), count=lambda _: None)

    for of in (None, {subscription.pk}):
        assert seen.oldest_waiting_s(timezone.now(), of) == pytest.approx(300, abs=60)
    assert seen.oldest_waiting_s(timezone.now(), {"sub_other"}) is None
    monkeypatch.setattr("delivery.live.backlog_by", lambda *_: None)
    page = text(admin_client.get(change_url(subscription)).content)
    assert "Pending here many oldest waits 5 min" in page
    assert "Oldest due 5 min" in page


def test_the_age_of_one_backlog_costs_the_same_among_thousands() -> None:
    class Counted(dict[str, Backlog]):
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("looks at all of them")

        items = values = __iter__  # type: ignore[assignment]

    now = timezone.now()
    seen = Live(None, Counted({"sub_1": Backlog(3, now - timedelta(seconds=90)), "sub_2": Backlog(1, now)}))
    assert seen.oldest_waiting_s(now, {"sub_1"}) == pytest.approx(90)
    assert seen.oldest_waiting_s(now, {"sub_3"}) is None


def test_only_what_is_shown_of_a_partner_is_asked_for_its_last_error(
    monkeypatch: pytest.MonkeyPatch, partner: Partner
) -> None:
    down, asked = [subscription_of(partner) for _ in range(SHOWN + 2)], set[str]()
    for one in down:
        opened(one, since_s_ago=300, for_s=60)

    def last_error(of: Subscription) -> str:
        asked.add(of.pk)
        return "timed out"

    monkeypatch.setattr("delivery.admin.standing.last_error", last_error)

    shown = standing_context(partner)

    about = [line.detail for line in shown["standing"] if "breaker" in line.title]
    assert shown["more_findings"] > 0
    assert about
    assert all("timed out" in one for one in about)
    assert len(asked) == SHOWN
    for one in down:
        SharedBreakers().close(one.pk)


def test_a_breaker_tells_since_when_and_until_when(partner: Partner, subscription: Subscription) -> None:
    at = opened(subscription, since_s_ago=300, for_s=60)
    state = live(partner.pk, timezone.now()).breaker(subscription.pk)
    assert state.state == "open"
    assert state.since is not None
    assert state.since.timestamp() == pytest.approx(at, abs=1)
    assert state.next_probe_at is not None
    half_open = live(partner.pk, timezone.now() + timedelta(minutes=5)).breaker(subscription.pk)
    assert (half_open.state, half_open.next_probe_at) == ("half_open", None)

    SharedBreakers().close(subscription.pk)
    opened_again = opened(subscription, since_s_ago=10, for_s=60)
    since = live(partner.pk, timezone.now()).breaker(subscription.pk).since
    assert since is not None
    assert since.timestamp() == pytest.approx(opened_again, abs=1)


def test_the_dashboard_names_what_is_down_for_longest_first(partner: Partner, subscription: Subscription) -> None:
    other = subscription_of(partner)
    opened(subscription, since_s_ago=130, for_s=60)
    opened(other, since_s_ago=300, for_s=60)

    (down,) = [one for one in traffic(RANGES["1h"], timezone.now()).lists if one.title == "Endpoints that are down"]

    mine = [(bar.address, bar.value) for bar in down.bars if bar.name.startswith("Yotpo")]
    assert mine == [(change_url(other), "5 min"), (change_url(subscription), "2 min")]
    SharedBreakers().close(other.pk)


def test_an_endpoint_that_is_not_used_any_more_is_not_down(subscription: Subscription) -> None:
    opened(subscription, since_s_ago=130, for_s=60)
    services.delete_subscription(subscription)
    assert not down_endpoints(timezone.now()).bars


def read_queue(by: Caller) -> tuple[dict[str, object], dict[str, dict[str, object]]]:
    body = by.get("/queue").json()
    return body, {one["subscription_id"]: one for one in body["subscriptions"]}


def test_a_partner_reads_its_queue_and_breakers_by_the_api() -> None:
    by = caller(partner="Okendo")
    down, idle = subscription_of(by.partner), subscription_of(by.partner, description="spare")
    services.disable_subscription(idle, "partner")
    queued([new_pending(down, due_s_ago=42)])
    opened(down, since_s_ago=300, for_s=60)
    publish.queues().pause(publish.queue_of(by.partner.pk))

    body, by_subscription = read_queue(by)

    assert body["queue"] == {
        "waiting": 1,
        "delayed": 0,
        "in_flight": 0,
        "tokens": None,
        "is_held": True,
        "held_until": None,
    }
    assert by_subscription[down.pk]["pending"] == 1
    assert by_subscription[down.pk]["oldest_waiting_s"] == pytest.approx(body["oldest_waiting_s"])
    breaker = by_subscription[down.pk]["breaker"]
    assert isinstance(breaker, dict)
    assert (breaker["state"], str(breaker["since"])[-1]) == ("open", "Z")
    assert by_subscription[idle.pk] == {
        "subscription_id": idle.pk,
        "url": "https://hooks.example.com/in",
        "description": "spare",
        "is_enabled": False,
        "pending": 0,
        "oldest_waiting_s": None,
        "breaker": {"state": "closed", "since": None, "next_probe_at": None},
    }
    forget(publish.queues(), publish.queue_of(by.partner.pk))
    SharedBreakers().close(down.pk)


def test_the_api_does_not_say_that_breakers_are_closed_while_valkey_hangs(valkey_wire: Proxy) -> None:
    by = caller(partner="Judge.me")
    subscription = subscription_of(by.partner)
    valkey_wire.hold()

    body, by_subscription = read_queue(by)

    assert (body["queue"], by_subscription[subscription.pk]["breaker"]) == (None, None)


def text(page: bytes) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.decode()))


def test_the_pages_of_partner_and_subscription_say_first_how_it_stands(
    admin_client: Client, partner: Partner, subscription: Subscription
) -> None:
    queued([new_pending(subscription, due_s_ago=90, error="503: <b>closed</b> for lunch")])
    opened(subscription, since_s_ago=300, for_s=60)

    for obj in (partner, subscription):
        page = text(admin_client.get(change_url(obj)).content)
        assert page.index("Right now") < page.index("Rate limit" if obj is partner else "Endpoint")
        assert "Theirs The endpoint is down: its breaker holds everything back since" in page
        assert "(5 min ago)" in page
        assert "503: &lt;b&gt;closed&lt;/b&gt; for lunch. It is tried again at" in page
        assert "Waiting 1 sent as the limits allow" in page
    assert "Breaker Open since" in page
    assert "Pending here 1 oldest waits" in page


def test_killed_workers_do_not_count_as_running(admin_client: Client, partner: Partner) -> None:
    killed = ManualWorker(publish.queues().client, "killed", clock=time.time() - 60)
    killed.beat()
    assert "Ours No worker runs: nothing is sent to anybody" in text(admin_client.get(change_url(partner)).content)
    killed.leave()


def test_pages_do_not_wait_long_for_a_valkey_that_hangs(valkey_wire: Proxy, admin_client: Client) -> None:
    subscription = subscription_of(services.create_partner("Other"))
    delivery = new_pending(subscription, due_s_ago=90)
    valkey_wire.hold()

    for page in (change_url(subscription), change_url(delivery), "/admin/", "/readyz", "/metrics"):
        began = time.monotonic()
        shown = text(admin_client.get(page).content)
        assert time.monotonic() - began < 5, page
        if page == change_url(subscription):
            assert "Breaker unknown Valkey does not answer" in shown


def test_a_change_that_was_refused_is_not_shown_as_how_it_stands(admin_client: Client, partner: Partner) -> None:
    page = text(admin_client.post(change_url(partner), {"name": partner.name, "rate_limit": "7/x"}).content)
    assert page.index("Right now") < page.index("7/x"), "the form, below, has it"
    assert "of 7/x" not in page


def test_a_pause_lasts_since_it_was_made_and_not_since_something_waits(
    admin_client: Client, partner: Partner, subscription: Subscription
) -> None:
    services.pause_partner(partner)
    AuditEntry.objects.filter(action="partner.pause").update(at=timezone.now() - timedelta(hours=5))
    new_pending(subscription, due_s_ago=200)

    assert re.search(
        r"Paused by staff since [\d-]+ [\d:]+ \(5 h ago\)", text(admin_client.get(change_url(partner)).content)
    )


def held_by(by: Caller, delivery: Delivery) -> object:
    return by.get(f"/deliveries/{delivery.pk}").json()["held_by"]


def test_a_delivery_that_is_due_tells_what_holds_it_back() -> None:
    by = caller(partner="Smile")
    queue, queues = publish.queue_of(by.partner.pk), publish.queues()
    down = subscription_of(by.partner)
    one, other, later = (new_pending(down, due_s_ago=seconds) for seconds in (4, 4, -60))
    queued([one, other])
    assert held_by(by, one) is None

    queues.configure(queue, rate="1/h", burst=1)
    assert held_by(by, one) == "rate_limit"
    queues.configure(queue, max_in_flight=1)
    services.update_partner(by.partner, {"max_in_flight": 1})
    worker = ManualWorker(queues.client)
    worker.fetch()
    assert {held_by(by, one), held_by(by, other)} == {None, "max_in_flight"}  # one of them is being sent
    worker.leave()
    opened(down, since_s_ago=300, for_s=60)
    assert held_by(by, one) == "breaker"
    services.pause_partner(by.partner)
    assert held_by(by, one) == "pause"
    assert held_by(by, later) is None
    forget(publish.queues(), publish.queue_of(by.partner.pk))
    SharedBreakers().close(down.pk)


def test_the_page_of_a_delivery_and_its_retry_tell_what_holds_it_back(
    admin_client: Client, subscription: Subscription
) -> None:
    delivery = new_pending(subscription, due_s_ago=-60)
    opened(subscription, since_s_ago=300, for_s=60)
    assert "Held back -" in text(admin_client.get(change_url(delivery)).content)

    admin_client.post(dialog_url(delivery, "retry"), DIALOG)

    page = text(admin_client.get(change_url(delivery)).content)
    until = r"by the breaker of its endpoint, which is down, until [\d-]+ [\d:]+ UTC"
    assert re.search(f"Another attempt is due, but held back {until}", page)
    assert re.search(f"Held back {until}", page)


def test_what_is_held_says_until_when(admin_client: Client, partner: Partner, subscription: Subscription) -> None:
    def figures() -> str:
        return text(admin_client.get(change_url(partner)).content)

    queue = publish.queue_of(partner.pk)
    queued([new_pending(subscription, due_s_ago=90)])
    publish.queues().pause(queue)
    assert "Waiting 1 held until somebody resumes" in figures()

    publish.queues().pause(queue, until=time.time() + 7230)
    assert "Waiting 1 held, ends in 2 h" in figures()


def test_what_is_due_and_is_being_sent_is_not_said_to_wait(
    admin_client: Client, partner: Partner, subscription: Subscription
) -> None:
    new_pending(subscription, due_s_ago=90)  # the broker has no ready message of it

    page = text(admin_client.get(change_url(partner)).content)

    assert "Waiting 0 sent as the limits allow" in page
    assert re.search(r"Oldest due \d+ s waiting, delayed or in flight", page)


def test_the_part_renews_itself_for_those_who_may_see_deliveries(
    admin_client: Client, subscription: Subscription
) -> None:
    page = admin_client.get(change_url(subscription)).content.decode()
    (address,) = re.findall(r'id="rh-standing"[^>]* hx-get="([^"]+)"', page)
    address = address.replace("&amp;", "&")

    part = admin_client.get(address)

    assert part.status_code == 200
    assert b"<html" not in part.content
    assert b"Nothing is wrong." in part.content or b"No worker runs" in part.content
    assert admin_client.get(f"{address}x").status_code == 404
    assert viewer("view_partner").get(address).status_code == 403
