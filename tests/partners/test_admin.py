"""The admin pages of partners, subscriptions and event types, against the real database."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from partners import audit, services
from partners.admin.base import change_url, list_url
from partners.models import FOREVER, AuditEntry, EventType, Partner, Subscription
from tests.admin_pages import DIALOG, assert_staff_see, assert_strangers_log_in, dialog_url, viewer

pytestmark = pytest.mark.django_db

SECRET = re.compile(rb"whsec_[A-Za-z0-9+/=]+")


def new_partner(name: str = "Yotpo", **fields: Any) -> Partner:
    return services.create_partner(name, **fields)


def new_subscription(partner: Partner | None = None, **fields: Any) -> Subscription:
    fields = {"url": "https://hooks.example.com/recart", "event_types": ["orders.*"], **fields}
    return services.create_subscription(partner or new_partner(), **fields)


def every_page() -> list[str]:
    objects = [new_subscription(), Partner.objects.get(), EventType.objects.create(name="orders.created")]
    pages = []
    for obj in objects:
        listed = list_url(type(obj))
        pages += [listed, f"{listed}add/", change_url(obj), change_url(obj).replace("/change/", "/history/")]
    return [*pages, "/admin/"]


def test_every_page_opens_for_staff(admin_client: Client) -> None:
    assert_staff_see(admin_client, every_page())


def test_every_page_refuses_strangers(client: Client) -> None:
    assert_strangers_log_in(client, every_page())


def test_a_partner_is_paused_until_somebody_resumes(admin_client: Client) -> None:
    partner = new_partner()

    answer = admin_client.post(dialog_url(partner, "pause"), {**DIALOG, "length": "", "until": ""})

    partner.refresh_from_db()
    assert partner.paused_until == FOREVER
    assert answer["HX-Redirect"] == change_url(partner)
    assert LogEntry.objects.get().change_message == "Paused until somebody resumes."


def test_a_partner_is_paused_for_an_hour(admin_client: Client) -> None:
    partner = new_partner()

    admin_client.post(dialog_url(partner, "pause"), {**DIALOG, "length": "3600", "until": ""})

    partner.refresh_from_db()
    assert partner.paused_until is not None
    assert abs(partner.paused_until - timezone.now() - timedelta(hours=1)) < timedelta(seconds=30)


def test_a_pause_until_a_past_time_is_refused(admin_client: Client) -> None:
    partner = new_partner()

    answer = admin_client.post(dialog_url(partner, "pause"), {**DIALOG, "length": "", "until": "2020-01-01T10:00"})

    partner.refresh_from_db()
    assert partner.paused_until is None
    assert b"This time is in the past." in answer.content


def test_resuming_ends_the_pause(admin_client: Client) -> None:
    partner = new_partner(paused_until=FOREVER)

    admin_client.post(dialog_url(partner, "resume"), DIALOG)

    partner.refresh_from_db()
    assert partner.paused_until is None


def test_only_the_action_that_changes_something_is_offered(admin_client: Client) -> None:
    active, paused = new_partner(), new_partner("Okendo", paused_until=FOREVER)

    on_active = admin_client.get(change_url(active)).content
    on_paused = admin_client.get(change_url(paused)).content

    assert (b"/pause/" in on_active, b"/resume/" in on_active) == (True, False)
    assert (b"/pause/" in on_paused, b"/resume/" in on_paused) == (False, True)


def test_partners_are_paused_and_resumed_in_bulk(admin_client: Client) -> None:
    partners = [new_partner(), new_partner("Okendo")]
    chosen = {"_selected_action": [partner.pk for partner in partners]}

    admin_client.post(list_url(Partner), {**chosen, "action": "pause_selected"})
    assert Partner.objects.filter(paused_until=FOREVER).count() == 2

    admin_client.post(list_url(Partner), {**chosen, "action": "resume_selected"})
    assert Partner.objects.filter(paused_until=None).count() == 2
    assert LogEntry.objects.count() == 4


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_opening_a_dialog_changes_nothing(admin_client: Client, action: str) -> None:
    partner = new_partner(paused_until=FOREVER if action == "resume" else None)

    assert admin_client.get(dialog_url(partner, action)).status_code == 200

    before = partner.paused_until
    partner.refresh_from_db()
    assert partner.paused_until == before


def test_view_only_staff_cannot_act(db: None) -> None:
    subscription = new_subscription()
    client = viewer("view_partner", "view_subscription")

    for obj, action in [(subscription.partner, "pause"), (subscription, "disable"), (subscription, "rotate_secret")]:
        assert client.get(change_url(obj)).status_code == 200
        assert client.post(dialog_url(obj, action), DIALOG).status_code == 403
    assert Subscription.objects.get().is_enabled


def test_a_partner_is_found_by_name_and_by_id(admin_client: Client) -> None:
    partner, other = new_partner("Yotpo"), new_partner("Okendo")

    for term in ("yot", partner.pk[:30], partner.pk):
        found = admin_client.get(list_url(Partner, q=term)).content.decode()
        assert partner.name in found, term
    assert other.name not in admin_client.get(list_url(Partner, q="yot")).content.decode()


def test_paused_partners_are_filtered(admin_client: Client) -> None:
    new_partner("Yotpo", paused_until=timezone.now() + timedelta(hours=1))
    new_partner("Okendo", paused_until=timezone.now() - timedelta(hours=1))

    shown = admin_client.get(list_url(Partner, state="paused")).content.decode()

    assert "Yotpo" in shown
    assert "Okendo" not in shown


def test_a_partner_with_subscriptions_cannot_be_deleted(admin_client: Client) -> None:
    used, unused = new_subscription().partner, new_partner("Okendo")

    assert admin_client.post(f"{change_url(used).removesuffix('change/')}delete/", {"post": "yes"}).status_code == 403
    admin_client.post(f"{change_url(unused).removesuffix('change/')}delete/", {"post": "yes"})

    assert list(Partner.objects.all()) == [used]


def test_saving_a_partner_leaves_a_pause_made_meanwhile(admin_client: Client) -> None:
    partner = new_partner(rate_limit="5/s")
    form = {"name": partner.name, "rate_limit": "9/s", "rate_limit_ceiling": "", "max_in_flight": "16"}
    form |= {"operational_url": "", "operational_email": "", "notes": ""}
    services.pause_partner(Partner.objects.get())

    admin_client.post(change_url(partner), form)

    partner.refresh_from_db()
    assert (partner.rate_limit, partner.paused_until) == ("9/s", FOREVER)


def test_the_forms_have_the_defaults_of_the_settings(admin_client: Client, settings: Any) -> None:
    settings.DEFAULT_MAX_IN_FLIGHT, settings.DELIVERY_TIMEOUT_S = 33, 7.5

    for model, given in (
        (Partner, {"name": "Okendo"}),
        (Subscription, {"partner": new_partner().pk, "url": "https://hooks.example.com/", "event_types": "orders.*"}),
    ):
        page = f"{list_url(model)}add/"
        form = admin_client.get(page).context["adminform"].form
        shown = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
        assert (
            admin_client.post(page, {name: value for name, value in shown.items() if value} | given).status_code == 302
        )

    assert Partner.objects.get(name="Okendo").max_in_flight == 33
    assert Subscription.objects.get().timeout_s == 7.5


def test_an_address_that_would_end_a_header_is_refused(admin_client: Client) -> None:
    partner = new_partner()
    form = {"name": partner.name, "rate_limit": "", "rate_limit_ceiling": "", "max_in_flight": "16"}
    form |= {"operational_url": "", "operational_email": '"\x0bBcc:a@example.com\x0bX:"@example.com', "notes": ""}

    assert "without quotes and control characters" in admin_client.post(change_url(partner), form).content.decode()
    assert Partner.objects.get().operational_email == ""


def subscription_form(**changes: str) -> dict[str, str]:
    form = {"description": "", "url": "https://hooks.example.com/recart", "event_types": "orders.*", "filter": ""}
    return {**form, "transformation": "", "headers": "", "retry_schedule_s": "", "timeout_s": "15", **changes}


def test_a_subscription_is_written_in_words_and_lines(admin_client: Client) -> None:
    partner = new_partner()

    admin_client.post(
        f"{list_url(Subscription)}add/",
        subscription_form(
            partner=partner.pk,
            event_types="orders.created, carts.*\nmessages.clicked",
            headers="X-Shop: 42\nX-Note: a: b",
            retry_schedule_s="5, 30s, 5m, 2h",
        ),
    )

    subscription = Subscription.objects.get()
    assert subscription.event_types == ["orders.created", "carts.*", "messages.clicked"]
    assert subscription.headers == {"X-Shop": "42", "X-Note": "a: b"}
    assert subscription.retry_schedule_s == [5, 30, 300, 7200]
    assert len(services.reveal_secrets(subscription)) == 1


@pytest.mark.parametrize(
    ("field", "written", "told"),
    [
        ("event_types", "orders.*.created", "a star stands alone or after the last dot"),
        ("headers", "no colon", "line 1: write a name, a colon and a value"),
        ("headers", "X-A: 1\nX-A: 2", "line 2: the header &#x27;X-A&#x27; is given twice"),
        ("headers", "webhook-id: 7", "is set by us"),
        ("retry_schedule_s", "5s, soon", "&#x27;soon&#x27; is not a delay"),
        ("retry_schedule_s", "0", "every delay must be between"),
        ("timeout_s", "99", "less than or equal to 30"),
    ],
)
def test_an_error_is_shown_beside_its_field(admin_client: Client, field: str, written: str, told: str) -> None:
    subscription = new_subscription()

    answer = admin_client.post(change_url(subscription), subscription_form(**{field: written}))

    assert answer.status_code == 200
    assert told in answer.content.decode()
    before = getattr(subscription, field)
    subscription.refresh_from_db()
    assert getattr(subscription, field) == before


def test_credentials_in_headers_are_masked_and_kept(admin_client: Client) -> None:
    subscription = new_subscription(headers={"Authorization": "Bearer hunter2", "X-Shop": "42"})

    page = admin_client.get(change_url(subscription)).content.decode()
    masked = "Authorization: ••••••••"
    admin_client.post(
        change_url(subscription), subscription_form(headers=f"{masked}\nX-Shop: 43", url="https://b.example.com")
    )

    assert masked in page
    assert "hunter2" not in page
    assert "X-Shop: ••••••••" in page
    subscription.refresh_from_db()
    assert subscription.headers == {"Authorization": "Bearer hunter2", "X-Shop": "43"}


def test_rotating_shows_the_new_secret_and_the_overlap(admin_client: Client) -> None:
    subscription = new_subscription()
    (old,) = services.reveal_secrets(subscription)

    asked = admin_client.get(dialog_url(subscription, "rotate_secret"))
    answer = admin_client.post(dialog_url(subscription, "rotate_secret"), DIALOG)

    new, kept = services.reveal_secrets(subscription)
    assert b"signs them too for\n  24 h" in asked.content
    assert SECRET.findall(answer.content) == [new.encode()]
    assert "no-store" in answer["Cache-Control"]
    assert kept == old
    assert LogEntry.objects.get().change_message == "Rotated the signing secret."


def test_revealing_is_written_into_the_history(admin_client: Client) -> None:
    subscription = new_subscription()

    answer = admin_client.post(dialog_url(subscription, "reveal_secrets"), DIALOG)

    assert SECRET.findall(answer.content) == [services.reveal_secrets(subscription)[0].encode()]
    assert LogEntry.objects.get().change_message == "Revealed the signing secrets."


def test_no_page_contains_a_secret(admin_client: Client) -> None:
    pages = every_page()
    subscription = Subscription.objects.get()
    services.update_subscription(subscription, {"headers": {"X-Api-Key": "hunter2"}})
    admin_client.post(dialog_url(subscription, "rotate_secret"), DIALOG)
    tokens = [secret.token.encode() for secret in subscription.secrets.all()]
    services.delete_subscription(new_subscription(subscription.partner, headers={"Cookie": "hunter2"}))
    deleted = Subscription.objects.exclude(deleted_at=None).get()

    for page in [*pages, change_url(deleted), list_url(Subscription, state="deleted")]:
        content = admin_client.get(page).content
        assert not SECRET.search(content), page
        assert b"hunter2" not in content, page
        assert not any(token in content for token in tokens), page


def test_disabling_and_enabling(admin_client: Client) -> None:
    subscription = new_subscription()

    admin_client.post(dialog_url(subscription, "disable"), DIALOG)
    subscription.refresh_from_db()
    assert (subscription.is_enabled, subscription.disabled_reason) == (False, "staff")

    admin_client.post(dialog_url(subscription, "enable"), DIALOG)
    subscription.refresh_from_db()
    assert subscription.is_enabled


def test_a_deleted_subscription_is_marked_and_read_only(admin_client: Client) -> None:
    subscription = new_subscription()

    admin_client.post(dialog_url(subscription, "delete"), DIALOG)

    page = admin_client.get(change_url(subscription)).content.decode()
    assert "Deleted" in page
    assert "/enable/" not in page
    assert admin_client.post(change_url(subscription), subscription_form(url="https://x.example")).status_code == 403
    assert admin_client.post(dialog_url(subscription, "enable"), DIALOG).status_code == 404
    subscription.refresh_from_db()
    assert (subscription.url, subscription.is_enabled) == ("https://hooks.example.com/recart", False)


def test_deleted_subscriptions_are_left_out_of_the_list_until_asked_for(admin_client: Client) -> None:
    subscription = new_subscription(description="Gone feed")
    services.delete_subscription(subscription)

    assert b"Gone feed" not in admin_client.get(list_url(Subscription)).content
    assert b"Gone feed" in admin_client.get(list_url(Subscription, state="deleted")).content


def test_subscriptions_are_enabled_and_disabled_in_bulk(admin_client: Client) -> None:
    partner = new_partner()
    subscriptions = [new_subscription(partner), new_subscription(partner)]
    chosen = {"_selected_action": [one.pk for one in subscriptions]}

    admin_client.post(list_url(Subscription), {**chosen, "action": "disable_selected"})
    assert Subscription.objects.filter(is_enabled=False).count() == 2

    admin_client.post(list_url(Subscription), {**chosen, "action": "enable_selected"})
    assert Subscription.objects.filter(is_enabled=True).count() == 2


def test_an_event_type_shows_the_number_of_its_subscribers(admin_client: Client) -> None:
    partner = new_partner()
    for patterns in (["orders.*", "orders.created"], ["*"], ["carts.*"]):
        new_subscription(partner, event_types=patterns)
    services.disable_subscription(new_subscription(partner, event_types=["orders.created"]), "staff")
    EventType.objects.create(name="orders.created")

    page = admin_client.get(list_url(EventType)).content.decode()

    assert re.search(r"field-subscribers[^>]*>\s*2\s*<", page)


def test_types_that_were_seen_but_not_catalogued_are_found_and_added(admin_client: Client) -> None:
    EventType.objects.create(name="orders.created")
    EventType.objects.create(name="loyalty.earned", is_catalogued=False)

    page = admin_client.get(list_url(EventType, state="seen")).content
    admin_client.post(list_url(EventType), {"_selected_action": "loyalty.earned", "action": "catalogue_selected"})

    assert b"loyalty.earned" in page
    assert b"orders.created" not in page
    assert EventType.objects.get(name="loyalty.earned").is_catalogued


def test_event_types_are_filtered_by_category(admin_client: Client) -> None:
    for name in ("orders.created", "orders", "ordersbook.x", "carts.abandoned"):
        EventType.objects.create(name=name)

    page = admin_client.get(list_url(EventType, category="orders")).content.decode()

    shown = set(re.findall(r"eventtype/([a-z.]+)/change", page))
    assert shown == {"orders", "orders.created"}


def test_a_schema_and_a_sample_must_be_json(admin_client: Client) -> None:
    form = {"name": "orders.created", "sample": '{"a": 1,}', "schema": "", "on_schema_error": "flag", "version": "1"}

    answer = admin_client.post(f"{list_url(EventType)}add/", form)

    assert "not JSON" in answer.content.decode()
    assert not EventType.objects.exists()


def event_type_form(**changes: str) -> dict[str, str]:
    form = {"name": "orders.created", "description": "", "sample": "", "schema": ""}
    return {**form, "on_schema_error": "flag", "version": "1", "is_catalogued": "on", **changes}


def test_a_sample_must_match_its_schema(admin_client: Client) -> None:
    schema = '{"type": "object", "required": ["id"]}'
    add = f"{list_url(EventType)}add/"

    refused = admin_client.post(add, event_type_form(schema=schema, sample='{"number": 1}')).content.decode()
    assert "It breaks the schema" in refused
    assert not EventType.objects.exists()

    admin_client.post(add, event_type_form(schema=schema, sample='{"id": 1.0}'))
    assert EventType.objects.get().sample == '{"id": 1.0}'


def test_an_invalid_schema_is_refused_beside_its_field(admin_client: Client) -> None:
    form = event_type_form(schema='{"type": "text"}', sample="{}")

    assert "/type" in admin_client.post(f"{list_url(EventType)}add/", form).content.decode()
    assert not EventType.objects.exists()


def test_the_name_of_an_event_type_cannot_be_changed(admin_client: Client) -> None:
    event_type = EventType.objects.create(name="orders.created")

    admin_client.post(change_url(event_type), event_type_form(name="orders.made", description="New."))

    assert list(EventType.objects.values_list("name", "description")) == [("orders.created", "New.")]


def test_what_staff_change_is_in_the_audit_log(admin_client: Client) -> None:
    partner = new_partner(rate_limit="5/s")
    form = {"name": partner.name, "rate_limit": "9/s", "rate_limit_ceiling": "", "max_in_flight": "16"}
    form |= {"operational_url": "", "operational_email": "", "notes": ""}
    AuditEntry.objects.all().delete()

    admin_client.post(change_url(partner), form)
    admin_client.post(f"{list_url(EventType)}add/", event_type_form())
    admin_client.post(change_url(EventType.objects.get()), event_type_form(description="New."))
    admin_client.post(change_url(EventType.objects.get()).replace("/change/", "/delete/"), {"post": "yes"})
    admin_client.post(change_url(partner).replace("/change/", "/delete/"), {"post": "yes"})

    entries = list(AuditEntry.objects.order_by("id"))
    actions = ["partner.update", "event_type.create", "event_type.update", "event_type.delete", "partner.delete"]
    assert [entry.action for entry in entries] == actions
    assert {entry.actor_name for entry in entries} == {"admin"}
    assert (entries[0].before, entries[0].after) == ({"rate_limit": "5/s"}, {"rate_limit": "9/s"})
    assert (entries[2].before, entries[2].after) == ({"description": ""}, {"description": "New."})


def test_the_audit_log_is_shown_and_read_only(admin_client: Client) -> None:
    partner = new_partner(rate_limit="5/s")
    services.update_partner(partner, {"rate_limit": "9/s"})
    entry = AuditEntry.objects.get(action="partner.update")

    listed, page = admin_client.get(list_url(AuditEntry)), admin_client.get(change_url(entry))
    found = admin_client.get(list_url(AuditEntry, q=partner.pk[:20]))

    assert b"partner.update" in listed.content
    assert b"partner.update" in found.content
    assert b"5/s" in page.content
    assert b"9/s" in page.content
    assert admin_client.post(change_url(entry), {"action": "x"}).status_code == 403
    assert admin_client.get(f"{list_url(AuditEntry)}add/").status_code == 403


def test_the_audit_log_tells_a_key_from_a_person(admin_client: Client) -> None:
    partner = new_partner()
    with audit.acting(audit.Actor(audit.KINDS.KEY, "key_1", "admin")):
        services.update_partner(partner, {"rate_limit": "9/s"})
    entry = AuditEntry.objects.get(action="partner.update")

    for page in (list_url(AuditEntry, who="key"), change_url(entry)):
        assert b"API key admin" in admin_client.get(page).content


def test_the_help_of_the_cap_is_about_places(admin_client: Client) -> None:
    assert b"holds at most this many of the workers' places" in admin_client.get(change_url(new_partner())).content


def test_the_number_of_queries_does_not_grow_with_the_rows(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        partner = new_partner(f"Partner {number}")
        new_subscription(partner)
        EventType.objects.create(name=f"orders.type{number}")

    for model, budget in ((Partner, 5), (Subscription, 5), (EventType, 7)):
        with django_assert_max_num_queries(budget):
            assert b"12 " in admin_client.get(list_url(model)).content
    with django_assert_max_num_queries(20):
        admin_client.get(change_url(partner))
