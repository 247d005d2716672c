"""Spans of OpenTelemetry: of every attempt, every batch of the bridge, every publish. Off unless a collector is named.

Off, nothing of OpenTelemetry is imported and nothing is wrapped. On, the standard OTEL_* variables say where spans go
(OTLP over HTTP), which are sampled, and what the service is called. A span continues the event's `traceparent`, and the
partner gets the span's own, so that what the partner does with the event hangs below our attempt.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings

from delivery.jobs import Job
from delivery.outcomes import Outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Tracer

Item = TypeVar("Item")
Result = TypeVar("Result")
Ended = Callable[[Outcome], object]
"""To be told the outcome of an attempt."""
Trace = Callable[[Job, int], tuple[Job, Ended]]
"""An attempt begins: the job as it is to be sent, and who wants to hear of its end."""

_NAME = "recart-hooks"
_LINKS = 100
"""As many events of a batch are linked to its span; the SDK keeps 128."""


def untraced(job: Job, attempt: int) -> tuple[Job, Ended]:
    return job, _nobody


def _nobody(outcome: Outcome) -> None:
    pass


def attempt_trace() -> Trace:
    """Who is told of each attempt."""
    return AttemptSpans(_tracer()) if settings.TRACING else untraced


def traced(
    name: str, work: Callable[[Sequence[Item]], Result], traceparent: Callable[[Item], str] = lambda _: ""
) -> Callable[[Sequence[Item]], Result]:
    """`work` with a span around it, linked to the traces that its items belong to."""
    if not settings.TRACING:
        return work

    @wraps(work)
    def run(items: Sequence[Item]) -> Result:
        links = [link for one in items[:_LINKS] if (link := _link(traceparent(one)))]
        attributes = {"messaging.batch.message_count": len(items)}
        with _tracer().start_as_current_span(name, attributes=attributes, links=links):
            return work(items)

    return run


class AttemptSpans:
    """A span for each attempt; no context is attached, for attempts take turns in one thread."""

    def __init__(self, tracer: "Tracer") -> None:
        self._tracer = tracer

    def __call__(self, job: Job, attempt: int) -> tuple[Job, Ended]:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context  # noqa: PLC0415 - only when on
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        propagator, carrier = TraceContextTextMapPropagator(), dict[str, str]()
        parent = propagator.extract({"traceparent": job.traceparent})
        span = self._tracer.start_span(
            f"deliver {job.event_type}", context=parent, kind=SpanKind.CLIENT, attributes=_attributes(job, attempt)
        )
        propagator.inject(carrier, set_span_in_context(span))

        def ended(outcome: Outcome) -> None:
            if outcome.status_code is not None:
                span.set_attribute("http.response.status_code", outcome.status_code)
            if outcome.error is not None:
                span.set_attribute("error.type", str(outcome.error))
                span.set_status(Status(StatusCode.ERROR, outcome.detail))
            span.end()

        return replace(job, traceparent=carrier["traceparent"]), ended


def _attributes(job: Job, attempt: int) -> dict[str, Any]:
    return {
        "http.request.method": "POST",
        "http.request.resend_count": attempt - 1,
        "server.address": urlsplit(job.endpoint.url).hostname or "",  # no more of it: paths may be secret
        "messaging.message.id": job.event_id,
        "recart_hooks.event_type": job.event_type,
        "recart_hooks.delivery_id": job.delivery_id,
        "recart_hooks.subscription_id": job.endpoint.subscription_id,
        "recart_hooks.partner_id": job.endpoint.partner_id,
    }


def _link(traceparent: str) -> "Link | None":
    from opentelemetry.trace import Link, get_current_span  # noqa: PLC0415 - only when tracing is on
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    found = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": traceparent})).get_span_context()
    return Link(found) if traceparent and found.is_valid else None


def _tracer() -> "Tracer":
    return _provider().get_tracer(_NAME, settings.VERSION)


@lru_cache(maxsize=1)
def _provider() -> "TracerProvider":
    """This process' one; what it holds is sent at the end of the process."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise RuntimeError("OTEL_EXPORTER_OTLP_ENDPOINT is set: pip install -r requirements-otel.txt") from error
    named = Resource({"service.name": _NAME, "service.version": settings.VERSION})
    provider = TracerProvider(resource=Resource.create().merge(named).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
