"""The NATS source with a real server: it creates what is missing, and hands out again what was not acknowledged."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import nats
import pytest
from nats import connect
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError

from delivery.errors import Unreadable
from delivery.messages import read_message
from delivery.sources import SourceMessage, SourceUnavailable, ahead, pull
from delivery.sources.lag import read_lag
from delivery.sources.nats import NatsSource, _place
from delivery.sources.pull import Pull
from tests.proxy import Proxy

pytestmark = pytest.mark.servers


@pytest.fixture
def name() -> str:
    return f"T{uuid.uuid4().hex[:8]}"


def source(url: str, name: str) -> NatsSource:
    return NatsSource(url, name, [f"{name}.>"], "bridge", kept_s=3600.0)


async def publish(url: str, *messages: tuple[str, bytes, dict[str, str] | None]) -> None:
    client = await nats.connect(url)
    for subject, body, headers in messages:
        await client.jetstream().publish(subject, body, headers=headers)
    await client.close()


async def publish_raw(url: str, *commands: bytes) -> None:
    """Sends a command of the protocol that the library would not send."""
    host, port = url.removeprefix("nats://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readline()
    writer.write(b"\r\n".join([b'CONNECT {"verbose":false,"headers":true}', *commands, b"PING\r\n"]))
    assert await reader.readline() == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()


async def fetch_some(from_: NatsSource, at_least: int = 1) -> list[SourceMessage]:
    """Messages that are published one after another may come in more than one batch."""
    found: list[SourceMessage] = []
    for _ in range(10 + at_least // 10):
        found += await from_.fetch(10)
        if len(found) >= at_least:
            return found
    raise AssertionError(f"only {len(found)} came")


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_it_creates_stream_and_consumer_and_reads_what_was_published(nats: str, name: str) -> None:
    async def test() -> None:
        subject = f"{name}.orders.created"
        bridge = source(nats, name)
        await bridge.connect()
        await publish(nats, (subject, b'{"n": 1}', {"Nats-Msg-Id": "e1"}), (subject, b'{"n": 2}', None))
        found = await fetch_some(bridge, 2)
        assert [(one.subject, one.body) for one in found] == [(subject, b'{"n": 1}'), (subject, b'{"n": 2}')]
        assert found[0].headers["nats-msg-id"] == "e1"
        assert len({one.position for one in found}) == 2
        await bridge.acknowledge(found)
        assert await bridge.fetch(10) == []
        assert await asyncio.to_thread(read_lag, nats, name, "bridge") == 0
        await bridge.close()

    run(test)


def test_a_message_that_was_not_acknowledged_comes_again_with_the_same_position(nats: str, name: str) -> None:
    async def test() -> None:
        first = source(nats, name)
        await first.connect()
        await publish(nats, (f"{name}.a", b"{}", None))
        (message,) = await fetch_some(first)
        await message.handle.nak()
        await first.close()
        second = source(nats, name)
        await second.connect()
        (again,) = await fetch_some(second)
        assert again.position == message.position
        await second.terminate([again])
        assert await second.fetch(10) == []
        await second.close()

    run(test)


def flood(name: str, count: int) -> list[tuple[str, bytes, None]]:
    """Messages of one subject, to be published."""
    return [(f"{name}.flood", b"{}", None)] * count


async def until_all_is_fetched(url: str, name: str) -> None:
    client = await nats.connect(url)
    while (await client.jetstream().consumer_info(name, "bridge")).num_pending:
        await asyncio.sleep(0.01)
    await client.close()


def test_after_a_flood_of_one_subject_the_others_do_not_wait(nats: str, name: str) -> None:
    async def test() -> None:
        bridge = source(nats, name)
        await bridge.connect()
        quiet_one = (f"{name}.quiet", b"{}", None)
        await publish(nats, *flood(name, 500), quiet_one, *flood(name, 100), quiet_one)
        batches = [await bridge.fetch(10)]
        await until_all_is_fetched(nats, name)
        while batches[-1]:
            await bridge.acknowledge(batches[-1])
            batches.append(await bridge.fetch(10))
        quiet = [number for number, batch in enumerate(batches) for one in batch if one.subject == f"{name}.quiet"]
        assert len(quiet) == 2
        assert quiet == [1, 1], "they had been fetched ahead; the first in line, and its turn came again"
        positions = [one.position for batch in batches for one in batch if one.subject == f"{name}.flood"]
        assert len(positions) == 600
        assert positions == sorted(positions, key=lambda one: int(one.split("_")[1])), "a subject's order is kept"
        await bridge.close()

    run(test)


def test_what_was_not_answered_or_fetched_ahead_comes_again_at_once_after_a_stop(
    nats: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "MOST_BATCH_BYTES", 100_000)

    async def test() -> None:
        first = source(nats, name)
        await first.connect()
        await publish(nats, *flood(name, 300))
        handled = (await first.fetch(20))[:10]
        await first.acknowledge(handled)
        await first.close()
        second = source(nats, name)
        await second.connect()
        rest = await asyncio.wait_for(fetch_some(second, 290), 5)
        assert len({one.position for one in [*handled, *rest]}) == 300
        await second.close()

    run(test)


def test_no_more_is_fetched_ahead_than_is_handled_in_time(
    nats: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "LEAST_AHEAD", 10)

    async def test() -> None:
        bridge = source(nats, name)
        await bridge.connect()
        await publish(nats, *flood(name, 100))
        client = await connect(nats)

        async def fetched() -> int:
            await asyncio.sleep(0.1)  # enough for what is on its way
            return (await client.jetstream().consumer_info(name, "bridge")).num_ack_pending or 0

        await bridge.fetch(10)
        assert await fetched() == 20, "the rate is unknown: one request ahead"
        monkeypatch.setattr(pull, "AHEAD_S", 0.4)
        await bridge.fetch(10)
        assert 30 <= await fetched() <= 70, "10 messages took 0.1 s, so 40 in this time, and one request more"
        await client.close()
        await bridge.close()

    run(test)


@pytest.mark.parametrize(("size", "most_bytes"), [(900_000, pull.MOST_BYTES), (30_000, 20_000)])
def test_a_backlog_of_large_messages_arrives_without_a_break(
    nats: str, name: str, monkeypatch: pytest.MonkeyPatch, size: int, most_bytes: int
) -> None:
    """The server drops a client for whom 64 MB wait, and would hand out 20 s later what was lost with the connection. A
    message may be larger than a request."""
    monkeypatch.setattr(pull, "MOST_BYTES", most_bytes)

    async def test() -> None:
        bridge = source(nats, name)
        await bridge.connect()
        large = (f"{name}.large", b'"%b"' % (b"a" * size), None)
        await publish(nats, *[large] * 90, *flood(name, 10))
        found: set[str] = set()
        async with asyncio.timeout(15):
            while len(found) < 100:
                batch = await bridge.fetch(500)
                found.update(one.position for one in batch)
                await bridge.acknowledge(batch)
        assert bridge._client is not None
        assert bridge._client.stats["reconnects"] == 0
        await bridge.close()

    run(test)


@pytest.mark.parametrize(
    ("subject", "shown"), [(b"caf\xe9", r"caf\xe9"), (b"caf\x0b", "caf\x0b"), (b"caf\x0ca", "caf\x0ca")]
)
def test_an_odd_subject_makes_a_dead_letter_and_does_not_stop_the_source(
    nats: str, name: str, subject: bytes, shown: str
) -> None:
    async def test() -> None:
        bridge = source(nats, name)
        await bridge.connect()
        strange_one = b"PUB %s.%s 2\r\n{}" % (name.encode(), subject)
        await publish_raw(nats, strange_one, b"PUB %s.good 2\r\n{}" % name.encode())
        strange, good = await fetch_some(bridge, 2)
        assert (strange.subject, good.subject) == (f"{name}.{shown}", f"{name}.good")
        with pytest.raises(Unreadable, match=r"caf"):
            read_message(strange, 1000)
        await bridge.terminate([strange])
        await bridge.acknowledge([good])
        assert await bridge.fetch(10) == []
        await bridge.close()

    run(test)


@pytest.mark.parametrize("headers", [b"NATS/1.0", b"\r\n\r\n"])
def test_invalid_headers_do_not_stop_the_source(nats: str, name: str, headers: bytes) -> None:
    async def test() -> None:
        bridge = source(nats, name)
        await bridge.connect()
        sizes = len(headers), len(headers) + 2
        strange = b"HPUB %s.strange %d %d\r\n%s{}" % (name.encode(), *sizes, headers)
        await publish_raw(nats, strange, b"PUB %s.good 2\r\n{}" % name.encode())
        found = await fetch_some(bridge, 2)
        assert [(one.subject, one.headers) for one in found] == [(f"{name}.strange", {}), (f"{name}.good", {})]
        await bridge.close()

    run(test)


def test_a_stored_message_that_looks_like_a_status_message_is_handed_out(nats: str, name: str) -> None:
    async def test() -> None:
        bridge = source(nats, name)
        await bridge.connect()
        await publish(nats, (f"{name}.orders.created", b"", {"Status": "409"}), (f"{name}.good", b"{}", None))
        found = await fetch_some(bridge, 2)
        assert [(one.subject, one.body) for one in found] == [(f"{name}.orders.created", b""), (f"{name}.good", b"{}")]
        await bridge.close()

    run(test)


@pytest.mark.parametrize("lost", ["consumer", "stream"])
def test_a_deleted_consumer_or_stream_is_made_again(nats: str, name: str, lost: str) -> None:
    async def test() -> None:
        import nats as library  # noqa: PLC0415 - the fixture has its name

        bridge = source(nats, name)
        await bridge.connect()
        operator = await library.connect(nats)
        if lost == "consumer":
            await operator.jetstream().delete_consumer(name, "bridge")
        else:
            await operator.jetstream().delete_stream(name)
        for _ in range(3):
            await bridge.fetch(10)
        await publish(nats, (f"{name}.a", b"{}", None))
        assert len(await fetch_some(bridge)) == 1
        await operator.close()
        await bridge.close()

    run(test)


def test_a_message_comes_at_once_though_the_request_expired_meanwhile(nats: str, name: str) -> None:
    async def test() -> None:
        bridge = source(nats, name)
        await bridge.connect()
        client = await connect(nats)
        pull = Pull(client, name, "bridge", expires_s=0.2)
        await pull.start()
        asked = asyncio.create_task(pull.take(10, wait_s=3600))
        requests = await client.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.{name}.bridge")
        await requests.next_msg(timeout=60)  # the second request: the first was sent before we subscribed
        await publish(nats, (f"{name}.orders.created", b"{}", None))
        (message,) = await asyncio.wait_for(asked, 60)
        await message.ack()
        await client.close()
        await bridge.close()

    run(test)


IN_MAIN = "$JS.ACK.EVENTS.bridge.1.5001.17.1796000000123456789.3"
IN_DOMAIN = "$JS.ACK.hub.Ahash.EVENTS.bridge.1.5001.17.1796000000123456789.3"


@pytest.mark.parametrize("reply", [IN_MAIN, IN_DOMAIN, f"{IN_DOMAIN}.random"])
def test_the_place_of_a_message_is_read_from_its_reply_as_the_library_reads_it(reply: str) -> None:
    metadata = Msg(Client(), reply=reply).metadata
    stream, sequence, stored_ns = _place(reply)
    assert (stream, int(sequence)) == (metadata.stream, metadata.sequence.stream)
    assert datetime.fromtimestamp(int(stored_ns) / 1e9, UTC) == metadata.timestamp


@pytest.mark.parametrize(
    "reply", ["", "_INBOX.a.b", "$JS.ACK.EVENTS.bridge.1.5001", "$JS.ACK.hub.Ahash.EVENTS.b.1.2.3.4"]
)
def test_a_message_that_is_not_of_a_stream_has_no_place(reply: str) -> None:
    with pytest.raises(NotJSMessageError):
        _place(reply)


def test_an_unreachable_server_is_reported_as_such(name: str) -> None:
    with pytest.raises(SourceUnavailable):
        asyncio.run(source("nats://127.0.0.1:1", name).connect())


def test_a_server_that_is_away_is_logged_once_and_again_when_it_is_back(
    nats: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        bridge = source(f"nats://127.0.0.1:{wire.port}", name)
        wire.cut()
        with pytest.raises(SourceUnavailable):
            await bridge.connect()
        wire.mend()
        await bridge.connect()
        await bridge.close()

    caplog.set_level("INFO", "delivery.sources.nats")
    at = urlsplit(nats)
    with Proxy((at.hostname or "", at.port or 0)) as wire:
        run(test)
    said = [record.message for record in caplog.records if record.name == "delivery.sources.nats"]
    assert said == ["NATS has an error", "created the stream", "going on"]
