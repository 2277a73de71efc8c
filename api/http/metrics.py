"""Collects what `/metrics` answers with.

Requests as this process counts them, and what the runtime knows of itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.admin.metrics import read_metrics
from services.runtime import Runtime

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
BREAKER_STATES = ("closed", "open", "half_open")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one application. Thread-safe."""

    def __init__(self, runtime: Runtime) -> None:
        # One of its own: the library's global registry would add up several applications in one process.
        self._registry = CollectorRegistry(auto_describe=False)
        self.requests = Counter(
            "docatlas_http_requests", "Requests that were answered.", ("method", "status"), registry=self._registry
        )
        self._registry.register(_RuntimeCollector(runtime))

    def exposition(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)


class RequestCounting:
    """Counts answers by method and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._requests = app, metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A client may send any word as a method: each would be a time series of its own.
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(method, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counting)


class _RuntimeCollector(Collector):
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        metrics = read_metrics(self._runtime)
        jobs = GaugeMetricFamily("docatlas_jobs", "Jobs of all owners by status.", labels=["status"])
        for status, number in sorted(metrics.jobs.items()):
            jobs.add_metric([status], number)
        yield jobs
        fallback = metrics.fallback
        if fallback is None:
            return
        breaker = GaugeMetricFamily(
            "docatlas_breaker_state", "1 for the state of the circuit breaker around Postgres.", labels=["state"]
        )
        for state in BREAKER_STATES:
            breaker.add_metric([state], float(state == fallback.breaker))
        yield breaker
        events = CounterMetricFamily(
            "docatlas_fallback_events",
            "What happened to the breaker and in replays since the process started.",
            labels=["event"],
        )
        for event, number in sorted(fallback.counters.items()):
            events.add_metric([event], number)
        yield events
        waiting = GaugeMetricFamily(
            "docatlas_fallback_waiting", "What lies on this node and is to be moved to Postgres.", labels=["kind"]
        )
        for kind, number in sorted(fallback.waiting.items()):
            waiting.add_metric([kind], number)
        yield waiting
