"""The catalogue of operational events: what each one says and what its data look like."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from partners.endpoints import origin

FAILING = "subscription.failing"
DISABLED = "subscription.disabled"
BREAKER = "breaker.opened"
DEAD = "delivery.dead"
LIMITED = "partner.rate_limited"


@dataclass(frozen=True, slots=True)
class Kind:
    """`title` is one line for people; its names are members of the data, as they may be shown."""

    name: str
    description: str
    title: str
    sample: Mapping[str, Any]

    def title_of(self, data: Mapping[str, Any]) -> str:
        return self.title.format_map(showable(data))


def showable(data: Mapping[str, Any]) -> dict[str, Any]:
    """For logs and mail: of the endpoint's URL no more than its origin. The partner itself is sent all of it."""
    return {name: origin(value) if name == "url" else value for name, value in data.items()}


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            FAILING,
            "Nothing but failures for 50, 70 and 90 % of the time after which the subscription is disabled.",
            "{url} ({subscription_id}) has failed since {failing_since}; it will be disabled at {disabled_from} "
            "unless one succeeds",
            {
                "subscription_id": "sub_0199…",
                "url": "https://hooks.example.com/orders",
                "failing_since": "2026-11-18T08:00:00Z",
                "share": 0.5,
                "failures": 412,
                "disabled_from": "2026-11-23T08:00:00Z",
            },
        ),
        Kind(
            DISABLED,
            "The subscription gets nothing any more: it answered 410 Gone (gone), had nothing but failures for days "
            "(failing), or staff disabled it (staff).",
            "{url} ({subscription_id}) is disabled ({reason}) since {disabled_at}",
            {
                "subscription_id": "sub_0199…",
                "url": "https://hooks.example.com/orders",
                "reason": "failing",
                "disabled_at": "2026-11-23T08:00:00Z",
            },
        ),
        Kind(
            BREAKER,
            "The endpoint seems to be down: deliveries are held back, and it is probed now and then. At most once an "
            "hour for a subscription.",
            "{url} ({subscription_id}) seems to be down: deliveries wait until a probe succeeds",
            {"subscription_id": "sub_0199…", "url": "https://hooks.example.com/orders", "opened": 1},
        ),
        Kind(
            DEAD,
            "Deliveries ended without success and are kept for a replay. At most once an hour for a subscription, "
            "with how many there were.",
            "deliveries to {url} ({subscription_id}) ended without success: {count}",
            {
                "subscription_id": "sub_0199…",
                "url": "https://hooks.example.com/orders",
                "count": 3,
                "since": "2026-11-23T07:00:00Z",
                "deliveries": ["dlv_0199…"],
            },
        ),
        Kind(
            LIMITED,
            "More waits than the rate limit lets through in ten minutes. At most once an hour.",
            "{waiting} deliveries wait for the rate limit {rate_limit}: about {wait_s} s of sending",
            {"waiting": 40000, "rate_limit": "50/s", "wait_s": 800},
        ),
    )
}
