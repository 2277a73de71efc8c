"""Every error is a problem with the same members, and none tells what it must not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.http.errors import ERROR_TABLE, PROBLEM_TYPE, error_json, error_response, stored_problem_json
from database.errors import StoreBusy
from services.errors import FieldError, InvalidOption, TransientError, error_classes
from services.runtime import Runtime
from tests.support.api_server import assert_problem, opened
from tests.support.databases import Databases


@pytest.fixture(scope="module")
def client(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with opened(module_databases, tmp_path_factory.mktemp("errors")) as (_, client):
        yield client


def test_every_error_class_has_a_row() -> None:
    assert set(ERROR_TABLE) == set(error_classes())


def test_rows_have_error_statuses_and_slugs_that_fit_a_uri() -> None:
    for row in ERROR_TABLE.values():
        assert 400 <= row.status < 600
        assert row.slug.replace("-", "").isalpha()
        assert row.title


def test_unknown_route_is_a_problem(client: httpx.Client) -> None:
    assert_problem(client.get("/v1/nothing"), 404, "route_not_found")


def test_wrong_method_is_a_problem_that_names_the_right_ones(client: httpx.Client) -> None:
    reply = client.put("/v1/documents")
    assert_problem(reply, 405, "method_not_allowed")
    assert reply.headers["allow"]


def test_malformed_json_is_400(client: httpx.Client) -> None:
    reply = client.post("/v1/search", content=b'{"query": ', headers={"Content-Type": "application/json"})
    assert_problem(reply, 400, "malformed_request")


def test_body_of_another_type_is_told_to_be_json(client: httpx.Client) -> None:
    problem = assert_problem(client.post("/v1/search", data={"query": "x"}), 415, "unsupported_media_type")
    assert "application/json" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"query": "x", "k": 201}, "/k"),
        ({"query": "x", "colour": "red"}, "/colour"),
        ({"query": "x", "modalities": ["sound"]}, "/modalities/0"),
        ({"query": "x", "min_score": 2}, "/min_score"),
        ({"query": "x", "document_ids": ["a"] * 10_001}, "/document_ids"),
    ],
)
def test_invalid_body_names_the_field(client: httpx.Client, body: object, pointer: str) -> None:
    problem = assert_problem(client.post("/v1/search", json=body), 422, "invalid_request")
    assert pointer in [error["pointer"] for error in problem["errors"]]


def test_unknown_field_names_the_closest_one(client: httpx.Client) -> None:
    for given, close in (("q", "query"), ("min_scor", "min_score")):
        problem = assert_problem(client.post("/v1/search", json={"query": "a", given: 1}), 422, "invalid_request")
        assert problem["detail"] == f"/{given} is no field of this request: did you mean '{close}'?"
    far = assert_problem(client.post("/v1/search", json={"query": "a", "zzz": 1}), 422, "invalid_request")
    assert far["detail"] == "/zzz is no field of this request."


def test_empty_id_in_the_path_is_said(client: httpx.Client) -> None:
    problem = assert_problem(client.get("/v1/documents//content"), 404, "route_not_found")
    assert "An id in the path is empty." in problem["detail"]


def test_invalid_query_parameter_names_it(client: httpx.Client) -> None:
    problem = assert_problem(client.get("/v1/documents", params={"limit": 201}), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/query/limit"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"query": "\\ud800"}',
        b'{"query": "x", "filters": {"title": "\\ud800"}}',
        b'{"query": "x", "filters": {"metadata.a": NaN}}',
        b'{"query": "x", "min_score": Infinity}',
        b'{"query": "x", "filters": ' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}",
        b'{"query": "x", "filters": {"page_count": 1' + b"0" * 60 + b"}}",
    ],
)
def test_json_that_cannot_be_stored_or_sent_is_refused(client: httpx.Client, raw: bytes) -> None:
    reply = client.post("/v1/search", content=raw, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422, reply.text
    assert reply.headers["content-type"] == PROBLEM_TYPE


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"k": 1' + b"0" * 5000 + b"}"])
def test_json_that_breaks_a_parser_is_400(client: httpx.Client, raw: bytes) -> None:
    reply = client.post("/v1/search", content=raw, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400, reply.text
    assert reply.headers["content-type"] == PROBLEM_TYPE


def test_body_over_the_limit_is_413_with_the_limit(client: httpx.Client) -> None:
    reply = client.post("/v1/search", content=b" " * (9 * 1024**2), headers={"Content-Type": "application/json"})
    assert assert_problem(reply, 413, "body_too_large")["limit"] == 8 * 1024**2


def test_body_without_a_declared_length_is_cut_off_too(client: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * 1024**2

    reply = client.post("/v1/search", content=parts(), headers={"Content-Type": "application/json"})
    assert assert_problem(reply, 413, "body_too_large")["limit"] == 8 * 1024**2


@pytest.mark.parametrize(
    "path",
    [
        "/v1/documents/none",
        "/v1/documents/none/content",
        "/v1/documents/none/file",
        "/v1/documents/none/pages",
        "/v1/documents/none/pages/1",
        "/v1/documents/none/pages/1/image",
        "/v1/documents/none/images",
        "/v1/documents/none/chunks",
        "/v1/images/none",
        "/v1/images/none/content",
        "/v1/jobs/none",
        "/v1/jobs/none?wait=0.1",
        "/v1/documents/%00%ff%0a",
    ],
)
def test_absent_object_is_404(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404, reply.text
    assert reply.json()["code"].endswith("_not_found")


def test_null_means_absent(client: httpx.Client) -> None:
    reply = client.post("/v1/search", json={"query": "x", "k": None, "filters": None, "mode": None, "include": None})
    assert reply.status_code == 200, reply.text


def test_unexpected_error_is_a_500_without_its_text(
    runtime: Runtime, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from starlette.testclient import TestClient

    app = create_app(runtime)
    _add_failing_routes(app)
    with caplog.at_level(logging.ERROR), TestClient(app, base_url="http://127.0.0.1") as client:
        reply = client.get("/boom", headers={"X-Request-Id": "id-of-the-test", "Origin": "http://localhost:3000"})
    assert reply.status_code == 500
    assert reply.headers["content-type"] == PROBLEM_TYPE
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert reply.json()["code"] == "internal_error"
    assert reply.json()["request_id"] == "id-of-the-test"
    assert "hunter2" not in reply.text
    logged = next(record for record in caplog.records if "id-of-the-test" in record.getMessage())
    assert logged.exc_info is not None


def test_busy_store_is_503_with_retry_after(runtime: Runtime) -> None:
    from starlette.testclient import TestClient

    app = create_app(runtime)
    _add_failing_routes(app)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        busy, later = client.get("/busy"), client.get("/later")
    assert (busy.status_code, busy.json()["code"], busy.json()["retryable"]) == (503, "store_busy", True)
    assert int(busy.headers["retry-after"]) >= 1
    assert "secret path" not in busy.text
    assert (later.status_code, later.headers["retry-after"]) == (503, "5")


def _add_failing_routes(app: FastAPI) -> None:
    @app.get("/boom")
    def boom() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/busy")
    def busy() -> None:
        raise StoreBusy("secret path")

    @app.get("/later")
    def later() -> None:
        raise TransientError("Not now.")


def test_facts_and_fields_stand_beside_the_members() -> None:
    error = InvalidOption("No.", errors=(FieldError("/k", "is odd"),), facts={"limit": 3, "status": 200})
    body = error_json(error, instance="/here", request_id="r")
    assert body["status"] == 422
    assert body["limit"] == 3
    assert body["errors"] == [{"pointer": "/k", "message": "is odd"}]


def test_problem_of_a_job_has_the_members_of_an_http_error() -> None:
    stored = InvalidOption("No.", code="odd").problem.as_json()
    body = stored_problem_json(stored, instance="/v1/jobs/1")
    assert body is not None
    assert (body["status"], body["code"], body["instance"]) == (422, "odd", "/v1/jobs/1")
    assert stored_problem_json(None, instance="") is None


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/openapi.json", "/v1/documents", "/v1/documents/nowhere/file"])
def test_head_is_a_get_without_its_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_wrong_method_names_those_of_every_route_there(client: httpx.Client) -> None:
    assert client.put("/v1/documents/x").headers["allow"] == "DELETE, GET, HEAD, PATCH"
    assert client.head("/process").headers["allow"] == "POST"
    assert client.put("/v1/documents").headers["allow"] == "GET, HEAD, POST"


def test_body_that_is_missing_is_called_the_body(client: httpx.Client) -> None:
    reply = client.post("/v1/search", headers={"Content-Type": "application/json"})
    assert assert_problem(reply, 422, "invalid_request")["detail"] == "The body field required."


def test_body_that_is_no_text_is_400(client: httpx.Client) -> None:
    reply = client.post("/v1/search", content=b'{"query": "\xff\xfe"}', headers={"Content-Type": "application/json"})
    assert assert_problem(reply, 400, "malformed_request")["detail"] == "The body is not valid JSON."


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/search", {"query": "x", "k": True}, "/k"),
        ("/v1/search", {"query": "x", "k": "3"}, "/k"),
        ("/v1/search", {"query": "x", "min_score": True}, "/min_score"),
        ("/v1/search", {"query": "x", "min_score": "0.5"}, "/min_score"),
        ("/v1/context", {"message": "x", "k": "3"}, "/k"),
        ("/v1/context", {"message": "x", "token_budget": True}, "/token_budget"),
        ("/v1/documents/x/reprocess", {"chunk_size": "500"}, "/chunk_size"),
    ],
)
def test_number_of_another_type_is_refused(
    client: httpx.Client, path: str, body: dict[str, object], pointer: str
) -> None:
    problem = assert_problem(client.post(path, json=body), 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_whole_number_may_be_written_with_a_point(client: httpx.Client) -> None:
    assert client.post("/v1/search", json={"query": "x", "k": 2.0}).status_code == 200


def test_half_of_a_surrogate_pair_in_a_problem_is_replaced() -> None:
    error = InvalidOption("of \ud800", errors=(FieldError("/\ud800", "is odd"),), facts={"\udfff": ["\ud800"]})
    body = json.loads(bytes(error_response(error, {"path": "/v1/documents"}).body))
    assert (body["detail"], body["errors"][0]["pointer"], body["\ufffd"]) == ("of \ufffd", "/\ufffd", ["\ufffd"])


def test_every_problem_has_a_list_of_errors(client: httpx.Client) -> None:
    assert client.get("/v1/nowhere").json()["errors"] == []
    assert client.get("/v1/documents/nowhere").json()["errors"] == []
