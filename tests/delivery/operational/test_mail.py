"""Operational events are mailed to each address once, whatever is wrong with other addresses."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any, ClassVar

import pytest
from django.core import mail as outbox
from django.core.mail.backends.locmem import EmailBackend
from pytest_django import Settings

from delivery.models import OperationalEvent
from delivery.operational import mail
from delivery.operational.kinds import BREAKER
from partners.models import Partner, Subscription
from partners.services import create_partner
from tests.delivery.operational.conftest import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.servers, pytest.mark.usefixtures("mailing")]

STAFF = ["ops@recart-hooks.com"]
OWN = "dev@reviews.com"


class Server(EmailBackend):
    """A mail server in memory, which refuses some addresses with given errors."""

    away: ClassVar[Exception | None] = None
    trouble: ClassVar[dict[str, Exception]] = {}
    opened = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_open = False

    def open(self) -> bool:
        if self.away is not None:
            raise self.away
        Server.opened += not self._is_open
        self._is_open = True
        return True

    def close(self) -> None:
        self._is_open = False

    def send_messages(self, messages: Any) -> int:
        for one in messages:
            if error := self.trouble.get(one.to[0]):
                raise error
        return super().send_messages(messages)


@pytest.fixture
def mailing(settings: Settings) -> Iterator[None]:
    settings.EMAIL_HOST = "mail.recart-hooks.com"
    settings.EMAIL_BACKEND = f"{__name__}.Server"
    yield
    Server.away, Server.trouble, Server.opened = None, {}, 0


@pytest.fixture
def partner(subscription: Subscription) -> Partner:
    """A partner with an operational address."""
    return with_address(subscription.partner, OWN)


def with_address(partner: Partner, address: str) -> Partner:
    Partner.objects.filter(pk=partner.pk).update(operational_email=address)
    return Partner.objects.get(pk=partner.pk)


def happened(partner: Partner, key: str = "k", **fields: Any) -> OperationalEvent:
    values = {"kind": BREAKER, "title": "https://hooks.reviews.com seems to be down", "data": "{}", "created_at": NOW}
    return OperationalEvent.objects.create(partner=partner, key=key, **{**values, **fields})


def refused(address: str, code: int) -> Exception:
    return SMTPRecipientsRefused({address: (code, b"no")})


def mails() -> list[str]:
    return sorted(one.to[0] for one in outbox.outbox)


def run_for(minutes: int, staff: list[str]) -> None:
    for minute in range(minutes):
        mail.send_mail(NOW + timedelta(minutes=minute), staff)


def test_what_has_gathered_is_one_message(partner: Partner) -> None:
    happened(partner, "one")
    happened(partner, "two")
    assert mail.send_mail(NOW, STAFF) == 2
    assert mails() == [OWN, *STAFF]
    assert outbox.outbox[0].subject == "[Recart Hooks] 2 notices about your webhooks"
    assert str(outbox.outbox[0].body).count("seems to be down") == 2
    assert Server.opened == 1
    assert mail.send_mail(NOW, STAFF) == 0
    assert Server.opened == 1


def test_a_mail_server_that_is_away_is_tried_again(partner: Partner) -> None:
    Server.away = SMTPServerDisconnected("away")
    event = happened(partner)
    assert mail.send_mail(NOW, []) == 0
    Server.away = None
    assert mail.send_mail(NOW + timedelta(hours=25), []) == 0
    assert mail.send_mail(NOW + timedelta(hours=1), []) == 1
    event.refresh_from_db()
    assert event.emailed_at == NOW + timedelta(hours=1)


def test_without_a_mail_server_nothing_is_sent(partner: Partner, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    happened(partner)
    assert mail.send_mail(NOW, STAFF) == 0
    assert outbox.outbox == []


@pytest.mark.parametrize("address", [OWN, *STAFF])
def test_an_address_that_refuses_for_good_is_given_up_and_costs_the_others_nothing(
    partner: Partner, address: str
) -> None:
    Server.trouble = {address: refused(address, 550)}
    happened(partner)
    run_for(3, STAFF)
    Server.trouble = {}
    run_for(3, STAFF)
    assert mails() == [one for one in (OWN, *STAFF) if one != address]


@pytest.mark.parametrize("error", [refused(OWN, 451), SMTPException("odd"), TimeoutError("slow")], ids=repr)
def test_what_may_be_over_soon_is_tried_again_for_this_address_alone(partner: Partner, error: Exception) -> None:
    Server.trouble = {OWN: error}
    happened(partner)
    run_for(3, STAFF)
    assert mails() == STAFF
    Server.trouble = {}
    run_for(3, STAFF)
    assert mails() == [OWN, *STAFF]


@pytest.mark.parametrize("address", ['"\x0bBcc:victim@example.com\x0bX:"@example.com', '"\x1cSubject:Pay"@example.com'])
def test_an_address_that_was_saved_before_it_was_refused_is_left_out(partner: Partner, address: str) -> None:
    happened(partner, "one")
    happened(with_address(create_partner("Crafty"), address), "two")
    happened(with_address(create_partner("Third"), "third@example.com"), "three")
    run_for(3, [])
    assert mails() == [OWN, "third@example.com"]


def test_a_message_that_cannot_be_made_costs_the_others_nothing(partner: Partner) -> None:
    happened(partner, title="two\nlines")
    happened(with_address(create_partner("Third"), "third@example.com"), "two")
    run_for(3, [])
    assert mails() == ["third@example.com"]


def test_events_without_an_address_are_in_nobodys_way(partner: Partner) -> None:
    silent = create_partner("Silent")
    OperationalEvent.objects.bulk_create(
        OperationalEvent(kind=BREAKER, key=f"s{number}", partner=silent, title="t", data="{}", created_at=NOW)
        for number in range(mail.AT_MOST)
    )
    happened(partner, created_at=NOW + timedelta(seconds=1))
    run_for(2, [])
    assert mails() == [OWN]


def test_what_an_earlier_release_has_sent_is_not_sent_again(partner: Partner) -> None:
    happened(partner, emailed_at=NOW)
    assert mail.send_mail(NOW, STAFF) == 0


def test_a_run_ends_in_time_and_the_next_goes_on(partner: Partner) -> None:
    happened(partner)
    seconds = count(step=mail.BUDGET_S * 0.75)
    assert mail.send_mail(NOW, STAFF, lambda: next(seconds)) == 1
    assert mail.send_mail(NOW, STAFF) == 1
    assert mails() == [OWN, *STAFF]
