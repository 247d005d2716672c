"""Which addresses an endpoint may have."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests_hardened.ip_filter import InvalidIPAddress, get_ip_address

from partners.addresses import AddressPolicy, special_kind
from tests.ssrf_corpus import SPECIAL_ADDRESSES

PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "192.0.1.1", "11.0.0.1", "223.255.255.255"]
PUBLIC += ["2a00:1450:4001:81b::200e", "2606:4700::1111", "2400:cb00::1", "2001:200::1", "2003::1"]


@pytest.mark.parametrize("address", SPECIAL_ADDRESSES)
def test_special_addresses_are_refused_with_a_reason(address: str) -> None:
    assert AddressPolicy().refusal(ip_address(address), 443) is not None
    assert special_kind(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_taken(address: str) -> None:
    assert AddressPolicy().refusal(ip_address(address), 443) is None


def test_a_zone_is_refused_on_any_address() -> None:
    assert AddressPolicy().refusal(IPv6Address("2606:4700::1111%eth0"), 443) is not None


@given(st.ip_addresses())
def test_what_requests_hardened_refuses_we_refuse_too(address: IPv4Address | IPv6Address) -> None:
    try:
        get_ip_address(str(address), 443, allow_loopback=False)
    except InvalidIPAddress:
        assert special_kind(address) is not None


@given(st.ip_addresses())
def test_what_python_calls_private_we_refuse(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local:
        assert special_kind(address) is not None


@given(st.ip_addresses(v=4))
def test_no_ipv6_form_of_an_ipv4_address_is_taken(inner: IPv4Address) -> None:
    value = int(inner)
    wrapped = [value, 0xFFFF << 32 | value, 0xFFFF << 48 | value, 0x64FF9B << 96 | value, 0x64FF9B0001 << 80 | value]
    wrapped += [0x2002 << 112 | value << 80 | 1, 0x20010000 << 96 | value, 0x2A00 << 112 | 0x5EFE << 32 | value]
    assert all(special_kind(IPv6Address(number)) for number in wrapped)


def test_an_allowed_network_is_open_on_any_port() -> None:
    policy = AddressPolicy(allow=[ip_network("10.1.0.0/16"), ip_network("::1/128")])
    assert policy.refusal(ip_address("10.1.2.3"), 5000) is None
    assert policy.refusal(ip_address("::1"), 5000) is None
    assert policy.refusal(ip_address("10.2.0.1"), 443) is not None
    assert policy.refusal(ip_address("127.0.0.1"), 443) is not None


def test_an_allowed_ipv4_network_does_not_open_its_ipv6_forms() -> None:
    policy = AddressPolicy(allow=[ip_network("127.0.0.0/8")])
    assert policy.refusal(ip_address("::ffff:127.0.0.1"), 443) is not None


def test_a_denied_network_is_closed_even_when_it_is_public_or_allowed() -> None:
    policy = AddressPolicy(allow=[ip_network("10.0.0.0/8")], deny=[ip_network("10.0.0.5/32"), ip_network("1.1.1.0/24")])
    assert policy.refusal(ip_address("10.0.0.5"), 443) is not None
    assert policy.refusal(ip_address("1.1.1.1"), 443) is not None
    assert policy.refusal(ip_address("10.0.0.6"), 443) is None


@pytest.mark.parametrize(("port", "taken"), [(80, True), (443, True), (8080, True), (8443, True), (22, False)])
def test_ports_are_limited(port: int, taken: bool) -> None:
    assert (AddressPolicy().refusal(ip_address("8.8.8.8"), port) is None) is taken


def test_no_ports_means_any_port() -> None:
    assert AddressPolicy(ports=()).refusal(ip_address("8.8.8.8"), 22) is None


def test_a_policy_can_be_hashed_and_does_not_share_its_lists() -> None:
    networks = [ip_network("10.0.0.0/8")]
    policy = AddressPolicy(allow=networks)
    networks.clear()
    assert policy == AddressPolicy(allow=(ip_network("10.0.0.0/8"),))
    assert len({policy, AddressPolicy(allow=[ip_network("10.0.0.0/8")])}) == 1
