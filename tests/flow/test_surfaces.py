"""Prometheus, the roll-ups, the admin and Flower agree with what the receiver counted for five kinds of partners.

One is fast, one slow (0.8 s), one fails 30 % of its requests, one has a rate limit, and one is down (503). Counts may
differ by 1 %; latencies must be in the right bucket.
"""

import re
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from delivery.flower_feed import NOT_SHOWN
from recart_hooks.ports import LOOPBACK, free_port
from tests.exchange import Exchange, Received
from tests.flow.system import Seeded, System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(400)]

EVENTS = 200
PATHS = {
    "fast": "/ok",
    "slow": "/slow?s=0.8",
    "flaky": "/flaky",
    "limited": "/ok",
    "down": "/status/503",
}
PASSWORD = "what-staff-know-1"
CREDENTIAL = "Bearer b2YtdGhlaXJz"
TASK = "delivery.deliver orders.created"


@dataclass(frozen=True)
class Counted:
    """The attempts of one partner."""

    attempts: int
    failures: int

    def is_about(self, other: "Counted") -> bool:
        pairs = ((self.attempts, other.attempts), (self.failures, other.failures))
        return all(abs(mine - theirs) <= 0.01 * theirs for mine, theirs in pairs)


@dataclass
class Flaky:
    """Of ten requests, the third, the sixth and the ninth get a 500."""

    requests: int = 0
    failed: list[Received] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, exchange: Exchange) -> None:
        with self.lock:
            self.requests += 1
            fails = self.requests % 10 in {3, 6, 9}
            if fails:
                self.failed.append(exchange.request)
        exchange.answer(500 if fails else 200)


@dataclass(frozen=True)
class Run:
    """The system after all events were delivered."""

    system: System
    receiver: Receiver
    partners: Mapping[str, Seeded]
    metrics_port: int
    flaky: "Flaky"

    def truth(self, of_type: str = "") -> dict[str, Counted]:
        """What the receiver counted, for all events or for those of one type."""
        wanted = f'"type":"{of_type}'.encode()
        attempts = Counter(who(one.path) for one in self.receiver.requests if wanted in one.body)
        failures = {"down": attempts["down"], "flaky": sum(wanted in one.body for one in self.flaky.failed)}
        return {name: Counted(attempts[name], failures.get(name, 0)) for name in PATHS}


def who(path: str) -> str:
    return parse_qs(urlsplit(path).query)["who"][0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    metrics_port = free_port()
    env = {"METRICS_PORT": str(metrics_port), "FLOWER_PASSWORD": PASSWORD}
    with System(tmp_path_factory.mktemp("surfaces"), env) as system, Receiver() as receiver:
        made = system.seed([partner(name, receiver) for name in PATHS])
        flaky = Flaky()
        receiver.answer("/flaky", flaky)
        done = Run(system, receiver, dict(zip(PATHS, made, strict=True)), metrics_port, flaky)
        system.start("bridge", "worker-1", "worker-2", "web", "flower")
        flower_listens(done)
        system.publish([("orders.created", f"{uuid.uuid4().hex}-{n}", b'{"n": %d}' % n) for n in range(EVENTS)])
        settle(done)
        yield done


def partner(name: str, receiver: Receiver) -> dict[str, object]:
    path = PATHS[name]
    url = receiver.url(f"{path}{'&' if '?' in path else '?'}who={name}")
    limit = "20/s" if name == "limited" else ""
    types = "orders.*" if name == "down" else "*"  # with `*` its breaker might open before the first order
    subscription = {"url": url, "event_types": [types], "headers": {"Authorization": CREDENTIAL}}
    return {"name": name, "rate_limit": limit, "subscriptions": [subscription]}


def flower_listens(run: Run) -> None:
    """Waits until Flower receives task events. It turns them on every five seconds; meanwhile other events are made."""

    asked = 0

    def told() -> bool:
        nonlocal asked
        asked += 1
        if asked % 10 == 1:
            run.system.publish([("warm.up", uuid.uuid4().hex, b"{}")])
        return len({worker for worker, task, _ in flower_events(run) if "warm.up" in task}) == 2

    run.system.wait_until(lambda: flower_answers(run), "Flower answers")
    run.system.wait_until(told, "Flower is told of tasks")
    others = "SELECT count(*) FROM delivery_delivery WHERE status = 'pending' AND partner_id <> %s"
    run.system.wait_until(lambda: run.system.count(others, run.partners["down"].partner_id) == 0, "those are done")


def settle(run: Run) -> None:
    """Waits until all partners but the one that is down are served, then pauses that one, so that nothing changes."""
    system, down = run.system, run.partners["down"].partner_id
    others = "SELECT count(*) FROM delivery_delivery WHERE status = 'pending' AND partner_id <> %s"
    of_all = "SELECT count(*) FROM delivery_delivery"
    system.wait_until(lambda: system.count(of_all) >= EVENTS * len(PATHS), "every event is stored")
    system.wait_until(lambda: system.count(others, down) == 0, "four partners are served", 120)
    with_failures = "SELECT count(*) FROM delivery_attempt WHERE error <> ''"
    system.wait_until(lambda: system.count(with_failures) > EVENTS // 2, "there are failures")
    system.manage(
        "shell",
        "-c",
        f"from partners.models import *; from partners.services import *\n"
        f"pause_partner(Partner.objects.get(pk={down!r}))",
    )

    def still() -> bool:
        recorded = system.count("SELECT count(*) FROM delivery_attempt")
        rolled_up = system.count("SELECT coalesce(sum(attempts), 0) FROM delivery_rollup")
        return recorded == rolled_up == len(run.receiver.requests)

    system.wait_until(still, "everything is recorded and rolled up")


def flower_answers(run: Run) -> bool:
    try:
        return requests.get(f"http://{LOOPBACK}:{run.system.flower_port}/healthcheck", timeout=5).ok
    except requests.ConnectionError:
        return False


def flower_events(run: Run) -> Counter[tuple[str, str, str]]:
    """How many task events Flower has seen, by worker, task and type."""
    text = requests.get(f"http://{LOOPBACK}:{run.system.flower_port}/metrics", timeout=5).text
    found: Counter[tuple[str, str, str]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "flower_events_total" and sample.labels.get("task"):
                found[sample.labels["worker"], sample.labels["task"], sample.labels["type"]] += int(sample.value)
    return found


def of_workers(run: Run) -> list[str]:
    """The metrics of each worker process, from the ports that start at `metrics_port`."""
    texts = []
    for port in range(run.metrics_port, run.metrics_port + 12):
        try:
            texts.append(requests.get(f"http://{LOOPBACK}:{port}/metrics", timeout=5).text)
        except requests.ConnectionError:
            continue
    return [text for text in texts if 'process="worker"' in text]


def from_prometheus(run: Run) -> dict[str, Counted]:
    names = {seeded.partner_id: name for name, seeded in run.partners.items()}
    attempts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for text in of_workers(run):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "recart_hooks_attempts_total":
                    name = names[sample.labels["partner"]]
                    attempts[name] += int(sample.value)
                    failures[name] += int(sample.value) if sample.labels["outcome"] != "succeeded" else 0
    return {name: Counted(attempts[name], failures[name]) for name in PATHS}


def test_prometheus(run: Run) -> None:
    assert len(of_workers(run)) == 2
    told, truth = from_prometheus(run), run.truth()
    assert all(told[name].is_about(truth[name]) for name in PATHS), (told, truth)
    assert truth["down"].failures == truth["down"].attempts > 0


def test_latencies_are_in_the_bucket_where_the_receiver_put_them(run: Run) -> None:
    slow = run.partners["slow"].partner_id
    buckets: Counter[str] = Counter()
    for text in of_workers(run):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.endswith("attempt_duration_seconds_bucket") and sample.labels["partner"] == slow:
                    buckets[sample.labels["le"]] += int(sample.value)
    assert buckets["0.65"] == 0
    assert buckets["1.0"] >= 0.95 * buckets["+Inf"] > 0


def test_queues_at_the_web(run: Run) -> None:
    text = requests.get(f"http://{LOOPBACK}:{run.system.web_port}/metrics", timeout=60).text
    gauges = {
        (sample.name, sample.labels.get("partner")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    down = run.partners["down"].partner_id
    waiting = gauges["recart_hooks_queue_ready", down] + gauges["recart_hooks_queue_delayed", down]
    assert waiting == run.system.unfinished()
    assert gauges["recart_hooks_queue_paused", down] == 1
    assert gauges["recart_hooks_queue_ready", run.partners["fast"].partner_id] == 0


def test_roll_ups_which_the_api_shows(run: Run) -> None:
    rows = run.system.query("SELECT partner_id, sum(attempts), sum(failures) FROM delivery_rollup GROUP BY 1")
    told = {partner_id: Counted(int(attempts), int(failures)) for partner_id, attempts, failures in rows}
    truth = run.truth()
    assert all(told[run.partners[name].partner_id] == truth[name] for name in PATHS), (told, truth)


def test_the_admin(run: Run) -> None:
    run.system.manage(
        "shell",
        "-c",
        f"from django.contrib.auth.models import User; User.objects.create_superuser('ops', '', {PASSWORD!r})",
    )
    site = f"http://{LOOPBACK}:{run.system.web_port}"
    with requests.Session() as session:
        session.get(f"{site}/admin/login/", timeout=60)
        form = {"username": "ops", "password": PASSWORD, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
        session.post(f"{site}/admin/login/", data=form, headers={"referer": site}, timeout=60)
        for name, seeded in run.partners.items():
            address = f"{site}/admin/partners/partner/traffic/?range=1h&partner={seeded.partner_id}"
            page = session.get(address, timeout=60).text
            told = Counted(number(page, r"<h3>Attempts</h3>\s*<p[^>]*>([\d,]+)"), number(page, r"([\d,]+) failed"))
            assert told.is_about(run.truth()[name]), name


def number(page: str, pattern: str) -> int:
    found = re.search(pattern, page)
    assert found, page[:2000]
    return int(found[1].replace(",", ""))


def test_flower(run: Run) -> None:
    def told() -> tuple[int, int]:
        seen = flower_events(run)
        succeeded, failed = not_shown(run)
        for (_, task, type_), count in seen.items():
            if task == TASK:
                succeeded += count if type_ == "task-succeeded" else 0
                failed += count if type_ in {"task-retried", "task-failed"} else 0
        return succeeded, failed

    truth = run.truth("orders.created").values()
    failures = sum(one.failures for one in truth)
    wanted = sum(one.attempts for one in truth) - failures, failures
    run.system.wait_until(lambda: told() == wanted, f"Flower tells of {wanted}, it told {told()}", 15)


def not_shown(run: Run) -> tuple[int, int]:
    """Successes and failures that the workers only counted for Flower."""
    found = flower_tasks(run, NOT_SHOWN)
    numbers = [re.findall(r"\d+", task["result"]) for task in found]
    return sum(int(one[0]) for one in numbers), sum(int(one[1]) for one in numbers)


def flower_tasks(run: Run, name: str) -> list[dict[str, str]]:
    address = f"http://{LOOPBACK}:{run.system.flower_port}/api/tasks"
    answer = requests.get(address, params={"taskname": name}, auth=("flower", PASSWORD), timeout=60)
    return list(answer.json().values())


def test_flower_names_partner_and_event_type(run: Run) -> None:
    def partners() -> set[str]:
        return {task["args"].partition(",")[0] for task in flower_tasks(run, TASK)}

    wanted = {"slow", "flaky", "limited", "down"}
    run.system.wait_until(lambda: partners() >= wanted, "tasks of four partners, once Flower has heard of them")
    assert {task["name"] for task in flower_tasks(run, TASK)} == {TASK}


def test_no_secret_is_in_a_log_a_table_or_valkey(run: Run) -> None:
    """Valkey's append-only file has every command since the start. Text that is not secret is found in all three."""
    making = "from partners.keys import create_key; print(create_key('grep', 'producer', None).token)"
    key = run.system.manage("shell", "--no-imports", "-c", making).strip()
    address = f"http://{LOOPBACK}:{run.system.web_port}/api/v1/event-types"
    assert requests.get(address, headers={"Authorization": f"Bearer {key}"}, timeout=60).ok
    kept = {
        "log": run.system.log.read_bytes(),
        "tables": b"\n".join(rows_of(run.system)),
        "valkey": b"\n".join(one.read_bytes() for one in run.system.directory.rglob("valkey/**/*.aof")),
    }
    assert {one.headers["authorization"] for one in run.receiver.requests} == {CREDENTIAL}
    secrets = [CREDENTIAL, *(seeded.secret.removeprefix("whsec_") for seeded in run.partners.values())]
    for place, text in kept.items():
        assert run.partners["down"].partner_id.encode() in text, f"nothing of the run is in {place}"
        found = [number for number, secret in enumerate([key, *secrets]) if secret.encode() in text]
        assert not found, f"secrets {found} are in {place}"


def rows_of(system: System) -> Iterator[bytes]:
    """Every row of every table, as text."""
    for (table,) in system.query("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"):
        yield from (row.encode() for (row,) in system.query(f"SELECT t::text FROM {table} AS t"))
