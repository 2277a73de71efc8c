"""Alive, ready, healthy, able; and an OpenAPI document that is complete."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api.docs_page import DOCS_PAGE
from api.models import accounts, base, context, documents, jobs, search, service
from services.admin.health import product_version, require_ready
from services.errors import TransientError
from services.formats.registry import Format
from services.runtime import Runtime
from services.settings import Settings
from tests.support.api_server import opened
from tests.support.databases import Databases, Kind
from tests.support.paths import ROOT
from tests.support.runtimes import open_runtime


@pytest.fixture(scope="module")
def client(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("service")
    with opened(module_databases, folder / "data", cache_dir=folder / "cache", ocr_engine="none") as (_, client):
        yield client


def test_process_is_alive(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}


def test_ready_once_migrated_and_loaded(client: httpx.Client) -> None:
    assert client.get("/readyz").json() == {"status": "ok"}


def test_not_ready_while_the_model_is_absent(databases: Databases, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    settings = Settings(data_dir=data_dir, cache_dir=tmp_path / "cache", offline=True, **databases.given(data_dir))
    runtime = open_runtime(settings)
    try:
        with pytest.raises(TransientError) as caught:
            require_ready(runtime)
        assert caught.value.code == "starting"
    finally:
        runtime.close()


def test_not_ready_before_the_migrations(runtime: Runtime, databases: Databases, tmp_path: Path) -> None:
    databases.make_empty(tmp_path / "bare")
    store = databases.open(tmp_path / "bare")
    bare = Runtime(runtime.settings, store, runtime.blobs, runtime.text_embedder, runtime.queue)
    try:
        with pytest.raises(TransientError) as caught:
            require_ready(bare)
        assert caught.value.code == "migrations_pending"
    finally:
        bare.close()


def test_health_names_each_dependency_with_its_latency(client: httpx.Client) -> None:
    body = client.get("/health").json()
    states = {check["name"]: check["status"] for check in body["checks"]}
    assert set(states) == {"database", "files", "text_model", "image_model", "ocr", "worker"}
    assert (states["database"], states["files"], states["text_model"]) == ("healthy",) * 3
    assert (states["ocr"], states["image_model"], body["status"]) == ("healthy", "healthy", "healthy")
    assert all(check["latency_ms"] >= 0 for check in body["checks"])
    assert all(check["detail"] for check in body["checks"] if check["status"] != "healthy")
    details = {check["name"]: check["detail"] for check in body["checks"]}
    assert "DOCATLAS_OCR_ENGINE=none" in details["ocr"]
    assert "docatlas models pull" in details["image_model"]


def test_capabilities_say_what_can_be_done_and_what_to_do(client: httpx.Client, store_kind: Kind) -> None:
    body = client.get("/v1/capabilities").json()
    assert {item["format"] for item in body["formats"]} == {item.value for item in Format}
    assert {item["format"]: tuple(item["extensions"]) for item in body["formats"]} == {
        item.value: item.spec.extensions for item in Format
    }
    assert body["models"]["text"]["dimensions"] == 768
    assert body["models"]["text"]["state"] == "loaded"
    assert body["models"]["image"]["state"] == "missing"
    assert "docatlas models pull" in body["models"]["image"]["advice"]
    assert body["search"]["modalities"] == ["text"]
    assert body["ocr"]["engine"] == "none"
    assert body["limits"]["max_upload_bytes"] > 0
    assert (body["store"]["kind"], body["queue"]["kind"]) == (store_kind, "embedded")


def test_docs_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    reply = client.get("/docs")
    assert reply.status_code == 200
    assert "connect-src 'self'" in reply.headers["content-security-policy"]
    assert not re.search(r"https?://|//\w", DOCS_PAGE.replace("<!doctype", ""))
    assert "innerHTML" not in DOCS_PAGE


@pytest.fixture(scope="module")
def described(client: httpx.Client) -> dict[str, Any]:
    body: dict[str, Any] = client.get("/openapi.json").json()
    return body


def test_every_call_of_the_contract_is_described(described: dict[str, Any]) -> None:
    found = {f"{method.upper()} {path}" for path, calls in described["paths"].items() for method in calls}
    assert found == {
        "POST /v1/documents",
        "GET /v1/documents",
        "GET /v1/documents/{document_id}",
        "PATCH /v1/documents/{document_id}",
        "DELETE /v1/documents/{document_id}",
        "GET /v1/documents/{document_id}/file",
        "GET /v1/documents/{document_id}/content",
        "GET /v1/documents/{document_id}/pages",
        "GET /v1/documents/{document_id}/pages/{number}",
        "GET /v1/documents/{document_id}/pages/{number}/image",
        "GET /v1/documents/{document_id}/images",
        "GET /v1/documents/{document_id}/chunks",
        "POST /v1/documents/{document_id}/reprocess",
        "GET /v1/images/{image_id}",
        "GET /v1/images/{image_id}/thumbnail",
        "GET /v1/images/{image_id}/content",
        "POST /process",
        "POST /process-with-embeddings",
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "POST /v1/jobs/{job_id}/cancel",
        "POST /v1/jobs/{job_id}/retry",
        "POST /v1/search",
        "POST /v1/search/image",
        "GET /v1/searches",
        "POST /v1/context",
        "POST /chat/prepare-context",
        "POST /v1/auth/register",
        "POST /v1/auth/login",
        "POST /auth/login",
        "POST /v1/auth/refresh",
        "POST /v1/auth/logout",
        "POST /v1/auth/change-password",
        "GET /v1/auth/me",
        "POST /v1/api-keys",
        "GET /v1/api-keys",
        "GET /v1/api-keys/{key_id}",
        "DELETE /v1/api-keys/{key_id}",
        "GET /livez",
        "GET /readyz",
        "GET /health",
        "GET /metrics",
        "GET /v1/capabilities",
    }


def test_every_request_and_answer_has_an_example(described: dict[str, Any]) -> None:
    without = []
    for path, calls in described["paths"].items():
        for method, call in calls.items():
            where = f"{method} {path}"
            bodies = [("request", call["requestBody"])] if "requestBody" in call else []
            bodies += list(call["responses"].items())
            for name, body in bodies:
                without += [f"{where} {name}" for media in body.get("content", {}).values() if "example" not in media]
            without += [f"{where} {p['name']}" for p in call.get("parameters", []) if "example" not in p]
            assert call["summary"], where
            assert call["description"], where
    assert without == []


def test_every_error_answer_is_a_problem(described: dict[str, Any]) -> None:
    for path, calls in described["paths"].items():
        for method, call in calls.items():
            for status, answer in call["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_every_reference_is_there(described: dict[str, Any]) -> None:
    names = re.findall(r"#/components/schemas/([\w\[\]]+)", str(described))
    assert set(names) <= set(described["components"]["schemas"])


def test_operation_ids_are_different(described: dict[str, Any]) -> None:
    ids = [call["operationId"] for calls in described["paths"].values() for call in calls.values()]
    assert len(ids) == len(set(ids))


def test_examples_fit_their_models() -> None:
    checked = 0
    for module in (accounts, base, jobs, documents, search, context, service):
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, BaseModel) and item.__module__ == module.__name__:
                extra = item.model_config.get("json_schema_extra")
                if isinstance(extra, dict):
                    item.model_validate(extra["example"])
                    checked += 1
    assert checked > 15


def test_version_is_that_of_the_project_wherever_it_runs_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert product_version() == project["version"]


def test_openapi_tells_of_a_content_that_is_current(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert "304" in paths["/v1/documents/{document_id}/content"]["get"]["responses"]
    assert all("head" not in operations for operations in paths.values())
