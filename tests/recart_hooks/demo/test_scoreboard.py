import pytest

from recart_hooks.demo.partners import PARTNERS
from recart_hooks.demo.receiver import Arrival
from recart_hooks.demo.scoreboard import Scoreboard
from recart_hooks.demo.shop import ShopEvent
from tests.clocks import Clock

REVIEWS, LLAMA = PARTNERS
ORDER = ShopEvent("evt_1", "orders.paid", b'{"id":1.50,"shipping_address":{}}', "#1001")
CART = ShopEvent("evt_2", "carts.abandoned", b'{"token":"c"}', "#1002")
WHOLE = b'{"id":"evt_1","data":{"id":1.50,"shipping_address":{}}}'
REDUCED = b'{"id":"evt_1","data":{"id":1.50}}'


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(said: list[str], clock: Clock) -> Scoreboard:
    return Scoreboard(said.append, now=clock)


def to_llama(status: int = 204, try_number: int = 1, body: bytes = WHOLE, is_verified: bool = True) -> Arrival:
    return Arrival(LLAMA, "evt_1", body, is_verified, status, try_number)


def to_reviews(body: bytes = REDUCED) -> Arrival:
    return Arrival(REVIEWS, "evt_1", body, True, 204, 1)


def test_an_event_is_delivered_when_all_who_wanted_it_have_it(board: Scoreboard, said: list[str], clock: Clock) -> None:
    board.publish(ORDER)
    clock.now += 0.02
    board.arrive(to_llama())
    assert board.delivered == 0
    assert board.missing() == ["evt_1 (orders.paid) has not arrived at Awesome Reviews"]

    board.arrive(to_reviews())

    assert board.delivered == 1
    assert said == ["orders.paid        #1001                     Loyal Llama ✓ 20 ms   Awesome Reviews ✓ 20 ms"]


def test_a_partner_that_did_not_ask_for_an_event_is_not_waited_for(board: Scoreboard) -> None:
    board.publish(CART)

    assert board.missing() == ["evt_2 (carts.abandoned) has not arrived at Loyal Llama"]


def test_a_retry_is_shown_and_counted(board: Scoreboard, said: list[str], clock: Clock) -> None:
    board.publish(ORDER, [LLAMA])
    board.arrive(to_llama(status=503))
    clock.now += 2.1
    board.arrive(to_llama(try_number=2))

    assert board.retried == 1
    assert [line.split("   ")[-1].strip() for line in said] == [
        "Loyal Llama ✗ has a bad moment (503)",
        "Loyal Llama ✓ try 2, 2.1 s",
    ]


def test_a_wrong_signature_is_a_complaint_and_no_delivery(board: Scoreboard) -> None:
    board.publish(ORDER, [LLAMA])

    board.arrive(to_llama(status=401, is_verified=False))

    assert board.wrong == ["Loyal Llama: the signature of evt_1 is wrong"]
    assert board.delivered == 0


def test_a_body_that_was_spelled_differently_is_a_complaint(board: Scoreboard) -> None:
    board.publish(ORDER, [LLAMA])

    board.arrive(to_llama(body=WHOLE.replace(b"1.50", b"1.5")))

    assert board.wrong == ["Loyal Llama: evt_1: the data is not what was published, byte for byte"]


def test_a_field_that_should_have_been_left_out_is_a_complaint(board: Scoreboard) -> None:
    board.publish(ORDER, [REVIEWS])

    board.arrive(to_reviews(WHOLE))

    assert board.wrong == ["Awesome Reviews: evt_1: the data is not what the transformation makes"]


def test_a_second_arrival_changes_nothing(board: Scoreboard) -> None:
    board.publish(ORDER, [LLAMA])
    board.arrive(to_llama())

    board.arrive(to_llama(try_number=2))

    assert (board.delivered, board.arrived, board.retried) == (1, 1, 0)


def test_the_smoke_test_hears_of_what_is_wrong_only(said: list[str]) -> None:
    board = Scoreboard(said.append, is_quiet=True)
    board.publish(ORDER, [LLAMA])
    board.arrive(to_llama(status=503))
    board.arrive(to_llama(try_number=2))
    board.arrive(to_llama(is_verified=False))

    assert said == ["Loyal Llama: the signature of evt_1 is wrong"]
