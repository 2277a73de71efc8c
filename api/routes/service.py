"""The service itself: alive, ready, healthy, able."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, JSONResponse

from api.docs_page import DOCS_PAGE, DOCS_POLICY
from api.http.dependencies import ActorDep, RuntimeDep, WorkerDep
from api.http.errors import PROBLEM_TYPE, error_json
from api.models.service import CapabilitiesAnswer, HealthAnswer, StatusAnswer
from database.fallback.base import FallbackState
from services.admin import health
from services.admin.checks import CheckStatus
from services.errors import TransientError

router = APIRouter(tags=["service"])

HEALTH_WORDS: Mapping[CheckStatus, str] = {"ok": "healthy", "warning": "degraded", "broken": "down"}


@router.get("/livez", response_model=StatusAnswer, summary="Is the process alive?")
async def livez() -> JSONResponse:
    """Touches nothing: no thread, no database, no model."""
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


@router.get("/readyz", response_model=StatusAnswer, summary="Can it take requests?")
def readyz(response: Response, runtime: RuntimeDep) -> StatusAnswer:
    """200 once migrations ran and the text model is loaded, else 503."""
    health.require_ready(runtime)
    response.headers["Cache-Control"] = "no-store"
    return StatusAnswer()


@router.get("/health", response_model=HealthAnswer, summary="How is each dependency?")
def get_health(runtime: RuntimeDep, worker: WorkerDep) -> Response:
    """Each dependency with the time that asking it took; 503 when the service cannot work."""
    found = health.check_health(runtime, worker)
    members: dict[str, Any] = {
        "status": HEALTH_WORDS[found.status],
        "version": health.product_version(),
        "checks": [
            {
                "name": check.name,
                "status": HEALTH_WORDS[check.status],
                "latency_ms": check.latency_ms,
                "detail": check.summary,
            }
            for check in found.checks
        ],
        "fallback": fallback_facts(found.fallback),
    }
    headers = {"Cache-Control": "no-store"}
    if found.status != "broken":
        return JSONResponse(members, headers=headers)
    error = TransientError("The service cannot work: see `checks`.", code="unhealthy")
    problem = {**error_json(error, instance="/health"), "checks": members["checks"]}
    return JSONResponse(
        problem, status_code=problem["status"], headers={**headers, "Retry-After": "5"}, media_type=PROBLEM_TYPE
    )


def fallback_facts(state: FallbackState | None) -> dict[str, Any] | None:
    """The members of a FallbackModel."""
    if state is None:
        return None
    return {"state": state.breaker, "since": state.since, "waiting": dict(state.waiting)}


@router.get("/v1/capabilities", response_model=CapabilitiesAnswer, summary="What can it do?")
def get_capabilities(runtime: RuntimeDep, actor: ActorDep) -> dict[str, Any]:
    """Formats, OCR languages, models and their state, limits, store and queue."""
    return health.capabilities(runtime, actor)


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """A page that shows `/openapi.json`; it loads nothing from elsewhere."""
    return HTMLResponse(DOCS_PAGE, headers={"Content-Security-Policy": DOCS_POLICY})
