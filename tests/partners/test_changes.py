"""A ChangeListener reports changes, and knows whether it receives them."""

from collections.abc import Iterator

import pytest

from partners.changes import EVERYTHING, Change, ChangeListener
from partners.services import create_partner
from tests.delivery.broker.waiting import until
from tests.proxy import Proxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]


@pytest.fixture
def heard() -> list[Change]:
    return []


@pytest.fixture
def listener(postgres_wire: Proxy, heard: list[Change]) -> Iterator[ChangeListener]:
    listener = ChangeListener(heard.append, longest_silence_s=0.5)
    listener.start()
    assert listener.connected.wait(10)
    yield listener
    listener.stop()


def test_a_change_is_reported(listener: ChangeListener, heard: list[Change]) -> None:
    partner = create_partner("Awesome Reviews")
    until(lambda: Change("partner", partner.pk) in heard, "it is announced")


def test_a_server_that_has_vanished_without_a_word_is_noticed(
    listener: ChangeListener, postgres_wire: Proxy, heard: list[Change]
) -> None:
    postgres_wire.hold()
    until(lambda: not listener.connected.is_set(), "it receives nothing any more")
    heard.clear()
    postgres_wire.mend()
    assert listener.connected.wait(30)
    assert heard[0] == EVERYTHING, "before it says that it is connected"
