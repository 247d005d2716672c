"""The steps of one attempt, without Celery.

    load ─► still pending? ─► prepare ─► send ─► decide ─► record ─► (try later | dead | done)

At least once: the attempt is recorded after the request was sent, so after a crash in between the request is sent
again. A duplicate is allowed, a silent loss is not. Messages that the bridge or reconciliation publish twice are
recognised by the delivery's state.
"""

import logging
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from delivery.breaker import FIRST_PERIOD_S, Breaker
from delivery.due import Due
from delivery.errors import DeliveryDead, Postponed, TryLater
from delivery.jobs import PENDING, Job
from delivery.outcomes import ErrorClass, Outcome, failed
from delivery.prepare import noted, prepare
from delivery.quarantine import Quarantine
from delivery.recorder import AttemptRecord, headers_text
from delivery.retries import decide
from delivery.sending import Request
from delivery.tracing import Ended, Trace, untraced
from partners.errors import SecretError, TransformError

logger = logging.getLogger("delivery.attempt")

EXPUNGED = "the event's data was expunged"


@dataclass(frozen=True, slots=True)
class Tools:
    """The dependencies of an attempt. Tests replace them."""

    load: Callable[[str], Job | None]
    breaker: Breaker
    quarantine: Quarantine
    send: Callable[[Request], Outcome]
    record: Callable[[AttemptRecord], object]
    user_agent: str
    connect_timeout_s: float
    retry_after_cap_s: float
    worker: str
    trace: Trace = untraced
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    random: Callable[[], float] = random.random
    rest: Callable[[], None] | None = None
    """A long transformation calls it from time to time."""


def deliver(delivery_id: str, attempt: int, tools: Tools) -> None:
    """Makes the attempt if it is due. Raises TryLater, Postponed or DeliveryDead to report its result to Celery.

    delivery.pipeline runs the same steps for many deliveries at a time.
    """
    job = tools.load(delivery_id)
    if job is None or job.status != PENDING:
        return
    refused = refusal(job, attempt, tools)
    if refused is not None:
        raise refused
    begun = begin(job, attempt, tools)
    made = end(begun, begun.outcome or tools.send(begun.request), tools)
    tools.record(made)
    result = result_of(job, made, tools)
    if result is not None:
        raise result


def refusal(job: Job, attempt: int, tools: Tools) -> TryLater | Postponed | None:
    """Why this attempt must not be made now; None if it may."""
    if job.attempt_count + 1 != attempt:
        return TryLater(_next(job, job.attempt_count + 1, job.next_attempt_at), "another attempt is next")
    quarantined_until = tools.quarantine.until(job.endpoint.partner_id)
    until = quarantined_until or tools.breaker.postponed_until(job.endpoint.subscription_id)
    if until is None:
        return None
    later = until + tools.random() * FIRST_PERIOD_S  # so that postponed deliveries do not come all at once
    of_partner = quarantined_until is not None
    return Postponed(later, job.endpoint.subscription_id, job.endpoint.partner_id, of_partner=of_partner)


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt in progress: its request, or its outcome if there is nothing to send."""

    job: Job
    number: int
    started_at: datetime
    headers: str
    """The request's headers as they are recorded; empty if nothing is sent."""
    request: Request
    outcome: Outcome | None
    ended: Ended
    """Ends the attempt's span; called with the outcome."""


NOTHING_TO_SEND = Request("", {}, b"")


def begin(job: Job, attempt: int, tools: Tools) -> Begun:
    """Prepares the request. A fault of the partner or of the event is an outcome, not an exception."""
    started_at = tools.now()
    traced, ended = tools.trace(job, attempt)
    request, outcome = _request(traced, started_at, tools)
    headers = "" if outcome else headers_text(noted(request.headers))
    return Begun(job, attempt, started_at, headers, request, outcome, ended)


def end(begun: Begun, outcome: Outcome, tools: Tools) -> AttemptRecord:
    """Decides what follows the outcome; returns the record of the attempt."""
    begun.ended(outcome)
    job, attempt, started_at = begun.job, begun.number, begun.started_at
    ended_at = tools.now()
    step = decide(
        outcome,
        attempt,
        job.endpoint.schedule_s,
        retry_after_cap_s=tools.retry_after_cap_s,
        now=ended_at.timestamp(),
        random=tools.random,
    )
    pending = step.status == PENDING
    is_first = attempt == 1 and begun.headers
    return AttemptRecord(
        delivery_id=job.delivery_id,
        subscription_id=job.endpoint.subscription_id,
        partner_id=job.endpoint.partner_id,
        event_type=job.event_type,
        number=attempt,
        started_at=started_at,
        request_headers=begun.headers,
        outcome=outcome,
        step=step,
        next_attempt_at=ended_at + timedelta(seconds=step.delay_s or 0) if pending else None,
        finished_at=None if pending else ended_at,
        worker=tools.worker,
        url=job.endpoint.url,
        event_delay_s=max((started_at - job.occurred_at).total_seconds(), 0.0) if is_first else None,
    )


def result_of(job: Job, made: AttemptRecord, tools: Tools) -> TryLater | DeliveryDead | None:
    """How the delivery goes on after its attempt was recorded; None if it succeeded. Tells the breaker, and logs."""
    _tell_breaker(job, made, tools.breaker)
    if logger.isEnabledFor(logging.INFO):
        _log(job, made)
    if made.next_attempt_at is not None:
        return TryLater(_next(job, made.number + 1, made.next_attempt_at), made.outcome.detail)
    if made.step.status == "dead":
        return DeliveryDead(f"{made.outcome.detail} (attempt {made.number})")
    return None


def worker_name(process_id: int) -> str:
    return f"{socket.gethostname()}:{process_id}"[:100]


def _request(job: Job, now: datetime, tools: Tools) -> tuple[Request, Outcome | None]:
    """The request, or NOTHING_TO_SEND and the outcome."""
    if job.is_expunged:
        return NOTHING_TO_SEND, failed(ErrorClass.DISABLED, EXPUNGED)
    if job.endpoint.stopped:
        return NOTHING_TO_SEND, failed(ErrorClass.DISABLED, job.endpoint.stopped)
    try:
        return prepare(job, now, tools.user_agent, tools.connect_timeout_s, tools.rest), None
    except TransformError as error:
        return NOTHING_TO_SEND, failed(ErrorClass.TRANSFORM, str(error))
    except SecretError as error:
        return NOTHING_TO_SEND, failed(ErrorClass.INTERNAL, str(error))
    except Exception as error:  # our own fault must not lose the delivery: it is retried like any other
        logger.exception("an attempt could not be prepared", extra=_marks(job))
        return NOTHING_TO_SEND, failed(ErrorClass.INTERNAL, type(error).__name__)


def _next(job: Job, attempt: int, due_at: datetime | None) -> Due:
    return Due(
        job.delivery_id, attempt, job.endpoint.partner_id, job.event_type, due_at.timestamp() if due_at else None
    )


def _tell_breaker(job: Job, made: AttemptRecord, breaker: Breaker) -> None:
    """Counts the attempt. Closes the breaker of a disabled or deleted subscription, which needs it no longer."""
    if made.outcome.error in _NOT_THE_ENDPOINT and not job.endpoint.stopped:
        breaker.saw_nothing(made.subscription_id)
    elif breaker.saw(made.subscription_id, failed=says_down(made.outcome)) is not None:
        extra = {**_marks(job), "subscription_id": made.subscription_id, "partner_id": made.partner_id}
        logger.warning("breaker opened", extra=extra)


def says_down(outcome: Outcome) -> bool:
    """Whether the endpoint is at fault, and not this event: it did not answer, or answered with 5xx or 429."""
    if outcome.status_code is not None:
        return outcome.status_code >= 500 or outcome.status_code == 429
    return outcome.error not in _NOT_THE_ENDPOINT and not outcome.succeeded


_NOT_THE_ENDPOINT = frozenset({ErrorClass.TRANSFORM, ErrorClass.DISABLED, ErrorClass.INTERNAL, ErrorClass.UNSENDABLE})


def _marks(job: Job) -> dict[str, str]:
    """Ids by which to find an attempt's log lines: the partner's, our own, and the producer's."""
    marks = {"webhook_id": job.event_id, "delivery_id": job.delivery_id}
    return {**marks, "trace_id": job.traceparent.split("-")[1]} if job.traceparent else marks


def _log(job: Job, made: AttemptRecord) -> None:
    logger.info(
        "attempt",
        extra={
            **_marks(job),
            "subscription_id": made.subscription_id,
            "partner_id": made.partner_id,
            "event_type": made.event_type,
            "number": made.number,
            "status": made.step.status,
            "status_code": made.outcome.status_code,
            "error": made.outcome.error,
            "latency_ms": round(made.outcome.latency_ms, 1),
            "detail": made.outcome.detail,
        },
    )
