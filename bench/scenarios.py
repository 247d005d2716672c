"""The scenarios: kinds of load and numbers of workers, one dimension changed at a time."""

from dataclasses import dataclass

from bench.receiver_process import ReceiverProcess
from bench.seed import Group

GROUP = "orders"
MAX_PORTS = 50

TRANSFORMATION = """
{"omit": ["$.data.customer.email", "$.data.customer.last_name"], "rename": {"$.data.order_id": "id"},
 "map": {"kind": "$.type", "marker": "$.data.trace", "order": "$.data.id", "total": "$.data.total_price",
         "lines": {"$each": "$.data.line_items[*]", "$to": {"sku": "@.sku", "amount": "@.quantity"}}}}
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    partners: int = 1000
    fan_out: int = 1
    size: int = 1024
    transform: bool = False
    workers: int = 2
    deliveries: int = 30_000
    steady_s: float = 20.0

    @property
    def events(self) -> int:
        return self.deliveries // self.fan_out

    @property
    def ports(self) -> int:
        """The number of ports that the endpoints are spread over."""
        return min(self.partners, MAX_PORTS)

    def group(self, receiver: ReceiverProcess) -> Group:
        return Group(
            GROUP,
            [receiver.url("ok", GROUP, number) for number in range(self.partners)],
            fan_out=self.fan_out,
            transformation=TRANSFORMATION if self.transform else "",
        )


MAIN = Scenario("1 KB, 1 subscription an event, 1,000 partners, 2 workers")
QUICK = Scenario("quick", partners=100, deliveries=6_000, steady_s=4.0)
FULL = (
    MAIN,
    Scenario("10 KB", size=10_240),
    Scenario("10 subscriptions an event", fan_out=10),
    Scenario("with a transformation", transform=True),
    Scenario("10 partners", partners=10),
    Scenario("10,000 partners", partners=10_000),
    Scenario("1 worker", workers=1),
    Scenario("4 workers", workers=4),
)
PEERS = (
    Scenario("plain Celery", deliveries=6_000),
    Scenario("django-webhook", partners=1, deliveries=4_000),
)
PEERS_QUICK = (
    Scenario("plain Celery", partners=100, deliveries=600, steady_s=3.0),
    Scenario("django-webhook", partners=1, deliveries=400, steady_s=3.0),
)
