"""The frame of every sender: runs one exchange, and makes an Outcome of whatever comes of it."""

import logging
import time
from collections.abc import Callable

from delivery.outcomes import READ_MAX_BYTES, ErrorClass, Outcome, answered, failed
from delivery.sending.answers import Answer
from delivery.sending.failures import Failure, caused

logger = logging.getLogger(__name__)


def attempt(exchange: Callable[[Answer, float], int]) -> Outcome:
    """`exchange` is given an answer to fill and the time.monotonic() of the start; it returns the final status.

    What it raises becomes an Outcome too. A bug must not cost the attempt its record: it is logged with its traceback
    and is an INTERNAL failure, which is retried like others.
    """
    started = time.monotonic()
    answer = Answer()
    try:
        status_code = exchange(answer, started)
    except Failure as failure:
        return _failed(failure, answer, started)
    except Exception as error:
        logger.exception("a sender failed")
        return _failed(caused(ErrorClass.INTERNAL, type(error).__name__), answer, started)
    return answered(status_code, answer.headers, bytes(answer.body), _ms_since(started))


def _failed(failure: Failure, answer: Answer, started: float) -> Outcome:
    return failed(
        failure.error,
        failure.detail,
        _ms_since(started),
        status_code=answer.status_code,
        headers=answer.headers,
        body=bytes(answer.body[:READ_MAX_BYTES]),
    )


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000
