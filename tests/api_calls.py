"""Helpers for tests of the API: partners with keys, and a JSON client that uses one of the keys."""

from dataclasses import dataclass
from typing import Any

import orjson
from django.test import Client

from partners import services
from partners.keys import create_key
from partners.models import ApiKey, Partner, Subscription

V1 = "/api/v1"
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Caller:
    """A client with a key. Its answers are Django's responses."""

    key: ApiKey
    token: str

    @property
    def partner(self) -> Partner:
        assert self.key.partner is not None
        return self.key.partner

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return call(method, path, body, authorization=f"Bearer {self.token}", **headers)

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("PUT", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.call("DELETE", path, **headers)


def call(method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Calls `path` below /api/v1. A body of bytes is sent unchanged, any other as JSON."""
    data = {} if body is None else {"data": body, "content_type": "application/json"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    client = Client(raise_request_exception=False)
    return client.generic(method, f"{V1}{path}", **_encoded(data), headers=names)


def _encoded(data: dict[str, Any]) -> dict[str, Any]:
    if isinstance(data.get("data", b""), bytes):
        return data
    return {**data, "data": orjson.dumps(data["data"])}


def partner_named(name: str, **fields: Any) -> Partner:
    return Partner.objects.filter(name=name).first() or services.create_partner(name, **fields)


def caller(scope: str = "partner", partner: str = "Yotpo") -> Caller:
    owner = None if scope in {"producer", "catalogue"} else partner_named(partner)
    new = create_key(f"{scope} of {partner}", scope, owner)
    return Caller(new.key, new.token)


def subscription_of(partner: Partner, **fields: Any) -> Subscription:
    values = {"url": "https://hooks.example.com/in", "event_types": ["orders.*"], **fields}
    return services.create_subscription(partner, **values)


def is_problem(answer: Any, status: int, code: str, *places: str) -> bool:
    """Asserts that the answer is this problem, with errors at these places (pointers, parameters or headers)."""
    assert (answer.status_code, answer["Content-Type"]) == (status, PROBLEM), answer.content
    body = answer.json()
    assert (body["status"], body["code"], bool(body["request_id"])) == (status, code, True), body
    found = [one.get("pointer") or one.get("parameter") or one.get("header") for one in body.get("errors", [])]
    assert sorted(found) == sorted(places), body
    return True
