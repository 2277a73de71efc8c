"""docs/api.md says what is so: it is the OpenAPI document, and each example of it works against a real server."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from api.http.error_codes import ERROR_CODES, OF_CALLS
from api.http.errors import ERROR_TABLE
from api.models.base import ProblemModel
from docs.build_api import PAGE, SESSION, VARIABLES, api_page
from docs.build_formats import REFUSALS, WARNINGS
from services.jobs.worker import Worker
from services.runtime import Runtime
from tests.support.api_server import opened, wait
from tests.support.databases import SqliteDatabases
from tests.support.paths import DATA, ROOT
from tests.support.picture_models import NATIVE, write_checkpoint
from tests.support.shell import Shell

FIRST = ("upload_documents", "cancel_job", "retry_job")
"""Run while nothing runs jobs: a job that waits can be cancelled, and a cancelled one tried again."""
LAST = ("process", "process_with_embeddings", "reprocess_document", "delete_document")
"""Run at the end, because they change the document that the others read."""
ACCOUNT_CALLS = (
    "register", "login", "legacy_login", "refresh", "read_me", "create_api_key", "list_api_keys", "get_api_key",
    "revoke_api_key", "change_password", "logout",
)  # fmt: skip
"""Run on a server with accounts, in this order."""

NOT_OVER_HTTP = frozenset(
    {
        "account_not_found", "cache_unwritable", "copy_refused", "database_admin_url_missing", "database_failed",
        "database_login_refused", "database_role_unsafe", "local_user", "server_running", "signing_key_damaged",
        "unreadable_picture", "user_not_found",
    }
)  # fmt: skip
"""Codes of the command line, of a server that does not start, and of a picture that is a warning in its document."""

Call = tuple[str, str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI document that a server without accounts gives out."""
    with opened(SqliteDatabases(), tmp_path_factory.mktemp("described"), runs_jobs=False) as (_, client):
        found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def calls_of(described: Mapping[str, Any]) -> Iterator[Call]:
    """Method, path and operation of each call."""
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            yield method, path, operation


def test_page_is_what_the_generator_writes(described: dict[str, Any]) -> None:
    assert PAGE.read_text(encoding="utf-8") == api_page(described), "run `python -m docs.build_api`"


def test_links_inside_the_page_have_a_heading() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert len(anchors) == len(headings)
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_every_call_is_described(described: dict[str, Any]) -> None:
    lacking = []
    for method, path, operation in calls_of(described):
        lacking += [f"{method} {path}: {part}" for part in ("summary", "description") if not operation.get(part)]
        if not operation["x-codeSamples"]:
            lacking.append(f"{method} {path}: an example")
        if not any("x-error-codes" in answer for answer in operation["responses"].values()):
            lacking.append(f"{method} {path}: error codes")
        for one in operation.get("parameters", ()):
            if not (one.get("description") or one["schema"].get("description")):
                lacking.append(f"{method} {path}: {one['name']}")
        for media in operation.get("requestBody", {}).get("content", {}).values():
            for name, field in media["schema"].get("properties", {}).items():
                if not field.get("description"):
                    lacking.append(f"{method} {path}: {name}")
    assert lacking == []


def test_every_field_of_every_object_is_described(described: dict[str, Any]) -> None:
    lacking = [
        f"{name}.{field}"
        for name, schema in described["components"]["schemas"].items()
        for field, about in schema.get("properties", {}).items()
        if not about.get("description")
    ]
    assert lacking == []


def test_every_error_answer_names_its_codes(described: dict[str, Any]) -> None:
    for method, path, operation in calls_of(described):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert answer["x-error-codes"], (method, path, status)
                for code in answer["x-error-codes"]:
                    assert f"{status} {code}" in ERROR_CODES, (method, path, code)
                example = answer["content"]["application/problem+json"]["example"]
                ProblemModel.model_validate(example)
                assert example["code"] in answer["x-error-codes"]


def test_error_codes_belong_to_calls_that_exist(described: dict[str, Any]) -> None:
    assert set(OF_CALLS) <= {operation["operationId"] for _, _, operation in calls_of(described)}


def _raised() -> set[tuple[str, str]]:
    """Class and code of each error that is raised with a code of its own."""
    found = set()
    for folder in ("api", "services", "database"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERROR_TABLE:
                    codes = [item.value for item in node.keywords if item.arg == "code"]
                    found |= {(node.func.id, str(code.value)) for code in codes if isinstance(code, ast.Constant)}
    return found


def test_every_code_that_is_raised_is_in_a_reference() -> None:
    raised = _raised()
    assert len(raised) > 100
    known = {(one.kind, one.code) for one in ERROR_CODES.values()}
    by_format = {*REFUSALS, *WARNINGS}
    missing = {
        (kind, code)
        for kind, code in raised
        if (kind, code) not in known and code not in by_format and code not in NOT_OVER_HTTP
    }
    assert missing == {("CapabilityMissing", "migrations_pending"), ("Conflict", "account_deleted")}, (
        "the one ends a start, and the other a command: they are no answers"
    )


def test_every_code_of_the_reference_is_answered_by_a_call(described: dict[str, Any]) -> None:
    answered = {
        f"{status} {code}"
        for _, _, operation in calls_of(described)
        for status, answer in operation["responses"].items()
        for code in answer.get("x-error-codes", ())
    }
    of_any_path = {"404 route_not_found", "405 method_not_allowed"}
    of_any_path |= {"431 headers_too_large", "429 too_many_connections", "503 too_many_connections"}
    of_jobs = {"413 job_timeout", "500 worker_lost"}
    assert set(ERROR_CODES) - answered == of_any_path | of_jobs


def _contract(path: Path) -> None:
    """A PDF of two pages: the first with a picture, the second about the rent."""
    canvas = Canvas(str(path), invariant=True)
    canvas.setTitle("Lease of the harbour office")
    canvas.setFont("Helvetica-Bold", 24)
    canvas.drawString(72, 760, "Lease")
    canvas.setFont("Helvetica", 12)
    for line in range(3):
        canvas.drawString(72, 730 - 15 * line, "Between the harbour board and the tenant of the harbour office.")
    canvas.drawImage(ImageReader(str(DATA / "letter.png")), 72, 400, width=240, height=300)
    canvas.showPage()
    canvas.setFont("Helvetica", 12)
    canvas.drawString(72, 760, "The rent is due on the first day of each month.")
    canvas.save()


@pytest.fixture(scope="module")
def shell_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    _contract(folder / "contract.pdf")
    (folder / "scan.pdf").write_bytes((DATA / "scanned.pdf").read_bytes())
    (folder / "photo.jpg").write_bytes((DATA / "letter_exif.jpg").read_bytes())
    return folder


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, shell_folder: Path
) -> Iterator[tuple[Runtime, httpx.Client, Shell]]:
    """A server without accounts, with a small picture model, that runs no jobs yet."""
    clip = write_checkpoint(tmp_path_factory.mktemp("clip") / "model", NATIVE)
    folder = tmp_path_factory.mktemp("documented")
    with opened(SqliteDatabases(), folder, runs_jobs=False, clip_dir=clip) as (runtime, client):
        yield runtime, client, Shell(tmp_path_factory.mktemp("shell"), client.base_url.port or 0, shell_folder)


def test_every_example_works(server: tuple[Runtime, httpx.Client, Shell]) -> None:
    runtime, client, shell = server
    described = client.get("/openapi.json").json()
    calls = {operation["operationId"]: operation for _, _, operation in calls_of(described)}
    names = [name for name in calls if name not in (*FIRST, *LAST, *ACCOUNT_CALLS)]

    answers = _run(shell, described, calls["upload_documents"])
    shell.variables["JOB"] = answers[0]["data"][0]["job"]["id"]
    assert answers[1]["data"][0]["document"]["filename"] == "scan.pdf"
    for name in FIRST[1:]:
        _run(shell, described, calls[name])
    with Worker(runtime):
        for answer in answers:
            assert wait(client, answer["data"][0]["job"]["id"])["status"] == "completed"

        printed = shell.run(VARIABLES, names=("DOCUMENT", "JOB", "IMAGE"))
        assert printed.output.strip() == "completed"
        for name in (*names, *LAST):
            _run(shell, described, calls[name])
        assert client.get(f"/v1/documents/{shell.variables['DOCUMENT']}").status_code == 404


def test_every_example_of_accounts_works(tmp_path: Path) -> None:
    given = {"accounts": "local", "token_secret": SecretStr("s" * 40), "registration": "open"}
    with opened(SqliteDatabases(), tmp_path / "data", runs_jobs=False, **given) as (_, client):
        described = client.get("/openapi.json").json()
        calls = {operation["operationId"]: operation for _, _, operation in calls_of(described)}
        shell = Shell(tmp_path, client.base_url.port or 0, tmp_path)
        for name in ACCOUNT_CALLS:
            answers = _run(shell, described, calls[name])
            if name == "register":
                shell.run(SESSION, names=("ACCESS_TOKEN", "REFRESH_TOKEN", "KEY_ID", "KEY"))
                command = 'curl -sS -H "X-API-Key: $KEY" http://127.0.0.1:8000/v1/documents'
                assert shell.run(command).statuses == [200]
            elif name == "change_password":
                shell.variables["ACCESS_TOKEN"] = answers[0]["access_token"]


def test_every_call_has_an_example_that_is_run(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in calls_of(described)]
    assert {*FIRST, *LAST, *ACCOUNT_CALLS} <= set(names)
    assert {operation["operationId"] for _, _, operation in calls_of(described) if _is_of_accounts(operation)} == set(
        ACCOUNT_CALLS
    )


def _is_of_accounts(operation: Mapping[str, Any]) -> bool:
    return "accounts" in operation["tags"]


def _run(shell: Shell, described: Mapping[str, Any], operation: Mapping[str, Any]) -> list[Any]:
    """What the commands of a call answer, after it was compared with the answer that the document shows."""
    page = PAGE.read_text(encoding="utf-8")
    found = []
    for sample in operation["x-codeSamples"]:
        assert f"```sh\n{sample['source']}\n```" in page
        printed = shell.run(sample["source"])
        status = str(printed.statuses[-1])
        assert status in operation["responses"], f"{sample['source']}: {status} {printed.output[:500]}"
        assert int(status) < 300, f"{sample['source']}: {status} {printed.output[:500]}"
        for media_type, media in operation["responses"][status].get("content", {}).items():
            if media_type == "application/json" and operation["operationId"] != "get_content":
                answer = json.loads(printed.output)
                _compare(media["example"], answer, operation["operationId"])
                _assert_declared(answer, media["schema"], described["components"]["schemas"], operation["operationId"])
                found.append(answer)
        saved = re.search(r" -o (\S+)", sample["source"])
        if saved:
            assert _kind_of(shell.root / saved[1]) == Path(saved[1]).suffix
    return found


def _compare(shown: Any, answer: Any, where: str) -> None:
    """Each field that is shown is in the answer and has the same kind of value; null is any kind."""
    if shown is None or answer is None:
        return
    assert _json_kind(shown) == _json_kind(answer), f"{where}: {shown!r} is shown, and {answer!r} was answered"
    if isinstance(shown, dict):
        assert set(shown) <= set(answer), f"{where}: {set(shown) - set(answer)} is shown, and is not there"
        for name, value in shown.items():
            if where.endswith("document") and name == "metadata":
                continue  # the client's own
            _compare(value, answer[name], f"{where}.{name}")
    elif isinstance(shown, list) and shown and answer:
        _compare(shown[0], answer[0], f"{where}[0]")


def _json_kind(value: Any) -> str:
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def _assert_declared(answer: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any], where: str) -> None:
    """Each field of the answer is one of the object's in the document."""
    options: Sequence[Mapping[str, Any]] = schema.get("anyOf", (schema,))
    for option in options:
        if "$ref" in option and isinstance(answer, dict):
            fields = schemas[option["$ref"].rpartition("/")[2]].get("properties", {})
            assert set(answer) <= set(fields), f"{where}: {set(answer) - set(fields)} is not described"
            for name, value in answer.items():
                _assert_declared(value, fields[name], schemas, f"{where}.{name}")
        elif option.get("type") == "array" and isinstance(answer, list):
            for item in answer:
                _assert_declared(item, option["items"], schemas, where)


def _kind_of(path: Path) -> str:
    """The extension that the content of a saved file deserves."""
    head = path.read_bytes()[:12]
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return ".webp"
    return {b"%PDF": ".pdf", b"\x89PNG": ".png"}.get(head[:4], "")
