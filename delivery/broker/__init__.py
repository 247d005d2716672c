"""A fair broker for Celery on Valkey/Redis: per-tenant queues where one tenant's trouble cannot reach another."""

from delivery.broker.queues import FairMessage, FairQueues, QueueLimits, QueueStats, connect
from delivery.broker.transport import register

__all__ = ["FairMessage", "FairQueues", "QueueLimits", "QueueStats", "connect", "register"]
