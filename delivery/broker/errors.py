"""Our own exceptions. What goes wrong with the server stays redis.RedisError.

FairBrokerError
├── InvalidRate (ValueError)     a rate that is not written as Celery writes rates
├── InvalidMessage (ValueError)  a message whose queue or id the broker cannot take
└── Unsupported                  Redis Cluster; consuming a single fair queue
"""


class FairBrokerError(Exception):
    pass


class InvalidRate(FairBrokerError, ValueError):  # noqa: N818 - reads as what it is
    pass


class InvalidMessage(FairBrokerError, ValueError):  # noqa: N818 - the same
    pass


class Unsupported(FairBrokerError):  # noqa: N818 - the same
    pass
