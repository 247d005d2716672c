"""Turns the end of an exchange into an Outcome, for all senders."""

import logging
import time
from collections.abc import Callable

from delivery.outcomes import READ_MAX_BYTES, ErrorClass, Outcome, answered, failed
from delivery.sending.answers import Answer
from delivery.sending.failures import Failure, caused

logger = logging.getLogger(__name__)


class Attempt:
    """One exchange, which begins now. The sender fills `answer`."""

    __slots__ = ("answer", "started")

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.answer = Answer()

    def spent_s(self) -> float:
        return time.monotonic() - self.started

    def ends(self, ending: Callable[[], int]) -> Outcome:
        """The outcome of the exchange. `ending` returns the final status or raises.

        A bug must not prevent the record of the attempt: the exception is logged, and the outcome is INTERNAL, which is
        retried.
        """
        try:
            status_code = ending()
        except Failure as failure:
            return self._failed(failure)
        except Exception as error:
            logger.exception("a sender raised an exception")
            return self._failed(caused(ErrorClass.INTERNAL, type(error).__name__))
        answer = self.answer
        return answered(status_code, answer.headers, bytes(answer.body), self.spent_s() * 1000)

    def _failed(self, failure: Failure) -> Outcome:
        answer = self.answer
        return failed(
            failure.error,
            failure.detail,
            self.spent_s() * 1000,
            status_code=answer.status_code,
            headers=answer.headers,
            body=bytes(answer.body[:READ_MAX_BYTES]),
        )
