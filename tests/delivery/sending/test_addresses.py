"""Forbidden addresses are never connected to: each attempt checks the address that it connects to."""

import threading
from ipaddress import ip_address, ip_network

import pycurl
import pytest

from delivery.outcomes import ErrorClass
from delivery.sending import Request
from delivery.sending.answers import Answer
from delivery.sending.curl_handles import Handle, Origin
from delivery.sending.failures import Failure
from delivery.sending.request import DEFAULT_KEEP, Keep
from partners.addresses import Address, AddressPolicy
from partners.endpoints import read_url
from tests.delivery.sending.conftest import MakeSender, Names
from tests.receiver import Receiver
from tests.ssrf_corpus import REFUSED_URLS, SPECIAL_ADDRESSES

STRICT = AddressPolicy()
ONLY_SECOND = AddressPolicy(allow=[ip_network("127.0.0.2/32")])


def to_loopback(host: str, timeout_s: float) -> tuple[Address, ...]:
    """The addresses that the owner of a name can return."""
    return (ip_address("127.0.0.1"),)


def test_no_address_of_the_corpus_is_connected_to(make_sender: MakeSender) -> None:
    """Neither as addresses nor through names. A connection would be REFUSED here, or time out."""
    sender = make_sender(STRICT, to_loopback)
    outcomes = {url: sender.send(Request(url, {}, b"{}", timeout_s=2)) for url in REFUSED_URLS}
    assert {url: outcome for url, outcome in outcomes.items() if outcome.error is not ErrorClass.BLOCKED} == {}


@pytest.mark.parametrize("port", [80, 443, 8080])
def test_a_name_for_a_special_address_is_blocked(make_sender: MakeSender, port: int) -> None:
    sender = make_sender(STRICT, Names(hooks_example_com=list(SPECIAL_ADDRESSES)))
    for address in SPECIAL_ADDRESSES:
        outcome = sender.send(Request(f"http://hooks.example.com:{port}/", {}, b"{}", timeout_s=2))
        assert outcome.error is ErrorClass.BLOCKED
        assert f"the address {ip_address(address)} is not a public one" in outcome.detail


def test_a_blocked_request_does_not_reveal_what_listens_there(make_sender: MakeSender, receiver: Receiver) -> None:
    sender = make_sender(STRICT, to_loopback)
    for host in ("127.0.0.1", "hooks.example.com"):
        outcome = sender.send(Request(receiver.url("/ok", host=host), {}, b"{}"))
        assert (outcome.error, outcome.status_code) == (ErrorClass.BLOCKED, None)
        assert (outcome.response_excerpt, outcome.response_headers) == ("", {})
    assert receiver.connections == 0


def test_a_redirect_to_a_special_address_is_not_followed(make_sender: MakeSender) -> None:
    with second_address() as endpoint, Receiver() as inner:
        sender = make_sender(ONLY_SECOND)
        for status in (301, 302, 303, 307, 308):
            target = endpoint.url(f"/redirect?status={status}&to={inner.url('/ok')}")
            assert sender.send(Request(target, {}, b"{}")).error is ErrorClass.REDIRECT
        assert inner.connections == 0


def test_a_name_that_changes_its_address_after_the_check_is_blocked(make_sender: MakeSender) -> None:
    """DNS rebinding: each look-up is checked, and the checked address is the one that is connected to."""
    with second_address() as endpoint, Receiver(port=endpoint.port) as inner:
        names = Names(rebind_example_com=["127.0.0.2", "127.0.0.1", "127.0.0.2", "127.0.0.1"])
        sender = make_sender(ONLY_SECOND, names, keep=Keep(age_s=0))
        request = Request(endpoint.url("/ok", host="rebind.example.com"), {}, b"{}")
        errors = [sender.send(request).error for _ in range(4)]
        assert errors == [None, ErrorClass.BLOCKED, None, ErrorClass.BLOCKED]
        assert (len(endpoint.requests), inner.connections) == (2, 0)


def test_a_name_is_looked_up_once_per_connection(make_sender: MakeSender) -> None:
    """No second look-up between the check and the connection can return another address."""
    with second_address() as endpoint:
        names = Names(rebind_example_com=["127.0.0.2"])
        sender = make_sender(ONLY_SECOND, names, keep=Keep(age_s=0))
        for sent in range(1, 4):
            assert sender.send(Request(endpoint.url("/ok", host="rebind.example.com"), {}, b"{}")).succeeded
            assert names.asked == ["rebind.example.com"] * sent


def test_a_kept_connection_that_broke_is_not_replaced_by_one_to_a_new_address_unchecked(
    make_sender: MakeSender,
) -> None:
    with second_address() as endpoint, Receiver(port=endpoint.port) as inner:
        names = Names(rebind_example_com=["127.0.0.2", "127.0.0.1"])
        sender = make_sender(ONLY_SECOND, names)
        request = Request(endpoint.url("/ok", host="rebind.example.com"), {}, b"{}")
        assert sender.send(request).succeeded
        endpoint.drop_connections()
        assert sender.send(request).error in {None, ErrorClass.BLOCKED}
        assert inner.connections == 0


def test_of_several_addresses_only_the_permitted_ones_are_tried(make_sender: MakeSender) -> None:
    with second_address() as endpoint, Receiver(port=endpoint.port) as inner:
        names = Names(mixed_example_com=["127.0.0.1 10.0.0.1 127.0.0.2 169.254.169.254"])
        sender = make_sender(ONLY_SECOND, names)
        assert sender.send(Request(endpoint.url("/ok", host="mixed.example.com"), {}, b"{}")).succeeded
        assert inner.connections == 0


def test_another_hosts_connection_is_not_borrowed(make_sender: MakeSender) -> None:
    """A handle or pool that was used for one endpoint must not be used for another without a check."""
    with second_address() as endpoint, Receiver() as inner:
        names = Names(good_example_com=["127.0.0.2"], evil_example_com=["127.0.0.1"], localhost=["127.0.0.1"])
        sender = make_sender(ONLY_SECOND, names, keep=Keep(connections=1))
        for host in ("evil.example.com", "127.0.0.1", "localhost"):
            assert sender.send(Request(endpoint.url("/ok", host="good.example.com"), {}, b"{}")).succeeded
            assert sender.send(Request(inner.url("/ok", host=host), {}, b"{}")).error is ErrorClass.BLOCKED
        assert inner.connections == 0


def test_the_services_own_addresses_are_blocked_even_where_loopback_is_open(make_sender: MakeSender) -> None:
    policy = AddressPolicy(allow=[ip_network("127.0.0.0/8")], deny=[ip_network("127.0.0.1/32")])
    with Receiver() as own:
        outcome = make_sender(policy).send(Request(own.url("/ok"), {}, b"{}"))
        assert outcome.error is ErrorClass.BLOCKED
        assert "closed to endpoints by the operator" in outcome.detail
        assert own.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "hooks.example.com"])
def test_the_socket_callback_refuses_addresses_as_well(receiver: Receiver, host: str) -> None:
    """Even a handle that was given a forbidden address opens no socket to it."""
    endpoint = read_url(receiver.url("/ok", host=host))
    origin, handle, answer = Origin(), Handle("", STRICT, DEFAULT_KEEP, lambda *_, **__: None), Answer()
    origin.aim(endpoint, (ip_address("127.0.0.1"),))
    request = Request(endpoint.url, {}, b"", connect_timeout_s=2, timeout_s=2)
    handle.set_up(request, endpoint.url, {}, answer, origin, is_new=True)
    with pytest.raises(pycurl.error) as stopped:
        handle.curl.perform()
    with pytest.raises(Failure) as refused:
        handle.ending(stopped.value.args)
    assert refused.value.error is ErrorClass.BLOCKED
    assert receiver.connections == 0
    handle.close()


def test_an_environment_full_of_threads_blocks_and_sends_the_right_ones(make_sender: MakeSender) -> None:
    with second_address() as endpoint, Receiver() as inner:
        sender = make_sender(ONLY_SECOND)
        wrong: list[object] = []

        def send_both() -> None:
            for _ in range(15):
                good = sender.send(Request(endpoint.url("/ok"), {}, b"{}"))
                bad = sender.send(Request(inner.url("/ok"), {}, b"{}"))
                if not good.succeeded or bad.error is not ErrorClass.BLOCKED:
                    wrong.append((good, bad))

        threads = [threading.Thread(target=send_both) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert inner.connections == 0


class second_address:  # noqa: N801 - reads as the statement it is
    """A receiver on 127.0.0.2, an address to allow while 127.0.0.1 is forbidden."""

    def __enter__(self) -> Receiver:
        try:
            self._receiver = Receiver(host="127.0.0.2")
        except OSError:
            pytest.skip("only Linux has all of 127.0.0.0/8")
        return self._receiver

    def __exit__(self, *_: object) -> None:
        self._receiver.close()
