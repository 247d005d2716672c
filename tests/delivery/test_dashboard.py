"""The traffic of all partners and of one partner in the admin."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from delivery import backlog
from delivery.admin.traffic import RANGES, traffic
from delivery.resolutions import roll_up
from delivery.rollups import Cell, write
from partners.admin.base import change_url, url_of
from partners.models import Partner, Subscription
from tests.rows import new_delivery, new_subscription

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 1, 12, 30, 20, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    cache.clear()


def count(of: Subscription, at: datetime, latencies_ms: Sequence[float], failures: int = 0, dead: int = 0) -> None:
    cell = Cell(of.partner_id)
    for number, latency in enumerate(latencies_ms):
        status = "dead" if number < dead else "pending" if number < failures else "succeeded"
        cell.count(latency, failed=number < failures, status=status)
    write({(at.replace(second=0, microsecond=0), of.pk): cell})


def cards(range_: str = "1h", whose: Partner | None = None) -> dict[str, tuple[str, str]]:
    return {card.title: (card.value, card.note) for card in traffic(RANGES[range_], NOW, whose).cards}


def ranking(title: str, whose: Partner | None = None) -> list[tuple[str, str, float]]:
    (found,) = [one for one in traffic(RANGES["1h"], NOW, whose).lists if one.title == title]
    return [(bar.name, bar.value, round(bar.share)) for bar in found.bars]


def titles(svg: str) -> list[str]:
    return re.findall(r"<title>([^<]*)</title>", svg)


def test_the_cards_add_up_what_was_counted() -> None:
    yotpo, okendo = new_subscription("Yotpo"), new_subscription("Okendo")
    count(yotpo, NOW - timedelta(minutes=5), [10] * 900)
    count(okendo, NOW - timedelta(minutes=7), [400] * 100, failures=100, dead=2)
    count(okendo, NOW - timedelta(hours=2), [400] * 100)

    shown = cards()

    assert shown["Attempts"] == ("1,000", "0.281 a second on average")
    assert shown["Succeed"] == ("90.00%", "100 failed")
    assert shown["Dead"][0] == "2"
    assert shown["Latency (p50)"][0] in {"9 ms", "10 ms", "11 ms"}
    assert re.fullmatch(r"p95 3[0-9]{2} ms, p99 4[0-9]{2} ms", shown["Latency (p50)"][1])


def test_a_partner_sees_only_itself() -> None:
    yotpo, okendo = new_subscription("Yotpo"), new_subscription("Okendo")
    count(yotpo, NOW, [10] * 7)
    count(okendo, NOW, [10] * 50, failures=50)
    new_delivery(okendo, at=NOW)

    shown = cards(whose=yotpo.partner)

    assert (shown["Attempts"][0], shown["Succeed"][0], shown["Backlog"][0]) == ("7", "100.00%", "0")
    assert ranking("Failing endpoints", whose=yotpo.partner) == []


def test_nothing_counted_is_no_mistake() -> None:
    shown = cards()

    assert (shown["Attempts"][0], shown["Succeed"][0], shown["Latency (p50)"][0]) == ("0", "-", "-")
    assert shown["Backlog"] == ("0", "nothing is due")


@pytest.mark.parametrize("range_", RANGES)
def test_every_range_holds_what_just_happened_and_ends_now(range_: str) -> None:
    subscription = new_subscription("Yotpo")
    count(subscription, NOW, [10] * 3)

    made = traffic(RANGES[range_], NOW)

    assert made.cards[0].value == "3"
    assert titles(made.attempts)[-1].endswith("succeeded: 3\nfailed: 0")
    assert 20 <= len(titles(made.attempts)) <= 72


@pytest.mark.parametrize("range_", ["24h", "7d", "30d"])
def test_long_ranges_read_hours_and_the_minutes_since(range_: str) -> None:
    subscription = new_subscription("Yotpo")
    for hours in (0, 1, 5, 20):
        count(subscription, NOW - timedelta(hours=hours), [10] * 10)
    roll_up(NOW)

    assert cards(range_)["Attempts"][0] == "40"


def test_who_fails_most_comes_first() -> None:
    yotpo, okendo = new_subscription("Yotpo"), new_subscription("Okendo")
    count(yotpo, NOW, [10] * 100, failures=5)
    count(okendo, NOW, [10] * 20, failures=10)
    count(new_subscription("Smile"), NOW, [10] * 20)
    count(new_subscription("Gorgias"), NOW, [10] * 1000, failures=1)

    expected = [("Okendo", "10 (50%)", 100), ("Yotpo", "5 (5%)", 50), ("Gorgias", "1 (<1%)", 10)]
    assert ranking("Failing partners") == expected
    assert [name for name, *_ in ranking("Failing endpoints", whose=yotpo.partner)] == [f"Yotpo: {yotpo}"]


def test_the_slowest_endpoint_comes_first_if_it_was_called_often_enough() -> None:
    count(new_subscription("Fast"), NOW, [10] * 50)
    count(new_subscription("Slow"), NOW, [2000] * 50)
    count(new_subscription("Rare"), NOW, [9000] * 2)

    names = [name.partition(":")[0] for name, *_ in ranking("Slowest endpoints (p95)")]

    assert names == ["Slow", "Fast"]


def test_the_backlog_is_counted_by_partner() -> None:
    yotpo, okendo = new_subscription("Yotpo"), new_subscription("Okendo")
    for _ in range(3):
        new_delivery(yotpo, at=NOW + timedelta(hours=2))
    new_delivery(okendo, at=NOW - timedelta(minutes=4))

    assert cards()["Backlog"] == ("4", "the oldest due 4 min ago")
    assert ranking("Longest backlogs") == [("Yotpo", "3, next in 2 h", 100), ("Okendo", "1, due 4 min ago", 33)]


def test_a_backlog_that_cannot_be_counted_in_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    new_delivery(new_subscription("Yotpo"), at=NOW)
    slow = f"SELECT pg_sleep(2), * FROM ({backlog._COUNT['partner_id']}) AS slow"
    monkeypatch.setitem(backlog._COUNT, "partner_id", slow)
    monkeypatch.setattr(backlog, "TIMEOUT_S", 0.05)

    assert cards()["Backlog"][0] == "many"
    assert ranking("Longest backlogs") == []


def test_the_first_page_shows_traffic_and_renews_itself(admin_client: Client) -> None:
    count(new_subscription("Yotpo"), timezone.now(), [10] * 77)

    page = admin_client.get("/admin/", {"range": "6h"}).content.decode()
    part = admin_client.get("/admin/partners/partner/traffic/", {"range": "6h"}).content.decode()

    assert 'hx-get="/admin/partners/partner/traffic/?range=6h&amp;partner="' in page
    for shown in (page, part):
        assert ">77</p>" in shown
        assert shown.count('id="rh-traffic"') == 1
    assert "<html" not in part


def test_the_backlog_leads_to_the_deliveries_that_it_counts(admin_client: Client) -> None:
    yotpo, okendo = new_subscription("Yotpo"), new_subscription("Okendo")
    own = [new_delivery(yotpo, at=NOW).pk for _ in range(2)]
    foreign = new_delivery(okendo, at=NOW).pk

    for whose, wanted in ((None, {*own, foreign}), (yotpo.partner, set(own))):
        card = traffic(RANGES["1h"], NOW, whose).cards[-1]
        listed = re.findall(r'title="(dlv_[0-9a-f]{32})"', admin_client.get(card.address).content.decode())
        assert (card.value, set(listed)) == (str(len(wanted)), wanted)
    page = admin_client.get("/admin/").content.decode()
    assert '<a href="/admin/delivery/delivery/?status__exact=pending">3</a>' in page


def test_the_page_of_a_partner_shows_its_own_traffic(admin_client: Client) -> None:
    subscription = new_subscription("Yotpo")
    count(subscription, timezone.now(), [10] * 33)
    count(new_subscription("Okendo"), timezone.now(), [10] * 44)
    partner = subscription.partner

    page = admin_client.get(change_url(partner)).content.decode()
    part = admin_client.get("/admin/partners/partner/traffic/", {"partner": partner.pk}).content.decode()

    assert ">33</p>" in page
    assert ">33</p>" in part
    assert admin_client.get("/admin/partners/partner/traffic/", {"partner": "ptr_nobody"}).status_code == 404


def test_the_page_reads_a_range_once_while_it_is_fresh(admin_client: Client) -> None:
    subscription = new_subscription("Yotpo")
    count(subscription, timezone.now(), [10] * 5)
    asked = "/admin/partners/partner/traffic/?range=30d"

    admin_client.get(asked)
    count(subscription, timezone.now(), [10] * 5)
    with CaptureQueriesContext(connection) as queries:
        again = admin_client.get(asked).content.decode()

    assert ">5</p>" in again
    assert not any("delivery_rollup" in query["sql"] for query in queries)
    assert ">10</p>" in admin_client.get(f"{asked}&partner={subscription.partner_id}").content.decode()


def test_an_unknown_range_is_the_default_one(admin_client: Client) -> None:
    page = admin_client.get("/admin/", {"range": "<script>"}).content.decode()

    assert "traffic/?range=1h" in page


def test_who_may_not_see_deliveries_sees_no_traffic(client: Client) -> None:
    client.force_login(User.objects.create_user("clerk", is_staff=True))

    assert b"rh-traffic" not in client.get("/admin/").content
    assert client.get("/admin/partners/partner/traffic/").status_code == 403


def test_the_dashboard_costs_the_same_few_queries_whatever_happened() -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            traffic(RANGES["24h"], NOW)
        return len(queries)

    quiet = asked()
    for number in range(12):
        count(new_subscription(f"Partner {number}"), NOW, [10] * 9, failures=3)

    assert asked() <= quiet + 3  # for the names in the rankings
    assert quiet <= 12


def test_a_link_leads_to_the_one_who_stands_out() -> None:
    subscription = new_subscription("Yotpo")
    count(subscription, NOW, [10] * 9, failures=3)
    found: dict[str, Any] = {one.title: one.bars for one in traffic(RANGES["1h"], NOW).lists}

    assert found["Failing partners"][0].address == change_url(subscription.partner)
    assert found["Slowest endpoints (p95)"][0].address == url_of(Subscription, subscription.pk)
