"""Makes the HTTP application around a runtime."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.http.authentication import Authentication
from api.http.body_memory import BodyMemory
from api.http.client_address import ForwardedClient, TrustedProxies
from api.http.errors import add_error_handlers
from api.http.fallback import FallbackNotice, on_not_found
from api.http.metrics import Metrics, RequestCounting
from api.http.middleware import AccessControl, BodyLimit, Compression, Failures, HeadAsGet, RequestIdentity
from api.http.request_limits import ABANDONED_AFTER_S, BodyTimes, RequestLimits
from api.http.security import access_of
from api.http.uploads import remove_abandoned
from api.openapi import make_openapi
from api.routes import api_keys, auth, contents, documents, jobs, metrics, search, service
from services.admin.health import product_version
from services.errors import NotFound
from services.jobs.worker import Worker
from services.runtime import Runtime

THREADS = 64
"""Requests that run at the same time. Most wait for the database or for the model's turn, not for a core; each costs a
stack of a few hundred kilobytes at most. Long polls and uploads hold none."""

GATEKEEPERS = 16
"""Threads that look up who asks. One look takes under a millisecond, and a user's requests share it for seconds.
Half of them may wait for Supabase's keys (see services.accounts.jwks)."""

SESSION_KEEPERS = 8
"""Threads that continue and end sessions, which with Supabase's accounts wait for Supabase."""


def create_app(runtime: Runtime, worker: Worker | None = None) -> FastAPI:
    """The FastAPI application on `runtime`.

    The caller opened the runtime and closes it after the server has stopped. `worker` is the one that runs jobs in this
    process, whose state `/health` shows; None where none does.
    """
    app = FastAPI(
        title="Docatlas",
        version=product_version(),
        description="Documents in, cited passages out.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
    )
    app.state.runtime = runtime
    app.state.worker = worker
    app.state.metrics = Metrics(runtime)
    app.state.body_memory = BodyMemory(runtime.settings.max_body_memory_bytes)
    routers = (
        documents.router,
        contents.router,
        jobs.router,
        search.router,
        auth.router,
        api_keys.router,
        service.router,
        metrics.router,
    )
    for router in routers:
        app.include_router(router)
    add_error_handlers(app, [route for router in routers for route in router.routes])
    app.add_exception_handler(NotFound, on_not_found)
    # The last one added is the outermost: identity first, so that even a refusal carries the id and the headers.
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, upload_paths=documents.UPLOAD_PATHS, memory=app.state.body_memory)
    app.add_middleware(FallbackNotice, fallback=runtime.fallback)
    accounts = runtime.accounts
    app.add_middleware(Authentication, gate=None if accounts.mode == "none" else accounts.gate, signer=accounts.signer)
    app.add_middleware(RequestLimits, times=BodyTimes.of(runtime.settings), upload_paths=documents.UPLOAD_PATHS)
    app.add_middleware(Failures)
    app.add_middleware(AccessControl, access=access_of(runtime.settings))
    app.add_middleware(Compression)
    app.add_middleware(RequestCounting, metrics=app.state.metrics)
    app.add_middleware(RequestIdentity)
    app.add_middleware(ForwardedClient, proxies=TrustedProxies(runtime.settings.trusted_proxies))
    _describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    app.state.children = CapacityLimiter(max(1, min(4, os.cpu_count() or 1)))
    app.state.hashers = CapacityLimiter(max(1, min(4, os.cpu_count() or 1)))
    app.state.gatekeepers = CapacityLimiter(GATEKEEPERS)
    app.state.session_keepers = CapacityLimiter(SESSION_KEEPERS)
    scratch = app.state.runtime.blobs.scratch()
    await to_thread.run_sync(remove_abandoned, scratch, ABANDONED_AFTER_S, time.time())
    yield


def _describe(app: FastAPI) -> None:
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(make_openapi(app))
        return made

    app.openapi = openapi  # type: ignore[method-assign]


def _operation_id(route: APIRoute) -> str:
    """The name of the route's function.

    Generated clients then have `search_documents` and not `search_documents_v1_search_post`.
    """
    return route.name
