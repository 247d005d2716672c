"""The package's exceptions. Errors of the server and its connections are redis.RedisError.

FairBrokerError
├── InvalidRate (ValueError)     a rate that is not in Celery's format
├── InvalidMessage (ValueError)  a message whose queue or id is not allowed
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
