"""Parsing and refusing the URLs of endpoints."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from partners.addresses import AddressPolicy
from partners.endpoints import URL_MAX, check_url, origin, read_url
from partners.errors import EndpointRefused
from tests.ssrf_corpus import FINE_URLS, REFUSED_URLS

STRICT = AddressPolicy()
LOCAL = AddressPolicy(allow=[ip_network("127.0.0.0/8")])


def test_the_corpus_is_a_large_one() -> None:
    assert len(REFUSED_URLS) > 500


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_bypass_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(EndpointRefused) as refused:
        check_url(url, STRICT)
    assert str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("url", FINE_URLS)
def test_an_ordinary_url_is_taken(url: str) -> None:
    check_url(url, STRICT)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTPS://Example.COM", "https://example.com/"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("https://example.com./x", "https://example.com/x"),
        ("https://example.com?x=1", "https://example.com/?x=1"),
        ("https://example.com/?", "https://example.com/?"),
        ("https://bücher.com/größe?ä=ö", "https://xn--bcher-kva.com/gr%C3%B6%C3%9Fe?%C3%A4=%C3%B6"),
        ("https://faß.de/", "https://xn--fa-hia.de/"),
        ("https://example。com/", "https://example.com/"),
        ("https://example.com/%e2%82%ac", "https://example.com/%E2%82%AC"),
        ("https://example.com/100%", "https://example.com/100%25"),
        ("https://example.com/{a}|[b]", "https://example.com/%7Ba%7D%7C%5Bb%5D"),
        ("https://example.com/a/./b/../c/..", "https://example.com/a/"),
        ("https://example.com/../../a", "https://example.com/a"),
        ("https://example.com/a//b/.hidden", "https://example.com/a//b/.hidden"),
        ("https://example.com/?a=/../b", "https://example.com/?a=/../b"),
        ("https://[2A00:1450:4001:081B:0:0:0:200E]/", "https://[2a00:1450:4001:81b::200e]/"),
    ],
)
def test_a_url_has_one_canonical_form(url: str, canonical: str) -> None:
    assert read_url(url).url == canonical
    assert read_url(canonical).url == canonical


def test_the_parts_of_a_url() -> None:
    endpoint = read_url("https://Hooks.example.com:8443/a?b")
    assert (endpoint.scheme, endpoint.host, endpoint.port, endpoint.target) == (
        "https",
        "hooks.example.com",
        8443,
        "/a?b",
    )
    assert (endpoint.authority, endpoint.address) == ("hooks.example.com:8443", None)
    assert read_url("http://8.8.8.8/").address == ip_address("8.8.8.8")
    assert read_url("http://[2606:4700::1111]/").authority == "[2606:4700::1111]"


_URL_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=40)


@given(_URL_TEXT, _URL_TEXT)
def test_the_canonical_form_is_what_urllib3_reads_too(path: str, query: str) -> None:
    try:
        endpoint = read_url(f"https://example.com/{path}?{query}")
    except EndpointRefused:
        return
    theirs = parse_url(endpoint.url)
    assert (theirs.scheme, theirs.host, theirs.request_uri) == ("https", "example.com", endpoint.target)
    assert read_url(endpoint.url) == endpoint


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/", f"http://example.com/{text}"):
        try:
            endpoint = read_url(url)
        except EndpointRefused:
            continue
        assert endpoint.url.isascii()
        assert endpoint.url.isprintable()
        assert read_url(endpoint.url) == endpoint


def test_a_url_of_2048_characters_is_taken_and_a_longer_one_refused() -> None:
    url = "https://example.com/".ljust(URL_MAX, "a")
    check_url(url, STRICT)
    with pytest.raises(EndpointRefused, match="1 to 2048 characters"):
        check_url(url + "a", STRICT)


def test_a_url_that_grows_too_long_in_ascii_is_refused() -> None:
    with pytest.raises(EndpointRefused, match="longer than 4096"):
        check_url("https://example.com/" + "€" * 1000, STRICT)


def test_schemes_are_limited_by_the_policy() -> None:
    https_only = AddressPolicy(schemes=["https"])
    check_url("https://example.com/", https_only)
    with pytest.raises(EndpointRefused, match="use https"):
        check_url("http://example.com/", https_only)


def test_ports_are_limited_by_the_policy() -> None:
    with pytest.raises(EndpointRefused, match="the port 8081 is not allowed"):
        check_url("https://example.com:8081/", STRICT)
    check_url("https://example.com:8081/", AddressPolicy(ports=[8081]))
    check_url("https://example.com:8081/", AddressPolicy(ports=()))


def test_an_allow_list_opens_addresses_on_any_port() -> None:
    check_url("http://127.0.0.1:9999/hook", LOCAL)
    check_url("http://localhost:9999/hook", LOCAL)
    with pytest.raises(EndpointRefused, match="not a public one: private"):
        check_url("http://10.0.0.1/", LOCAL)


def test_an_allow_list_without_loopback_leaves_localhost_closed() -> None:
    internal = AddressPolicy(allow=[ip_network("10.0.0.0/8")])
    check_url("http://crm.internal:5000/", internal)
    check_url("http://crm/", internal)
    with pytest.raises(EndpointRefused, match="this machine"):
        check_url("http://localhost/", internal)


@pytest.mark.parametrize(
    "url", ["http://0177.0.0.1/", "http://127.0.0.1@localhost/", "ftp://localhost/", "http://x.nip.io/"]
)
def test_an_allow_list_does_not_open_odd_spellings(url: str) -> None:
    with pytest.raises(EndpointRefused):
        check_url(url, LOCAL)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/s3cr3t?key=s3cr3t", "https://hooks.example.com"),
        ("http://example.com:8080?s3cr3t", "http://example.com:8080"),
        ("https://user:s3cr3t@example.com/", "https://example.com"),
        ("/s3cr3t", ""),
    ],
)
def test_the_origin_of_a_url_has_no_path_query_or_user(url: str, shown: str) -> None:
    assert origin(url) == shown
