"""Requests over a key's limit are refused; while Valkey is away nothing is limited, which is logged once."""

from typing import Any

import pytest
import redis

from delivery import publish
from delivery.api.throttling import Limit, SharedLimiter
from tests.api_calls import caller


class Valkey:
    """Counts its calls, and is also the clock. Away at first."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_away = True
        self.now = 0.0

    def register_script(self, _: str) -> Any:
        return self.answer

    def answer(self, **_: Any) -> tuple[int, str, str]:
        self.asked += 1
        if self.is_away:
            raise redis.ConnectionError("refused")
        return 0, "3.5", "60"


def test_with_valkey_away_nothing_is_limited_which_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    valkey: Any = Valkey()
    limiter, limit = SharedLimiter(valkey, lambda: valkey.now), Limit("default", 1, 60)

    for valkey.now in (0.0, 1.0, 6.0, 7.0, 12.0):
        assert limiter.take("key_1", limit).allowed
    valkey.is_away, valkey.now = False, 20.0
    back = limiter.take("key_1", limit)

    assert valkey.asked == 4
    assert (back.allowed, back.wait_s) == (False, 3.5)
    said = [record.message for record in caplog.records]
    assert said == ["requests are not limited: Valkey is away", "going on"]


@pytest.mark.servers
@pytest.mark.usefixtures("valkey")
def test_each_request_counts_at_thousands_a_second() -> None:
    client: Any = publish.queues().client
    limiter, key = SharedLimiter(client), "api.rate.fast.key_1"
    limiter.take("key_1", Limit("fast", 1, 60))  # what follows adds to a minute, whatever time it takes
    before = float(client.get(key))

    for _ in range(30):
        assert limiter.take("key_1", Limit("fast", 30_000 * 3600, 3600)).allowed

    assert float(client.get(key)) - before == pytest.approx(30 / 30_000, rel=0.05)
    assert 0 < client.ttl(key) <= 61, "forgotten when the whole quota is free"
    client.delete(key)


@pytest.mark.django_db
@pytest.mark.usefixtures("valkey")
def test_a_request_over_the_limit_of_its_key_is_refused(settings: Any) -> None:
    settings.API_RATE_LIMITS = {"default": (2, 3600)}
    ada = caller()

    answers = [ada.get("/event-types") for _ in range(3)]

    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[0]["RateLimit-Policy"] == '"default";q=2;w=3600'
    left, wait_s = answers[0]["RateLimit"], int(answers[2]["Retry-After"])
    assert left.startswith('"default";r=1;')
    assert 1700 < wait_s <= 1800
    assert answers[2]["RateLimit"] == f'"default";r=0;t={wait_s}'
