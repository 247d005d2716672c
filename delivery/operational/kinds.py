"""The catalogue of operational events: titles and sample data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from partners.endpoints import origin
from partners.wording import counted, span

FAILING = "subscription.failing"
DISABLED = "subscription.disabled"
BREAKER = "breaker.opened"
DEAD = "delivery.dead"
LIMITED = "partner.rate_limited"


@dataclass(frozen=True, slots=True)
class Kind:
    """`title` is one line for people; its placeholders are members of `showable` data."""

    name: str
    title: str
    sample: Mapping[str, Any]

    def title_of(self, data: Mapping[str, Any]) -> str:
        return self.title.format_map(showable(data) | _in_words(data))


def showable(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data for logs and mail, with the endpoint's URL cut to its origin. Only the partner is sent the whole URL."""
    return {name: origin(value) if name == "url" else value for name, value in data.items()}


def _in_words(data: Mapping[str, Any]) -> dict[str, str]:
    if "wait_s" not in data:
        return {}
    wait = span(timedelta(seconds=data["wait_s"]))
    return {"waiting": counted(data["waiting"], "delivery", "deliveries"), "wait_s": wait}


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            FAILING,
            "{url} ({subscription_id}) has failed since {failing_since}; it will be disabled at {disabled_from} "
            "unless a delivery succeeds",
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
            "{url} ({subscription_id}) seems to be down: deliveries wait until a probe succeeds",
            {"subscription_id": "sub_0199…", "url": "https://hooks.example.com/orders", "opened": 1},
        ),
        Kind(
            DEAD,
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
            "{waiting} must wait for the rate limit {rate_limit}: sending them takes about {wait_s}",
            {"waiting": 40000, "rate_limit": "50/s", "wait_s": 800},
        ),
    )
}
