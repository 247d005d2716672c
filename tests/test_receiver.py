"""Tests of the receiver, on which other tests rely."""

import base64
import http.client
import json
import subprocess
import sys

import pytest

from tests.exchange import Exchange
from tests.receiver import Receiver


def post(receiver: Receiver, path: str, webhook_id: str = "", body: bytes = b"{}") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    connection.request("POST", path, body, {"webhook-id": webhook_id, "X-Twice": "a"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def test_a_request_is_kept_whole(receiver: Receiver) -> None:
    with receiver:
        post(receiver, "/some/path?x=1", "evt_1", b"\0\xff" * 50_000)
        [request] = receiver.wait_for(1)
    assert (request.method, request.path, request.webhook_id) == ("POST", "/some/path?x=1", "evt_1")
    assert request.body == b"\0\xff" * 50_000
    assert ("X-Twice", "a") in request.header_lines


def test_waiting_in_vain_says_what_came(receiver: Receiver) -> None:
    with receiver:
        post(receiver, "/a")
        with pytest.raises(AssertionError, match=r"1 of 2 requests within 0\.1 s; in all: \{'/a': 1\}"):
            receiver.wait_for(2, timeout_s=0.1)
        with pytest.raises(AssertionError, match="0 of 1"):
            receiver.wait_for(1, timeout_s=0.1, where=lambda request: request.path == "/b")
        with pytest.raises(AssertionError, match="did not become true"):
            receiver.wait_until(lambda: receiver.connections == 5, timeout_s=0.1)


def test_fail_first_fails_the_first_tries_of_each_id(receiver: Receiver) -> None:
    with receiver:
        statuses = [post(receiver, "/fail-first/2", webhook_id).status for webhook_id in "aababb"]
    assert statuses == [500, 500, 500, 200, 500, 200]


def test_fail_every_fails_the_first_try_of_every_nth_id(receiver: Receiver) -> None:
    with receiver:
        statuses = [post(receiver, "/fail-every/2", webhook_id).status for webhook_id in "abbcdd"]
    assert statuses == [200, 500, 200, 200, 500, 200]


def test_answers_can_be_set_one_by_one(receiver: Receiver) -> None:
    def teapot(exchange: Exchange) -> None:
        exchange.answer(418)

    def fine(exchange: Exchange) -> None:
        exchange.answer(201)

    with receiver:
        receiver.answer("/x", teapot, teapot, fine)
        assert [post(receiver, "/x?n=1").status for _ in range(4)] == [418, 418, 201, 201]
        assert post(receiver, "/y").status == 200


def test_clearing_forgets_requests_and_tries(receiver: Receiver) -> None:
    with receiver:
        assert post(receiver, "/fail-first/1", "a").status == 500
        receiver.clear()
        assert receiver.requests == []
        assert post(receiver, "/fail-first/1", "a").status == 500


def test_closing_ends_what_hangs(receiver: Receiver) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    connection.request("POST", "/hang", b"{}")
    receiver.wait_for(1)
    receiver.close()
    with pytest.raises(ConnectionError):
        connection.getresponse()
    connection.close()


def test_it_runs_as_a_process_of_its_own() -> None:
    with subprocess.Popen([sys.executable, "-m", "tests.receiver"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        connection.request("POST", "/status/503", b"\xff", {"webhook-id": "evt_1"})
        assert connection.getresponse().status == 503
        connection.close()
        line = json.loads(process.stdout.readline())
        process.terminate()
    assert (line["path"], line["headers"]["webhook-id"], base64.b64decode(line["body"])) == (
        "/status/503",
        "evt_1",
        b"\xff",
    )
