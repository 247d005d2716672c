"""A fair broker for Celery on Valkey/Redis: a queue for each tenant, none of which can delay another.

The package does not depend on the application around it. README.md shows how to use it.
"""

from delivery.broker.consistency import faults
from delivery.broker.envelope import FairMessage
from delivery.broker.errors import FairBrokerError, InvalidMessage, InvalidRate, Unsupported
from delivery.broker.limits import QueueLimits
from delivery.broker.queues import FairQueues, QueueStats
from delivery.broker.rates import parse_rate
from delivery.broker.transport import connect, register

__all__ = [
    "FairBrokerError",
    "FairMessage",
    "FairQueues",
    "InvalidMessage",
    "InvalidRate",
    "QueueLimits",
    "QueueStats",
    "Unsupported",
    "connect",
    "faults",
    "parse_rate",
    "register",
]
