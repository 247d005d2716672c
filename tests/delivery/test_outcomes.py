"""Which part of an answer is kept, and which outcome it has."""

import encodings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.outcomes import (
    DETAIL_CHARACTERS,
    EXCERPT_BYTES,
    ErrorClass,
    answered,
    failed,
)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (100, ErrorClass.INVALID),
        (101, ErrorClass.INVALID),
        (199, ErrorClass.INVALID),
        (200, None),
        (204, None),
        (299, None),
        (300, ErrorClass.REDIRECT),
        (304, ErrorClass.REDIRECT),
        (308, ErrorClass.REDIRECT),
        (400, ErrorClass.STATUS),
        (410, ErrorClass.STATUS),
        (500, ErrorClass.STATUS),
        (999, ErrorClass.STATUS),
    ],
)
def test_the_status_decides(status: int, error: ErrorClass | None) -> None:
    outcome = answered(status, {}, b"", 1.0)
    assert (outcome.status_code, outcome.error, outcome.succeeded) == (status, error, error is None)


def test_a_redirect_says_where_it_points_but_not_the_path_which_goes_into_logs() -> None:
    assert answered(302, {"location": "http://elsewhere/"}, b"", 1.0).detail.endswith("(to http://elsewhere)")
    assert answered(304, {}, b"", 1.0).detail == "304: redirects are not followed"
    assert answered(302, {"location": "/s3cr3t/"}, b"", 1.0).detail == "302: redirects are not followed"
    elsewhere = answered(302, {"location": "https://b.example.com/s3cr3t/"}, b"", 1.0)
    assert elsewhere.detail == "302: redirects are not followed (to https://b.example.com)"


def test_a_success_has_no_detail() -> None:
    assert answered(200, {}, b"ok", 1.0).detail == ""


def test_a_failure_keeps_the_part_of_the_answer_that_came() -> None:
    outcome = failed(ErrorClass.RESET, "it ended", 2.5, status_code=200, headers={"a": "b"}, body=b"par")
    assert (outcome.error, outcome.status_code, outcome.response_headers) == (ErrorClass.RESET, 200, {"a": "b"})
    assert (outcome.response_excerpt, outcome.latency_ms, outcome.succeeded) == ("par", 2.5, False)


def test_a_failure_without_an_answer_has_no_status() -> None:
    outcome = failed(ErrorClass.DNS, "no such name")
    assert (outcome.status_code, outcome.response_headers, outcome.response_excerpt) == (None, {}, "")
    assert (outcome.detail, outcome.latency_ms, outcome.retry_after) == ("no such name", 0.0, None)


def test_the_excerpt_is_the_first_4_kb() -> None:
    assert EXCERPT_BYTES == 4096
    assert answered(200, {}, b"a" * 5000, 1.0).response_excerpt == "a" * 4096


@pytest.mark.parametrize(
    ("body", "content_type", "excerpt"),
    [
        ("größe".encode(), "", "größe"),
        ("größe".encode("latin-1"), "text/plain; charset=ISO-8859-1", "größe"),
        ("größe".encode("latin-1"), 'text/plain; charset="latin1"', "größe"),
        ("größe".encode("utf-16"), "text/plain; charset=utf-16", "größe"),
        ("größe €".encode("cp1252"), "text/plain; charset=Windows-1252", "größe €"),
        ("größe".encode(), "text/plain; charset=rot13", "größe"),
        ("größe".encode(), "text/plain; charset=zip", "größe"),
        ("größe".encode(), "text/plain; charset=no-such-thing", "größe"),
        ("größe".encode(), "text/plain; charset=", "größe"),
        (b"\xff\xfe\x00bad", "", "\ufffd\ufffd\ufffdbad"),
        (b"a\0b", "", "a\ufffdb"),
        (b"\x1f\x8b\x08\x00\x00", "application/gzip", "\x1f\ufffd\b\ufffd\ufffd"),
        (b"cut in the middle \xc3", "", "cut in the middle \ufffd"),
    ],
)
def test_any_body_becomes_text(body: bytes, content_type: str, excerpt: str) -> None:
    assert answered(200, {"content-type": content_type}, body, 1.0).response_excerpt == excerpt


def test_python_does_not_learn_the_names_of_unknown_charsets() -> None:
    known: dict[str, object] = encodings._cache  # where it keeps them for ever
    before = len(known)
    answered(200, {"content-type": "text/plain; charset=never-heard-of"}, b"a", 1.0)
    assert len(known) == before


@given(
    st.binary(max_size=6000),
    st.sampled_from(["utf-8", "utf-16", "utf-16-le", "cp1252", "ascii", "utf-7", "idna", "punycode", "hex", "cp65001"]),
)
def test_any_body_in_any_charset_can_be_stored(body: bytes, charset: str) -> None:
    excerpt = answered(200, {"content-type": f"text/plain;charset={charset}"}, body, 1.0).response_excerpt
    assert "\0" not in excerpt
    assert len(excerpt) <= EXCERPT_BYTES
    excerpt.encode()


@given(st.dictionaries(st.text(max_size=200), st.text(max_size=2000), max_size=100), st.text(max_size=2000))
def test_any_headers_and_any_detail_can_be_stored(headers: dict[str, str], detail: str) -> None:
    outcome = failed(ErrorClass.INVALID, detail, headers={name.lower(): value for name, value in headers.items()})
    texts = [outcome.detail, *outcome.response_headers, *outcome.response_headers.values()]
    assert all(text.isprintable() and text.encode() is not None for text in texts)
    assert len(outcome.detail) <= DETAIL_CHARACTERS
    assert len(outcome.response_headers) <= 50
    assert sum(len(name) + len(value) for name, value in outcome.response_headers.items()) <= 8192


def test_headers_that_cannot_be_text_are_made_storable() -> None:
    assert answered(200, {"x": "a\0b\udc80c"}, b"", 1.0).response_headers == {"x": "a b?c"}


def test_long_headers_are_shortened_and_too_many_left_out() -> None:
    outcome = answered(200, {"x": "a" * 600, **{f"h{n}": "v" for n in range(60)}}, b"", 1.0)
    assert outcome.response_headers["x"] == "a" * 500
    assert len(outcome.response_headers) == 50


@pytest.mark.parametrize("value", ["b", "\N{SNOWMAN}"], ids=["plain", "to be made printable"])
def test_the_partners_cookies_are_not_kept(value: str) -> None:
    assert answered(200, {"set-cookie": "session=1", "a": value}, b"", 1.0).response_headers == {"a": value}


def test_retry_after_is_kept_as_it_came() -> None:
    assert answered(429, {"retry-after": "120"}, b"", 1.0).retry_after == "120"
    assert answered(503, {"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, b"", 1.0).retry_after == (
        "Sun, 06 Nov 1994 08:49:37 GMT"
    )


def test_error_classes_are_words_for_people_and_machines() -> None:
    known = "dns refused connect_timeout timeout reset tls blocked_address redirect response_too_large"
    known += " invalid_response http_status unsendable transformation disabled internal"
    assert " ".join(ErrorClass) == known
    assert all(len(error) <= 32 for error in ErrorClass)
