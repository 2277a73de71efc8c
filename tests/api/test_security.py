"""Who may talk to the server, and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http.files import content_disposition, matches_tag, range_kind
from api.http.security import SECURITY_HEADERS, access_of, frame_ancestors
from services.filenames import display_name, download_name
from services.settings import Settings
from tests.support.account_cases import PASSWORD, bearer, local_server, make_key
from tests.support.api_server import assert_problem, ingest, opened
from tests.support.databases import Databases


@pytest.fixture(scope="module")
def client(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    given: dict[str, Any] = {"cors_origins": ("https://app.example.org",), "allowed_hosts": ("docs.example.org",)}
    with opened(module_databases, tmp_path_factory.mktemp("security"), max_upload_bytes=1000, **given) as (_, client):
        yield client


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:8000", "LOCALHOST.", "docs.example.org:8000"])
def test_own_names_are_let_in(client: httpx.Client, host: str) -> None:
    assert client.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "192.168.1.2", "a b", "127.0.0.1:x"]
)
def test_rebound_host_is_refused(client: httpx.Client, host: str) -> None:
    assert_problem(client.get("/livez", headers={"Host": host}), 403, "host_not_allowed")


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "http://127.0.0.1:1", "https://[::1]", "https://app.example.org"]
)
def test_allowed_origin_gets_cors_headers(client: httpx.Client, origin: str) -> None:
    reply = client.get("/livez", headers={"Origin": origin})
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == origin
    assert "origin" in reply.headers["vary"].lower()


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost.evil.example", "https://app.example.org.evil", "file://"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_foreign_origin_is_refused(client: httpx.Client, origin: str, method: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    reply = client.request(method, "/v1/documents", headers=headers)
    assert_problem(reply, 403, "origin_not_allowed")
    assert "access-control-allow-origin" not in reply.headers


def test_preflight_is_answered_without_a_wildcard(client: httpx.Client) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "content-type",
    }
    reply = client.options("/v1/documents/1", headers=headers)
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "DELETE" in reply.headers["access-control-allow-methods"]
    assert "content-type" in reply.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize(
    "name",
    [
        "Accept", "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "If-Range",
        "Last-Event-ID", "Range", "X-API-Key", "X-Request-Id", "X-Requested-With", "baggage", "traceparent",
        "tracestate",
    ],
)  # fmt: skip
def test_a_page_may_send_this_header(client: httpx.Client, name: str) -> None:
    headers = {
        "Origin": "https://app.example.org",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": name.lower(),
    }
    reply = client.options("/v1/documents", headers=headers)
    assert reply.status_code == 204
    assert name.lower() in reply.headers["access-control-allow-headers"].lower().split(", ")


@pytest.mark.parametrize(
    "name",
    [
        "Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "Location", "RateLimit", "RateLimit-Policy",
        "Retry-After", "WWW-Authenticate", "X-Docatlas-Store", "X-Request-Id",
    ],
)  # fmt: skip
def test_a_page_may_read_this_header(client: httpx.Client, name: str) -> None:
    for path in ("/livez", "/v1/nothing"):
        reply = client.get(path, headers={"Origin": "https://app.example.org"})
        assert name in reply.headers["access-control-expose-headers"].split(", ")


def test_refused_upload_has_cors_headers(client: httpx.Client) -> None:
    reply = client.post(
        "/v1/documents", files=[("files", ("a.txt", b"x" * 2000))], headers={"Origin": "http://localhost:3000"}
    )
    assert assert_problem(reply, 413, "file_too_large")["limit"] == 1000
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("path", ["/livez", "/v1/nothing", "/v1/documents"])
def test_every_answer_has_the_security_headers(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    for name, value in SECURITY_HEADERS.items():
        assert reply.headers[name] == value


def test_request_id_is_echoed(client: httpx.Client) -> None:
    assert client.get("/livez", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>", "é".encode()])
def test_odd_request_id_is_replaced(client: httpx.Client, given: str | bytes) -> None:
    raw = given if isinstance(given, bytes) else given.encode()
    made = client.get("/livez", headers=[(b"X-Request-Id", raw)]).headers["x-request-id"]
    assert len(made) == 36


def test_server_on_the_network_takes_addresses_but_no_foreign_names() -> None:
    access = access_of(Settings(host="0.0.0.0", allow_remote=True, allowed_hosts=("docs.lan",)))
    assert access.allows_host("192.168.1.2:8000")
    assert access.allows_host("docs.lan")
    assert not access.allows_host("evil.example")
    assert access.allows_origin("http://192.168.1.2:8000", "192.168.1.2:8000")
    assert not access.allows_origin("http://192.168.1.2:8000", "docs.lan:8000")


def test_an_origin_may_be_let_in_on_every_port() -> None:
    access = access_of(Settings(cors_origins=("http://10.0.2.2:*",), allowed_hosts=("10.0.2.2",)))
    assert access.allows_host("10.0.2.2:8000")
    for origin in ("http://10.0.2.2", "http://10.0.2.2:3000", "HTTP://10.0.2.2:49152"):
        assert access.allows_origin(origin, "localhost:8000")
    for origin in ("https://10.0.2.2:3000", "http://10.0.2.20:3000", "http://10.0.2.2.evil.example", "http://*:*"):
        assert not access.allows_origin(origin, "localhost:8000")
    assert not access_of(Settings()).allows_origin("http://10.0.2.2:3000", "localhost:8000")
    assert not access_of(Settings()).allows_host("10.0.2.2:8000")


def test_without_other_origins_files_are_for_our_own_and_loopbacks_pages() -> None:
    access = access_of(Settings())
    assert access.resource_policy(None, "localhost:8000") == "same-origin"
    assert access.resource_policy("http://localhost:5173/", "127.0.0.1:8000") == "cross-origin"
    assert access.resource_policy("https://evil.example/", "127.0.0.1:8000") == "same-origin"


def test_a_setting_cannot_add_a_directive_to_the_policy_of_pdfs() -> None:
    given = ("https://app.example.org", "https://a.example; script-src *", "https://b.example, default-src *", "*")
    assert frame_ancestors(Settings(cors_origins=given)).endswith(" https://app.example.org")


def test_texts_are_compressed_and_say_so(client: httpx.Client) -> None:
    plain = client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    packed = client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) * 4 < len(plain.content)
    assert packed.json() == plain.json()
    for reply in (plain, packed):
        assert {"origin", "accept-encoding"} <= set(reply.headers["vary"].lower().split(", "))


def test_what_is_compressed_has_a_weak_tag_and_is_found_by_it(client: httpx.Client) -> None:
    text = b"The harbour opens at dawn. " * 30
    document_id = ingest(client, "harbour.txt", text)
    path = f"/v1/documents/{document_id}/content"
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text.startswith("The harbour opens at dawn.")
    assert packed.headers["etag"].startswith('W/"')
    assert (
        client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}).status_code
        == 304
    )
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"


def test_files_are_sent_as_they_are(client: httpx.Client) -> None:
    text = b"The library is closed. " * 40
    document_id = ingest(client, "library.txt", text)
    path, gzip = f"/v1/documents/{document_id}/file", {"Accept-Encoding": "gzip"}
    whole = client.get(path, headers=gzip)
    assert "content-encoding" not in whole.headers
    assert whole.headers["content-length"] == str(len(text))
    assert whole.headers["etag"].startswith('"')
    part = client.get(path, headers={**gzip, "Range": "bytes=0-599"})
    assert (part.status_code, part.content) == (206, text[:600])
    assert "content-encoding" not in part.headers


def test_answers_with_tokens_are_not_compressed(module_databases: Databases, tmp_path: Path) -> None:
    with local_server(module_databases, tmp_path / "data") as (_, server):
        server.headers["Accept-Encoding"] = "gzip"
        login = server.post("/v1/auth/register", json={"email": "ada@example.org", "password": PASSWORD})
        assert login.status_code == 201
        assert len(login.content) > 500
        assert "content-encoding" not in login.headers
        session = login.json()["session"]
        for _ in range(3):
            make_key(server, session, "read")
        listed = server.get("/v1/api-keys", headers=bearer(session))
        assert len(listed.content) > 500
        assert "content-encoding" not in listed.headers


def test_star_is_no_origin() -> None:
    access = access_of(Settings(cors_origins=("*",)))
    assert not access.allows_origin("http://evil.example", "localhost")
    assert not access.allows_origin("*", "localhost")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("\\\\server\\share\\x.pdf", "x.pdf"),
        ("a.pdf\x00.exe", "a.pdf.exe"),
        ("\u202efdp.exe", "fdp.exe"),
        ("..", "unnamed"),
        ("   ", "unnamed"),
        ("", "unnamed"),
        ("a/b/", "unnamed"),
        ("\n.pdf", ".pdf"),
        (".env", ".env"),
        ("e\u0301.pdf", "é.pdf"),
        ("line\u2028two.pdf", "line two.pdf"),
        ("文件.pdf", "文件.pdf"),
        ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),
        ("\udc80.txt", ".txt"),
    ],
)
def test_name_is_display_text(raw: str, shown: str) -> None:
    assert display_name(raw) == shown


def test_long_name_is_cut_and_keeps_its_extension() -> None:
    name = display_name("é" * 4000 + ".pdf")
    assert len(name) == 255
    assert name.endswith("é.pdf")


@pytest.mark.parametrize(
    ("name", "safe"),
    [("NUL", "_NUL"), ("com1.docx", "_com1.docx"), ("a.pdf.", "a.pdf"), ("--help", "help"), ('a"b', "a_b")],
)
def test_download_name_can_be_kept_by_every_system(name: str, safe: str) -> None:
    assert download_name(name) == safe


def test_disposition_cannot_be_broken_out_of() -> None:
    header = content_disposition('x"; filename="evil.exe\r\nSet-Cookie: a=1.pdf', shown=False)
    assert header.count('filename="') == 1
    assert "\r" not in header
    assert "\n" not in header


def test_disposition_carries_other_scripts() -> None:
    header = content_disposition("Größe 文.pdf", shown=True)
    assert header.startswith("inline; filename=\"Gr__e _.pdf\"; filename*=UTF-8''Gr%C3%B6")


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("bytes=0-4", "single"),
        ("bytes=9-", "single"),
        ("bytes=-3", "single"),
        ("bytes=10-", "outside"),
        ("bytes=-0", "outside"),
        ("bytes=0-1,3-4", "ignored"),
        ("bytes=5-2", "ignored"),
        ("bytes=-", "ignored"),
        ("lines=1-2", "ignored"),
    ],
)
def test_range_is_read_as_the_rfc_says(header: str, kind: str) -> None:
    assert range_kind(header, 10) == kind


def test_tags_are_compared_weakly() -> None:
    assert matches_tag('"a", W/"b"', "b")
    assert matches_tag("*", "b")
    assert not matches_tag('"a"', "b")
    assert not matches_tag(None, "b")
