"""Rate limits of the API itself, for each key, stored in Valkey and so shared by all web processes.

A limit is written `600/m`: this many requests at once, and then evenly over the time (GCRA). Each answer has the
headers of draft-ietf-httpapi-ratelimit-headers. While Valkey is away nothing is limited: storing events matters more.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from delivery.passing import Silence
from delivery.publish import BRIEF_S, valkey
from partners.models import ApiKey
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

_TAKE = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1e6
local quota, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local next_full_at = full_at + window / quota
local wait = next_full_at - window - now
if wait > 0 then return {0, tostring(wait), tostring(full_at - now)} end
redis.call('SET', KEYS[1], string.format('%.17g', next_full_at), 'PX', math.ceil((next_full_at - now) * 1000))
return {1, '0', tostring(next_full_at - now)}
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """`quota` requests in `window_s` seconds."""

    name: str
    quota: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether a request is allowed, how long to wait if not, and how long until the whole quota is free again."""

    allowed: bool
    wait_s: float
    full_in_s: float

    def headers(self, limit: Limit) -> dict[str, str]:
        left = 0 if not self.allowed else int(limit.quota * (1 - self.full_in_s / limit.window_s) + 1e-6)
        until = math.ceil(self.full_in_s if self.allowed else self.wait_s)
        return {
            "RateLimit-Policy": f'"{limit.name}";q={limit.quota};w={limit.window_s}',
            "RateLimit": f'"{limit.name}";r={left};t={until}',
        }


class SharedLimiter:
    """Counts requests in Valkey."""

    def __init__(self, client: "redis.Redis", clock: Callable[[], float] = time.monotonic) -> None:
        self._take = client.register_script(_TAKE)
        self._silence = Silence(clock=clock)
        self._away = Trouble(logger, "requests are not limited: Valkey is away")

    def take(self, who: str, limit: Limit) -> Taken:
        if self._silence.lasts:
            return Taken(True, 0, 0)
        try:
            allowed, wait, full_in = self._take(
                keys=[f"api.rate.{limit.name}.{who}"], args=[limit.quota, limit.window_s]
            )
        except redis.RedisError as error:
            self._silence.begins()
            self._away.met(error)
            return Taken(True, 0, 0)
        self._away.over()
        return Taken(bool(allowed), float(wait), float(full_in))


@lru_cache(maxsize=1)
def limiter() -> SharedLimiter:
    return SharedLimiter(valkey(BRIEF_S))


class KeyRate(BaseThrottle):
    """Limits each key by kind of request: a view's `rate` names one of settings.API_RATE_LIMITS."""

    def __init__(self) -> None:
        self._wait_s: float | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        name = getattr(view, "rate", "default")
        rate = settings.API_RATE_LIMITS[name]
        if rate is None or not isinstance(request.auth, ApiKey):
            return True
        limit = Limit(name, *rate)
        taken = limiter().take(request.auth.pk, limit)
        request._request.rate_headers = taken.headers(limit)  # type: ignore[attr-defined]  # ApiView adds them to the answer
        self._wait_s = taken.wait_s
        return taken.allowed

    def wait(self) -> float | None:
        return self._wait_s
