"""A trace goes through the real processes: from the event through bridge and worker to the endpoint."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(240)]


@pytest.fixture
def collector() -> Iterator[Receiver]:
    """An OTLP collector over HTTP: it only has to answer 200."""
    with Receiver() as listening:
        yield listening


def spans_of(collector: Receiver) -> dict[str, Span]:
    """The collected spans, by name."""
    found = {}
    for request in collector.requests:
        told = ExportTraceServiceRequest.FromString(request.body)
        for one in (span for each in told.resource_spans for scope in each.scope_spans for span in scope.spans):
            found[one.name] = one
    return found


def test_bridge_and_worker_send_their_spans_to_a_collector(tmp_path: Path, collector: Receiver) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url(""), "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with System(tmp_path, env) as system, Receiver() as receiver:
        system.seed([{"name": "A", "subscriptions": [{"url": receiver.url(), "event_types": ["orders.*"]}]}])
        system.start("bridge", "worker-1")
        system.publish([("orders.created", uuid.uuid4().hex, b"{}")])
        (request,) = receiver.wait_for(1, timeout_s=60)
        wanted = {"bridge batch", "publish", "deliver orders.created"}
        system.wait_until(lambda: set(spans_of(collector)) >= wanted, "spans of bridge and worker")
        spans = spans_of(collector)
        assert {one.path for one in collector.requests} == {"/v1/traces"}
        attempt = spans["deliver orders.created"]
        assert request.headers["traceparent"].startswith(f"00-{attempt.trace_id.hex()}-{attempt.span_id.hex()}-")
        assert spans["publish"].parent_span_id == spans["bridge batch"].span_id
