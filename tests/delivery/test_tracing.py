"""OpenTelemetry spans continue the event's trace, have the outcome of the attempt, and cost nothing when off."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from delivery.jobs import Job
from delivery.outcomes import ErrorClass, failed
from delivery.tracing import AttemptSpans, attempt_trace, traced, untraced
from tests.delivery.test_deliver import JOB, OK

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACED = replace(JOB, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> AttemptSpans:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return AttemptSpans(provider.get_tracer("test"))


def parent_of(job: Job) -> str:
    """The `traceparent` that the endpoint gets, without the flags."""
    return job.traceparent.rpartition("-")[0]


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (found,) = exporter.get_finished_spans()
    return found


def test_an_attempt_continues_the_events_trace_and_hands_its_own_span_on(
    spans: AttemptSpans, exporter: InMemorySpanExporter
) -> None:
    sent, ended = spans(TRACED, 3)
    assert not exporter.get_finished_spans(), "it ends with the attempt"
    ended(OK)

    span = only(exporter)
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, "00f067aa0ba902b7")
    assert parent_of(sent) == f"00-{TRACE}-{span.context.span_id:016x}"
    assert replace(sent, traceparent="") == replace(TRACED, traceparent="")
    told = dict(span.attributes or {})
    assert (told["messaging.message.id"], told["http.request.resend_count"]) == (TRACED.event_id, 2)
    assert (told["http.response.status_code"], span.status.status_code) == (OK.status_code, StatusCode.UNSET)
    assert not any("/" in str(value) for value in told.values()), "no path of an endpoint: it may be secret"


def test_the_span_of_a_failure_has_its_class(spans: AttemptSpans, exporter: InMemorySpanExporter) -> None:
    outcome = failed(ErrorClass.TIMEOUT, "timed out after 15 s")
    spans(TRACED, 1)[1](outcome)
    span = only(exporter)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "timed out after 15 s")
    assert dict(span.attributes or {})["error.type"] == "timeout"


def test_an_event_without_a_trace_begins_one(spans: AttemptSpans, exporter: InMemorySpanExporter) -> None:
    sent, ended = spans(replace(JOB, traceparent=""), 1)
    ended(OK)
    span = only(exporter)
    assert span.parent is None
    assert span.context is not None
    assert parent_of(sent) == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}"


def test_off_nothing_is_wrapped() -> None:
    assert attempt_trace() is untraced
    assert traced("publish", len) is len


def test_off_nothing_is_imported() -> None:
    """Not by our code: the Redis client imports the metrics of an SDK that is installed."""
    program = "import django, sys; django.setup(); import delivery.worker, delivery.bridge; print(*sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "delivery.tracing" in ran.stdout
    assert "opentelemetry.sdk.trace" not in ran.stdout
    assert "opentelemetry.exporter" not in ran.stdout
