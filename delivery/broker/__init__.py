"""A fair broker for Celery on Valkey/Redis: per-tenant queues where one tenant's trouble cannot reach another.

Nothing here knows the applications around it: README.md says how another project would use it.
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
