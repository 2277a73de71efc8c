"""Numbers for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.http.metrics import CONTENT_TYPE, Metrics

router = APIRouter(tags=["service"])


class Exposition(Response):
    """Prometheus' text format."""

    media_type = CONTENT_TYPE


@router.get("/metrics", response_class=Exposition, summary="What is there to watch?")
def get_metrics(request: Request) -> Response:
    """Requests, jobs, and the circuit breaker around the database, in Prometheus' text format."""
    metrics = request.app.state.metrics
    assert isinstance(metrics, Metrics)
    return Exposition(metrics.exposition(), headers={"Cache-Control": "no-store"})
