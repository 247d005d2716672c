"""The preview of a subscription's filter and transformation in the admin."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from delivery.models import Delivery, Event
from delivery.operational.kinds import DEAD, KINDS
from partners import services
from partners.admin.base import change_url, list_url
from partners.models import EventType, Subscription
from tests.admin_pages import viewer

pytestmark = pytest.mark.django_db

PREVIEW = "/admin/partners/subscription/preview/"
SAMPLE = "/admin/partners/subscription/sample/"


def preview(client: Client, **draft: str) -> dict[str, Any]:
    draft = {"url": "https://x.example", "event_types": "orders.*", "type": "orders.created", "sample": "{}", **draft}
    answer: dict[str, Any] = client.post(PREVIEW, draft).json()
    return answer


def text(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html).replace("&quot;", '"')


def test_the_body_is_what_a_delivery_would_send(admin_client: Client) -> None:
    answer = preview(
        admin_client,
        transformation='{"omit": ["$.data.email"], "rename": {"$.data.total": "sum"}, "map": "$.data"}',
        sample='{"total": 1.10, "email": "jon@example.com", "id": 12345678901234567890}',
    )

    assert text(answer["body"]) == '{\n  "sum": 1.10,\n  "id": 12345678901234567890\n}'
    assert (answer["verdict"], answer["sent"], answer["problems"]) == ("This is sent.", True, [])


def test_the_headers_are_those_of_a_delivery_without_credentials_and_signature(admin_client: Client) -> None:
    answer = preview(admin_client, headers="X-Shop: 42\nAuthorization: Bearer hunter2\nno header")

    headers = dict(answer["headers"])
    assert headers["X-Shop"] == headers["Authorization"] == "••••••••"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"].startswith("evt_")
    assert "made when it is sent" in headers["webhook-signature"]


@pytest.mark.parametrize(
    ("draft", "verdict"),
    [
        ({"filter": "$.data[?(@.total > 100)]", "sample": '{"total": 5}'}, "The filter leaves this event out"),
        ({"type": "carts.abandoned"}, "The event types do not ask for this event"),
        ({"event_types": ""}, "The event types do not ask for this event"),
    ],
)
def test_what_is_not_sent_says_why_and_shows_its_body_nevertheless(
    admin_client: Client, draft: dict[str, str], verdict: str
) -> None:
    answer = preview(admin_client, **draft)

    assert answer["verdict"].startswith(verdict)
    assert not answer["sent"]
    assert answer["body"]


@pytest.mark.parametrize(
    ("draft", "where", "path"),
    [
        (
            {"transformation": '{"map": {"items": {"$each": "$.data.[", "$to": 1}}}'},
            "transformation",
            "/map/items/$each",
        ),
        ({"transformation": '{"omit": [}'}, "transformation", ""),
        ({"filter": "$.data[?("}, "filter", ""),
        ({"sample": '{"a": 1,}'}, "data", ""),
    ],
)
def test_mistakes_come_back_with_their_place(
    admin_client: Client, draft: dict[str, str], where: str, path: str
) -> None:
    answer = preview(admin_client, **draft)

    assert [(one["where"], one["path"]) for one in answer["problems"]] == [(where, path)]
    assert answer["problems"][0]["message"]
    assert answer["verdict"] == "This cannot be sent."


def test_what_finds_nothing_is_a_hint_and_sent_nevertheless(admin_client: Client) -> None:
    answer = preview(admin_client, transformation='{"omit": ["$.data.emial"]}')

    assert (answer["verdict"], answer["problems"]) == ("This is sent.", [])
    assert [one["path"] for one in answer["hints"]] == ["/omit/0"]


def test_the_body_cannot_bring_html_into_the_page(admin_client: Client) -> None:
    answer = preview(admin_client, sample='{"<b>": "<script>alert(1)</script>"}')

    assert "<script>" not in answer["body"]
    assert "&lt;script&gt;" in answer["body"]


def test_nothing_is_stored_and_nothing_is_sent(admin_client: Client) -> None:
    preview(admin_client)

    assert not Event.objects.exists()
    assert not Delivery.objects.exists()


def test_samples_come_from_the_catalogue(admin_client: Client) -> None:
    EventType.objects.create(name="orders.created", sample='{"n": 1.0}')

    assert admin_client.get(SAMPLE, {"type": "orders.created"}).json() == {"data": '{"n": 1.0}'}
    assert admin_client.get(SAMPLE, {"type": "unknown"}).json() == {"data": '{"test": true}'}


def test_the_page_offers_what_the_subscription_asks_for_first(admin_client: Client) -> None:
    for name in ("carts.abandoned", "orders.created", "orders.fulfilled"):
        EventType.objects.create(name=name, sample="{}" if name == "orders.fulfilled" else "")
    subscription = services.create_subscription(
        services.create_partner("Yotpo"), "https://hooks.example.com", ["orders.*"]
    )

    page = admin_client.get(change_url(subscription)).content.decode()

    assert re.findall(r'<option value="([a-z.]+)">', page) == ["orders.fulfilled", "orders.created", "carts.abandoned"]
    assert "delivery/editor.js" in page


def test_the_page_of_the_operational_subscription_offers_operational_events(admin_client: Client) -> None:
    EventType.objects.create(name="orders.created", sample="{}")
    partner = services.create_partner("Yotpo", operational_url="https://ops.example.com/a")
    own = services.operational_subscription(partner)
    assert own is not None

    page = admin_client.get(change_url(own)).content.decode()

    assert re.findall(r'<option value="([a-z_.]+)">', page) == list(KINDS)
    assert 'data-endpoint="https://ops.example.com/a"' in page
    sample = admin_client.get(SAMPLE, {"type": DEAD}).json()["data"]
    answer = preview(admin_client, event_types="*", type=DEAD, sample=sample, transformation='{"map": "$.data.count"}')
    assert (answer["verdict"], text(answer["body"])) == ("This is sent.", "3")


def test_the_editor_is_on_the_page_of_a_new_subscription_too(admin_client: Client) -> None:
    page = admin_client.get(f"{list_url(Subscription)}add/").content.decode()

    assert 'id="rh-preview"' in page
    assert 'id="id_transformation"' in page


def test_only_staff_who_may_see_subscriptions_ask(client: Client) -> None:
    assert client.post(PREVIEW).status_code == 302
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.post(PREVIEW).status_code == 403
    assert client.get(SAMPLE).status_code == 403

    looking = viewer("view_subscription")
    assert looking.post(PREVIEW).status_code == 200
    assert looking.get(SAMPLE).status_code == 200


def test_a_preview_is_posted_with_a_token(admin_user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)

    assert strict.post(PREVIEW).status_code == 403
    assert strict.get(PREVIEW).status_code == 403
