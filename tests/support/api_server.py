"""An application behind a real HTTP server in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from api.app import create_app
from services.jobs.worker import Worker
from services.runtime import Runtime
from tests.support.databases import Databases

TERMINAL = ("completed", "completed_with_errors", "failed", "cancelled")

LIMIT = 3_000_000
"""Bytes of a file that the upload tests' servers take."""


@contextmanager
def serving(runtime: Runtime, worker: Worker | None = None) -> Iterator[httpx.Client]:
    """A client of a server for `runtime`, in which `worker` runs the jobs, on a free loopback port."""
    config = uvicorn.Config(create_app(runtime, worker), host="127.0.0.1", port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="test-server")
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def upload(client: httpx.Client, name: str, content: bytes, **fields: str) -> dict[str, Any]:
    """Uploads one file; the reply's only entry."""
    reply = client.post("/v1/documents", files=[("files", (name, content))], data=fields)
    assert reply.status_code == 202, reply.text
    entry: dict[str, Any] = reply.json()["data"][0]
    return entry


def ingest(client: httpx.Client, name: str, content: bytes, **fields: str) -> str:
    """Uploads one file and waits for its job; the document's id."""
    entry = upload(client, name, content, **fields)
    document_id: str = entry["document"]["id"]
    if entry["job"] is not None:
        job = wait(client, entry["job"]["id"])
        assert job["status"].startswith("completed"), job
    return document_id


def wait(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job once it has ended."""
    for _ in range(20):
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}", params={"wait": 30}).json()
        if job["status"] in TERMINAL:
            return job
    raise AssertionError(f"job {job_id} does not end")


def assert_problem(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem in `reply`, which has every member that the contract names."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = reply.json()
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert {"type", "title", "detail", "instance", "request_id", "retryable"} <= set(problem)
    assert problem["request_id"] == reply.headers["x-request-id"]
    return problem


@contextmanager
def opened(
    databases: Databases, data_dir: Path, *, runs_jobs: bool = True, **given: Any
) -> Iterator[tuple[Runtime, httpx.Client]]:
    """A runtime on a folder and its database, without model weights, and a client of a server for it."""
    from services.settings import Settings
    from tests.support.runtimes import open_runtime

    usual = {"text_model": "hash", "worker_threads": 2, "sweep_s": 0.2}
    settings = Settings(data_dir=data_dir, **{**usual, **databases.given(data_dir), **given})
    runtime = open_runtime(settings)
    try:
        with Worker(runtime) if runs_jobs else nullcontext() as worker, serving(runtime, worker) as client:
            yield runtime, client
    finally:
        runtime.close()
