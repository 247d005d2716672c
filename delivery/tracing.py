"""OpenTelemetry spans of every attempt, and of every batch that the bridge stores and publishes.

Unless settings.TRACING is on, nothing of OpenTelemetry is imported and nothing is wrapped. The standard OTEL_*
variables say where spans go (OTLP over HTTP), which are sampled, and what the service is called. The span of an attempt
continues the event's `traceparent`; the partner gets the span's own, so the partner's spans are children of ours.
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
"""Called with the outcome of an attempt."""
Trace = Callable[[Job, int], tuple[Job, Ended]]
"""Called when an attempt begins; returns the job to send, and what to call when the attempt ends."""

_NAME = "recart-hooks"
_LINKS = 100
"""How many events of a batch its span links to; the SDK keeps 128."""


def untraced(job: Job, attempt: int) -> tuple[Job, Ended]:
    return job, _ignore


def _ignore(outcome: Outcome) -> None:
    pass


def attempt_trace() -> Trace:
    """The Trace that the settings ask for."""
    return AttemptSpans(_tracer()) if settings.TRACING else untraced


def traced(
    name: str, work: Callable[[Sequence[Item]], Result], traceparent: Callable[[Item], str] = lambda _: ""
) -> Callable[[Sequence[Item]], Result]:
    """`work` in a span, with links to the traces of its items."""
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
    """Makes a span for each attempt. Attaches no context, because attempts take turns in one thread."""

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
        "server.address": urlsplit(job.endpoint.url).hostname or "",  # without the path, which may be secret
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
    """The process' provider; it sends its last spans at the end of the process."""
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
