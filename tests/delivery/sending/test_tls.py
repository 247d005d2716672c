"""Certificates and names are verified, and all failures of a handshake have one error class."""

import socket
import ssl
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from delivery.outcomes import ErrorClass, Outcome
from delivery.sending import Request
from delivery.sending import make_sender as make_sender_named
from tests.certificates import Authority, new_authority
from tests.delivery.sending.conftest import LOOPBACK, MakeSender, Names
from tests.exchange import Exchange, reset
from tests.receiver import OnConnect, Receiver, over_tls


def send(
    make_sender: MakeSender, ca_file: Path | str, on_connect: OnConnect, host: str = "", timeout_s: float = 5.0
) -> tuple[Outcome, int]:
    """The outcome, and the number of requests that arrived."""
    sender = make_sender(ca_file=ca_file, resolve=Names(localhost=["127.0.0.1"], hooks_example_com=["127.0.0.1"]))
    with Receiver(on_connect=on_connect, scheme="https") as receiver:
        request = Request(receiver.url("/ok", host=host), {}, b"{}", connect_timeout_s=timeout_s, timeout_s=timeout_s)
        return sender.send(request), len(receiver.requests)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_a_trusted_authority_is_accepted(
    make_sender: MakeSender, authority: Authority, host: str
) -> None:
    outcome, arrived = send(make_sender, authority.ca_file, over_tls(authority.server()), host)
    assert (outcome.status_code, outcome.error, arrived) == (200, None, 1)


def test_the_name_of_the_endpoint_is_what_the_certificate_must_be_for(
    make_sender: MakeSender, authority: Authority
) -> None:
    context = authority.server("hooks", host="hooks.example.com")
    outcome, _ = send(make_sender, authority.ca_file, over_tls(context), "hooks.example.com")
    assert outcome.succeeded


def test_the_server_is_told_the_name(make_sender: MakeSender, authority: Authority) -> None:
    context = authority.server()
    told: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: told.append(name)
    send(make_sender, authority.ca_file, over_tls(context), "localhost")
    assert told == ["localhost"]


def test_an_unknown_authority_is_refused(make_sender: MakeSender, authority: Authority) -> None:
    _expect_tls_failure(make_sender, "", over_tls(authority.server()))


def test_another_authority_is_refused(make_sender: MakeSender, authority: Authority, tmp_path: Path) -> None:
    _expect_tls_failure(make_sender, new_authority(tmp_path).ca_file, over_tls(authority.server()))


def test_a_self_signed_certificate_is_refused(make_sender: MakeSender, authority: Authority) -> None:
    context = authority.server("self-signed", self_signed=True)
    _expect_tls_failure(make_sender, authority.ca_file, over_tls(context))


def test_an_expired_certificate_is_refused(make_sender: MakeSender, authority: Authority) -> None:
    context = authority.server("expired", expired=True)
    _expect_tls_failure(make_sender, authority.ca_file, over_tls(context))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_for_another_host_is_refused(make_sender: MakeSender, authority: Authority, host: str) -> None:
    context = authority.server("other", host="other.example.com")
    _expect_tls_failure(make_sender, authority.ca_file, over_tls(context), host)


def test_an_old_version_of_tls_is_refused(make_sender: MakeSender, authority: Authority) -> None:
    context = authority.server("old")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    _expect_tls_failure(make_sender, authority.ca_file, over_tls(context))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_versions_of_tls_are_accepted(
    make_sender: MakeSender, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.server("current")
    context.minimum_version = context.maximum_version = version
    outcome, _ = send(make_sender, authority.ca_file, over_tls(context))
    assert outcome.succeeded


def test_a_server_that_speaks_no_tls_is_a_tls_failure(make_sender: MakeSender, authority: Authority) -> None:
    def speak_http(connection: socket.socket) -> socket.socket:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        raise ConnectionError

    _expect_tls_failure(make_sender, authority.ca_file, speak_http)


def test_a_connection_closed_in_the_handshake_is_a_tls_failure(make_sender: MakeSender, authority: Authority) -> None:
    def close(connection: socket.socket) -> socket.socket:
        connection.recv(1000)
        raise ConnectionError

    _expect_tls_failure(make_sender, authority.ca_file, close)


def test_a_connection_reset_in_the_handshake_is_a_tls_failure(make_sender: MakeSender, authority: Authority) -> None:
    def cut(connection: socket.socket) -> socket.socket:
        connection.recv(1000)
        reset(connection)
        raise ConnectionError

    _expect_tls_failure(make_sender, authority.ca_file, cut)


def test_a_handshake_that_hangs_is_a_connect_timeout(make_sender: MakeSender, authority: Authority) -> None:
    def hang(connection: socket.socket) -> socket.socket:
        while connection.recv(1000):
            pass
        raise ConnectionError

    outcome, _ = send(make_sender, authority.ca_file, hang, timeout_s=0.4)
    assert (outcome.status_code, outcome.error) == (None, ErrorClass.CONNECT_TIMEOUT)
    assert 350 < outcome.latency_ms < 1500


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how busy a thread is (delivery.sending.guard)")
def test_a_handshake_of_endless_messages_ends_long_before_its_deadline(
    make_sender: MakeSender, authority: Authority
) -> None:
    """OpenSSL skips HelloRequests in a handshake, and reads on for as long as they come."""

    def repeat(connection: socket.socket) -> socket.socket:
        connection.recv(10_000)
        while True:
            connection.sendall(b"\x16\x03\x03\x00\x04\0\0\0\0" * 1000)

    outcome, _ = send(make_sender, authority.ca_file, repeat, timeout_s=60)
    assert outcome.error is ErrorClass.INVALID
    assert outcome.latency_ms < 10_000


def test_a_server_may_not_choose_a_costly_key_exchange(
    make_sender: MakeSender, authority: Authority, tmp_path: Path
) -> None:
    """The client computes with the server's prime, of up to 10,000 bits. A small one stands for it here."""
    prime = tmp_path / "dh.pem"
    numbers = (
        bytes.fromhex("30820108 0282010100") + b"\xff" * 256 + bytes.fromhex("020102")
    )  # in DER: 2^2048 - 1, and 2
    prime.write_text(ssl.DER_cert_to_PEM_cert(numbers).replace("CERTIFICATE", "DH PARAMETERS"))
    context = authority.server("dh", key=rsa.generate_private_key(65537, 2048))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("kDHE")
    context.load_dh_params(str(prime))
    _expect_tls_failure(make_sender, authority.ca_file, over_tls(context))
    context.set_ciphers("kDHE:ECDHE")
    assert send(make_sender, authority.ca_file, over_tls(context))[0].succeeded


def test_an_answer_that_drips_over_tls_is_a_timeout(make_sender: MakeSender, authority: Authority) -> None:
    sender = make_sender(ca_file=authority.ca_file)
    with Receiver(on_connect=over_tls(authority.server()), scheme="https") as receiver:
        for path in ("/drip", "/slow-headers", "/hang"):
            outcome = sender.send(Request(receiver.url(path), {}, b"{}", timeout_s=0.4))
            assert outcome.error is ErrorClass.TIMEOUT
            assert outcome.latency_ms < 1500


def test_a_body_that_ends_with_the_connection_counts_with_and_without_close_notify(
    make_sender: MakeSender, authority: Authority
) -> None:
    def with_goodbye(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\nok")
        assert isinstance(exchange.connection, ssl.SSLSocket)
        exchange.connection.unwrap().close()
        exchange.close()

    sender = make_sender(ca_file=authority.ca_file)
    with Receiver(on_connect=over_tls(authority.server()), scheme="https") as receiver:
        receiver.answer("/goodbye", with_goodbye)
        for path in ("/until-close", "/goodbye"):
            outcome = sender.send(Request(receiver.url(path), {}, b"{}"))
            assert (outcome.status_code, outcome.error, outcome.response_excerpt) == (200, None, "ok")


@pytest.mark.parametrize("path", ["/truncated", "/truncated-chunks", "/truncated-head", "/close"])
def test_an_answer_that_breaks_off_over_tls_is_a_reset(
    make_sender: MakeSender, authority: Authority, path: str
) -> None:
    sender = make_sender(ca_file=authority.ca_file)
    with Receiver(on_connect=over_tls(authority.server()), scheme="https") as receiver:
        assert sender.send(Request(receiver.url(path), {}, b"{}")).error is ErrorClass.RESET


def test_a_flood_of_framing_over_tls_is_no_answer(make_sender: MakeSender, authority: Authority) -> None:
    sender = make_sender(ca_file=authority.ca_file)
    with Receiver(on_connect=over_tls(authority.server()), scheme="https") as receiver:
        assert sender.send(Request(receiver.url("/endless-extensions"), {}, b"{}")).error is ErrorClass.INVALID


def test_authorities_from_the_environment_are_not_trusted(
    make_sender: MakeSender, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(authority.ca_file))
    _expect_tls_failure(make_sender, "", over_tls(authority.server()))


@pytest.mark.parametrize("name", ["requests", "curl"])
def test_the_setting_names_the_sender_and_the_authorities(name: str, authority: Authority) -> None:
    sender = make_sender_named(name, LOOPBACK, str(authority.ca_file))
    with Receiver(on_connect=over_tls(authority.server()), scheme="https") as receiver:
        assert sender.send(Request(receiver.url(), {}, b"{}")).succeeded
    sender.close()
    assert name in type(sender).__name__.lower()


def _expect_tls_failure(make_sender: MakeSender, ca_file: Path | str, on_connect: OnConnect, host: str = "") -> None:
    outcome, arrived = send(make_sender, ca_file, on_connect, host)
    assert (outcome.status_code, outcome.error, arrived) == (None, ErrorClass.TLS, 0)
    assert outcome.detail.startswith("the TLS handshake failed")
