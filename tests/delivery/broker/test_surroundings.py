"""Real workers on Redis, over TLS, behind Sentinel, on half-open connections, and in Celery's other pools."""

import math
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection

from delivery.broker import FairMessage, FairQueues, Unsupported, connect, register
from recart_hooks.ports import free_port
from recart_hooks.stack.valkey import find_binary
from tests.certificates import new_authority
from tests.delivery.broker.servers import Broker, redis_binary
from tests.delivery.broker.test_worker import notes, slow
from tests.delivery.broker.waiting import until
from tests.delivery.broker.workers import Workers
from tests.proxy import Proxy
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@contextmanager
def started(broker: Broker) -> Iterator[Broker]:
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@contextmanager
def workers_by(url: str, broker: Broker, directory: Path) -> Iterator[Workers]:
    """Workers that reach the broker by this address."""
    running = Workers(broker, directory, url)
    try:
        yield running
    finally:
        running.kill_all()


def test_it_runs_on_redis(tmp_path: Path) -> None:
    with (
        started(Broker(tmp_path, program=redis_binary())) as broker,
        workers_by(broker.url, broker, tmp_path) as workers,
    ):
        workers.start()
        queues = FairQueues(broker.client)
        queues.configure("partner.a", max_in_flight=2)
        queues.publish([*notes("a", 20), FairMessage("partner.b", "later", "note", ("later",), eta=time.time() + 1)])
        assert len({run.value for run in workers.wait_for(21)}) == 21


def test_tls_is_checked_and_works(tmp_path: Path, broker: Broker, queues: FairQueues) -> None:
    authority = new_authority(tmp_path)
    with Proxy(("127.0.0.1", broker.port), tls=authority.server()) as wire:
        url = f"fairs://127.0.0.1:{wire.port}/0"
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            connect(url).ping()
        trusting = f"{url}?ssl_ca_certs={authority.ca_file}"
        FairQueues(connect(trusting)).publish(notes("a", 5))
        with workers_by(trusting, broker, tmp_path) as workers:
            workers.start()
            workers.wait_for(5)
            queues.publish(notes("b", 5))
            workers.wait_for(10)


def test_a_password_is_sent(tmp_path: Path) -> None:
    with started(Broker(tmp_path)) as broker:
        broker.client.config_set("requirepass", "s3cret")
        url = broker.url.replace("fair://", "fair://:s3cret@")
        queues = FairQueues(connect(url))
        with pytest.raises(redis.AuthenticationError):
            FairQueues(connect(broker.url)).publish(notes("a", 1))
        with workers_by(url, broker, tmp_path) as workers:
            workers.start()
            queues.publish(notes("a", 5))
            workers.wait_for(5)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


@contextmanager
def sentinel(directory: Path, primary: Broker) -> Iterator[int]:
    """Yields its port. It watches the primary as `main`, and takes it for down after a second."""
    port = free_port()
    configuration = directory / "sentinel.conf"
    lines = [f"port {port}", "bind 127.0.0.1", f"sentinel monitor main 127.0.0.1 {primary.port} 1"]
    lines += ["sentinel down-after-milliseconds main 1000", "sentinel failover-timeout main 5000"]
    configuration.write_text("\n".join(lines) + "\n")
    with (directory / "sentinel.log").open("ab") as log:
        process = subprocess.Popen([str(find_binary()), str(configuration), "--sentinel"], stdout=log, stderr=log)
    try:
        until(lambda: _listens(port), "Sentinel answers")
        yield port
    finally:
        process.kill()
        process.wait()


def test_a_client_asks_any_of_the_sentinels_for_the_primary(tmp_path: Path) -> None:
    with started(Broker(tmp_path)) as primary, sentinel(tmp_path, primary) as port:
        addresses = f"fairsentinel://127.0.0.1:{free_port()}/1;fairsentinel://127.0.0.1:{port}"
        client = connect(addresses, "main", socket_timeout=1)
        client.set("known", "yes")
        with redis.Redis(port=primary.port, db=1) as direct:
            assert direct.get("known") == b"yes"
        with pytest.raises(redis.sentinel.MasterNotFoundError):
            connect(addresses, "another").ping()
        with pytest.raises(ValueError, match="the name of its primary"):
            connect(addresses)


def test_a_sentinel_that_is_down_is_asked_once() -> None:
    """redis-py would ask it eleven times, with growing pauses, while requests wait."""
    register()
    with Receiver(on_connect=_refuse) as down:
        address = f"fairsentinel://127.0.0.1:{down.port}/0"
        with pytest.raises(redis.sentinel.MasterNotFoundError):
            connect(address, "main").ping()
        assert down.connections == 1
        options = {"master_name": "main", "sentinel_kwargs": {"password": "s3cret"}}
        with Connection(address, transport_options=options) as connection, pytest.raises(redis.ConnectionError):
            connection.channel()
        assert down.connections == 3, "kombu tries twice"


def _refuse(connection: socket.socket) -> socket.socket:
    connection.close()
    raise OSError


def test_a_consumer_keeps_its_leases_when_kombu_turns_to_the_next_sentinel(tmp_path: Path) -> None:
    register()
    with started(Broker(tmp_path)) as primary, sentinel(tmp_path, primary) as port:
        addresses = f"fairsentinel://127.0.0.1:{port}/1;fairsentinel://localhost:{port}"
        with Connection(addresses, transport_options={"master_name": "main"}) as connection:
            leases = _consume(connection).leases
            connection.maybe_switch_next()  # as kombu does after each failure to connect
            connection.maybe_switch_next()
            again = _consume(connection)
            assert again.leases is leases
            again.basic_cancel("one")


def _consume(connection: Connection) -> Any:
    channel: Any = connection.default_channel
    channel.basic_consume("partner.*", no_ack=False, callback=print, consumer_tag="one")
    return channel


def test_the_credentials_of_the_first_sentinels_address_are_not_lost() -> None:
    register()
    with Connection("fairsentinel://us:s3cret@one/1;fairsentinel://two;fairsentinel://three") as connection:
        for _ in range(3):
            assert connection.as_uri(include_password=True) == "fairsentinel://us:s3cret@one:26379/1"
            connection.maybe_switch_next()


@pytest.mark.long
def test_sentinel_names_the_primary_and_the_next_one(tmp_path: Path) -> None:
    """A failover may repeat running tasks: the replica may not have got every acknowledgement."""
    (tmp_path / "two").mkdir()
    with started(Broker(tmp_path)) as first, started(Broker(tmp_path / "two")) as second:
        second.client.replicaof("127.0.0.1", str(first.port))
        until(lambda: second.client.info("replication")["master_link_status"] == "up", "the replica follows")
        with sentinel(tmp_path, first) as port:
            watching: Any = redis.Sentinel([("127.0.0.1", port)])  # type: ignore[no-untyped-call]
            until(lambda: watching.discover_slaves("main"), "Sentinel knows the replica")
            url = f"fairsentinel://127.0.0.1:{port}/0"
            queues = FairQueues(connect(url, "main"))
            with workers_by(url, first, tmp_path) as workers:
                workers.start(broker_master_name="main")
                queues.publish(notes("a", 5))
                workers.wait_for(5)
                first.stop()
                until(lambda: second.client.info("replication")["role"] == "master", "it was promoted", 60)
                until(lambda: _publishes(queues, notes("b", 5)), "the client finds the new primary")
                until(lambda: {f"b{n}" for n in range(5)} <= {run.value for run in workers.runs()}, "served on", 60)


def _publishes(queues: FairQueues, messages: list[FairMessage]) -> bool:
    try:
        queues.publish(messages)
    except redis.ConnectionError:
        return False
    return True


def test_redis_cluster_is_refused_by_name(tmp_path: Path) -> None:
    register()
    cluster = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with started(Broker(tmp_path, *cluster)) as broker, Connection(broker.url) as connection:
        channel: Any = connection.default_channel
        with pytest.raises(Unsupported, match="Redis Cluster"):
            channel.basic_consume("partner.*", no_ack=False, callback=print, consumer_tag="one")
        with pytest.raises(Unsupported, match="Redis Cluster"):
            channel.basic_publish(channel.prepare_message("{}"), exchange="", routing_key="partner.a")


def test_half_open_connections_are_given_up(tmp_path: Path, broker: Broker, queues: FairQueues) -> None:
    """No data passes any more, without an error: as after a firewall forgot the connections."""
    with (
        Proxy(("127.0.0.1", broker.port)) as wire,
        workers_by(f"fair://127.0.0.1:{wire.port}/0", broker, tmp_path) as workers,
    ):
        workers.start(health_check_s=1, socket_timeout_s=1)
        queues.publish(notes("a", 3))
        workers.wait_for(3)
        wire.strand()
        queues.publish(notes("b", 3))
        workers.wait_for(6, timeout_s=60)
        assert len(workers.runs()) == 6, "nothing twice"


@pytest.mark.parametrize("pool", ["prefork", pytest.param("solo", marks=pytest.mark.long)])
def test_other_pools_work_as_well(pool: str, workers: Workers, queues: FairQueues) -> None:
    workers.start(threads=2, pool=pool)
    queues.publish([message for partner in "abc" for message in notes(partner, 10)])
    assert len({run.value for run in workers.wait_for(30)}) == 30
    workers.stop("one")
    assert all(stats.in_flight == 0 for stats in queues.stats().values())


@pytest.mark.long
def test_a_rate_is_held_to_two_in_a_hundred(workers: Workers, queues: FairQueues) -> None:
    """Measured when tasks start, over two workers; in no second more than rate and burst start."""
    rate = 50.0
    queues.configure("partner.a", rate=f"{rate}/s")
    for name in ("one", "two"):
        workers.start(name, threads=8)
    queues.publish(slow("a", 2_500, 0.05))
    at = sorted(run.at for run in workers.wait_for(2_000, "started", timeout_s=90))
    burst = queues.limits("partner.a").burst or 0
    assert (len(at) - burst) / (at[-1] - at[0]) == pytest.approx(rate, rel=0.02)
    jitter_s = 0.1  # between the grant and the start of the task
    most = math.ceil(rate * (1 + jitter_s) + burst)
    assert all(sum(first <= one < first + 1 for one in at) <= most for first in at)
