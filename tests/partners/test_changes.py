"""A ChangeListener reports changes, and knows whether it receives them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from django.db import transaction

from partners.changes import EVERYTHING, Change, ChangeListener
from partners.services import create_partner, update_partner
from tests.delivery.broker.waiting import until
from tests.proxy import Proxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]


@pytest.fixture
def heard() -> list[Change]:
    return []


@contextmanager
def listening(on_changes: Callable[[Sequence[Change]], None]) -> Iterator[ChangeListener]:
    listener = ChangeListener(on_changes, longest_silence_s=0.5)
    listener.start()
    assert listener.connected.wait(10)
    yield listener
    listener.stop()


@pytest.fixture
def listener(postgres_wire: Proxy, heard: list[Change]) -> Iterator[ChangeListener]:
    with listening(heard.extend) as listener:
        yield listener


def test_a_change_is_reported(listener: ChangeListener, heard: list[Change]) -> None:
    partner = create_partner("Awesome Reviews")
    until(lambda: Change("partner", partner.pk) in heard, "it is announced")


def test_changes_that_arrive_together_are_told_together_each_once() -> None:
    told: list[Sequence[Change]] = []
    with listening(told.append):
        with transaction.atomic():
            partners = [create_partner(f"Partner {number}") for number in range(3)]
            update_partner(partners[0], {"name": "Another name"})
        until(lambda: len(told) == 2, "they are announced")
    assert told == [[EVERYTHING], [Change("partner", partner.pk) for partner in partners]]


def test_a_change_that_cannot_be_applied_does_not_stop_those_that_came_with_it() -> None:
    applied: list[Change] = []

    def apply(changes: Sequence[Change]) -> None:
        if Change("partner", "ptr_bad") in changes:
            raise ValueError
        applied.extend(changes)

    with listening(apply):
        with transaction.atomic():
            for pk in ("ptr_1", "ptr_bad", "ptr_2"):
                create_partner(pk, pk=pk)
        until(lambda: applied == [EVERYTHING, Change("partner", "ptr_1"), Change("partner", "ptr_2")], "they are told")


def test_a_server_that_has_vanished_without_a_word_is_noticed(
    listener: ChangeListener, postgres_wire: Proxy, heard: list[Change]
) -> None:
    postgres_wire.hold()
    until(lambda: not listener.connected.is_set(), "it receives nothing any more")
    heard.clear()
    postgres_wire.mend()
    assert listener.connected.wait(30)
    assert heard[0] == EVERYTHING, "before it says that it is connected"
