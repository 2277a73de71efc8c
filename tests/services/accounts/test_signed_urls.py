"""Signed addresses: what they open, for whom, how long, and that nothing tells of them."""

from __future__ import annotations

import io
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.http.addresses import PLAIN, addresses_for
from cli.http_server import WithoutSignatures
from database.documents import document_aliases
from database.ids import new_id
from database.records import worker_for
from services.accounts.principal import Principal
from services.accounts.signed_urls import KEY_FILE, UrlSigner, open_signer
from services.admin.users import disable_user, enable_user, remove_user
from services.errors import InternalError, Unauthenticated
from services.jobs.worker import Worker
from services.runtime import Runtime
from services.settings import Settings
from tests.support.account_cases import SECRET, Clock, bearer, local_server, make_key, register
from tests.support.api_server import TERMINAL, assert_problem, opened
from tests.support.databases import Databases
from tests.support.paths import DATA
from tests.support.waiting import wait_for

PATH = "/v1/images/019aa5d2-9a02-7d13-b0e7-7c8f9a1b2c3d/content"
USER = "019aa5d2-6f1e-7c3a-9d55-0c1f0f6b7e21"


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    folder = tmp_path_factory.mktemp("signed")
    given = {"cors_origins": ("https://app.example.org",)}
    with local_server(module_databases, folder, **given) as both, Worker(both[0]):
        yield both


@pytest.fixture(scope="module")
def owner(server: tuple[Runtime, httpx.Client]) -> dict[str, Any]:
    """A session of a user whose documents are two: a PDF, and a picture."""
    client = server[1]
    session = register(client, f"{new_id()}@example.org")
    headers = bearer(session)
    for name in ("report.pdf", "letter.png"):
        reply = client.post("/v1/documents", files=[("files", (name, (DATA / name).read_bytes()))], headers=headers)
        assert reply.status_code == 202, reply.text
    wait_for(lambda: all(one["status"] in TERMINAL for one in client.get("/v1/jobs", headers=headers).json()["data"]))
    return session


def documents_of(client: httpx.Client, session: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The user's documents by name."""
    return {one["filename"]: one for one in client.get("/v1/documents", headers=bearer(session)).json()["data"]}


@pytest.fixture(scope="module")
def addresses(server: tuple[Runtime, httpx.Client], owner: dict[str, Any]) -> dict[str, str]:
    """One address of each kind, as the answers give them."""
    client, headers = server[1], bearer(owner)
    found = documents_of(client, owner)
    picture = client.get(f"/v1/documents/{found['letter.png']['id']}/images", headers=headers).json()["data"][0]
    page = client.get(f"/v1/documents/{found['report.pdf']['id']}/pages/1", headers=headers).json()
    return {
        "file": found["report.pdf"]["file_url"],
        "page": page["page_image_url"],
        "picture": picture["url"],
        "thumbnail": picture["thumbnail_url"],
    }


KINDS = ("file", "page", "picture", "thumbnail")


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_address_is_read_without_a_token(client: httpx.Client, addresses: dict[str, str], kind: str) -> None:
    reply = client.get(addresses[kind])
    assert reply.status_code == 200, reply.text
    assert reply.headers["cache-control"] == "private, no-cache"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.content.startswith(b"%PDF" if kind == "file" else (b"RIFF", b"\x89PNG"))


@pytest.mark.parametrize("kind", KINDS)
def test_head_and_a_tag_work_with_a_signed_address(client: httpx.Client, addresses: dict[str, str], kind: str) -> None:
    whole, head = client.get(addresses[kind]), client.head(addresses[kind])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["etag"] == whole.headers["etag"]
    assert client.get(addresses[kind], headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


@pytest.mark.parametrize("kind", ["file", "picture"])
def test_ranges_work_with_a_signed_address(client: httpx.Client, addresses: dict[str, str], kind: str) -> None:
    whole = client.get(addresses[kind]).content
    part = client.get(addresses[kind], headers={"Range": "bytes=2-9"})
    assert (part.status_code, part.content) == (206, whole[2:10])
    assert part.headers["content-range"] == f"bytes 2-9/{len(whole)}"


def test_every_answer_holds_addresses_that_work(
    client: httpx.Client, owner: dict[str, Any], addresses: dict[str, str]
) -> None:
    headers = bearer(owner)
    found = documents_of(client, owner)["report.pdf"]["id"]
    hits = client.post("/v1/search", json={"query": "harbour", "min_score": 0}, headers=headers).json()["data"]
    prompt = client.post("/v1/context", json={"message": "harbour"}, headers=headers)
    pages = client.get(f"/v1/documents/{found}/pages", headers=headers).json()["data"]
    held = [hit["page_image_url"] for hit in hits] + [hit["image_url"] for hit in hits if hit["image_url"]]
    held += [source["url"] for source in prompt.json()["sources"]] + [page["page_image_url"] for page in pages]
    assert len(held) >= 3
    for address in set(held):
        assert "signature=" in address
        assert client.get(address).status_code == 200, address


def test_the_width_is_free_and_the_path_is_not(client: httpx.Client, addresses: dict[str, str]) -> None:
    assert client.get(f"{addresses['page']}&width=200").status_code == 200
    path, _, query = addresses["page"].partition("?")
    other = path.replace("/pages/1/", "/pages/2/")
    assert other != path
    assert_problem(client.get(f"{other}?{query}"), 401, "invalid_signature")
    assert_problem(client.get(f"{path.removesuffix('/image')}?{query}"), 401, "invalid_signature")


def test_a_signature_opens_nothing_else(client: httpx.Client, addresses: dict[str, str]) -> None:
    path, _, query = addresses["file"].partition("?")
    document = path.removesuffix("/file")
    for method, target in (
        ("GET", document),
        ("GET", f"{document}/content"),
        ("GET", "/v1/documents"),
        ("GET", "/v1/auth/me"),
        ("GET", f"{path}/"),
        ("GET", f"{path}%0A"),
        ("POST", path),
        ("DELETE", path),
        ("DELETE", document),
        ("PATCH", document),
        ("POST", "/v1/search"),
    ):
        assert_problem(client.request(method, f"{target}?{query}"), 401, "invalid_signature")


def other(character: str) -> str:
    return "A" if character != "A" else "B"


def test_tampering_is_refused(client: httpx.Client, addresses: dict[str, str]) -> None:
    path, _, query = addresses["file"].partition("?")
    given = httpx.QueryParams(query)
    expires, signature = given["expires"], given["signature"]
    for changed in (
        {"expires": str(int(expires) + 1), "signature": signature},
        {"expires": expires, "signature": signature[:-1] + other(signature[-1])},
        {"expires": expires, "signature": other(signature[0]) + signature[1:]},
        {"expires": expires, "signature": signature[:-4]},
        {"expires": expires, "signature": "é" * 64},
        {"expires": expires, "signature": ""},
        {"expires": "9" * 400, "signature": signature},
        {"expires": f"0{expires}", "signature": signature},
        {"expires": f"+{expires}", "signature": signature},
        {"expires": "", "signature": signature},
        {"signature": signature},
    ):
        assert_problem(client.get(path, params=changed), 401, "invalid_signature")
    assert_problem(client.get(f"{path}?{query}&signature={signature}"), 401, "invalid_signature")
    assert_problem(client.get(f"{path}?{query}&expires={expires}"), 401, "invalid_signature")
    assert_problem(client.get(path, params={"expires": expires}), 401, "unauthenticated")


def test_another_owners_signature_opens_no_document_of_mine(
    runtime: Runtime, client: httpx.Client, addresses: dict[str, str], session: dict[str, Any]
) -> None:
    path = addresses["file"].partition("?")[0]
    signer = runtime.accounts.signer
    assert signer is not None
    theirs = signer.sign(path, session["user"]["id"])
    assert_problem(client.get(theirs), 404, "document_not_found")
    mine = httpx.QueryParams(addresses["file"].partition("?")[2])
    strange = httpx.QueryParams(theirs.partition("?")[2])
    spliced = strange["signature"][:22] + mine["signature"][22:]
    assert_problem(
        client.get(path, params={"expires": mine["expires"], "signature": spliced}), 401, "invalid_signature"
    )


def test_an_expired_address_says_so(runtime: Runtime, client: httpx.Client, addresses: dict[str, str]) -> None:
    signer = runtime.accounts.signer
    assert signer is not None
    path = addresses["file"].partition("?")[0]
    user_id = signer.verify(path, *httpx.QueryParams(addresses["file"].partition("?")[2]).values()).user_id
    expired = signer.sign(path, user_id, expires_at=signer.clock() - 1)
    assert_problem(client.get(expired), 401, "signature_expired")
    assert client.head(expired).status_code == 401


def test_a_token_goes_before_a_signature(
    client: httpx.Client, owner: dict[str, Any], session: dict[str, Any], addresses: dict[str, str]
) -> None:
    assert client.get(addresses["file"], headers=bearer(owner)).status_code == 200
    path = addresses["file"].partition("?")[0]
    assert client.get(f"{path}?expires=1&signature=x", headers=bearer(owner)).status_code == 200
    assert_problem(client.get(addresses["file"], headers=bearer(session)), 404, "document_not_found")
    assert_problem(client.get(addresses["file"], headers=bearer("nonsense")), 401, "invalid_token")


def test_addresses_of_a_disabled_or_deleted_user_are_dead_at_once(
    runtime: Runtime, client: httpx.Client, session: dict[str, Any]
) -> None:
    headers, user_id = bearer(session), session["user"]["id"]
    reply = client.post("/v1/documents", files=[("files", ("a.txt", b"The harbour opens at dawn."))], headers=headers)
    address = reply.json()["data"][0]["document"]["file_url"]
    assert client.get(address).content == b"The harbour opens at dawn."
    disable_user(runtime, user_id)
    assert_problem(client.get(address), 401, "account_disabled")
    enable_user(runtime, user_id)
    assert client.get(address).status_code == 200
    remove_user(runtime, user_id)
    assert_problem(client.get(address), 401, "account_deleted")


def test_a_deleted_documents_address_is_dead(client: httpx.Client, session: dict[str, Any]) -> None:
    headers = bearer(session)
    reply = client.post("/v1/documents", files=[("files", ("b.txt", b"The library is closed."))], headers=headers)
    document = reply.json()["data"][0]["document"]
    assert client.delete(f"/v1/documents/{document['id']}", headers=headers).status_code == 204
    assert_problem(client.get(document["file_url"]), 404, "document_not_found")


def test_a_key_that_may_not_read_gets_no_address_that_reads(client: httpx.Client, session: dict[str, Any]) -> None:
    headers = {"X-API-Key": make_key(client, session, "write")}
    reply = client.post("/v1/documents", files=[("files", ("c.txt", b"The rent is due."))], headers=headers)
    document = reply.json()["data"][0]["document"]
    assert document["file_url"] == f"/v1/documents/{document['id']}/file"
    assert_problem(client.get(document["file_url"]), 401, "unauthenticated")
    reading = {"X-API-Key": make_key(client, session, "read")}
    signed = client.get(f"/v1/documents/{document['id']}", headers=reading).json()["file_url"]
    assert client.get(signed).content == b"The rent is due."


def test_the_address_of_a_moved_document_leads_to_its_new_one(
    runtime: Runtime, client: httpx.Client, owner: dict[str, Any]
) -> None:
    document_id, alias = documents_of(client, owner)["report.pdf"]["id"], new_id()
    user_id = owner["user"]["id"]
    with runtime.store.begin(worker_for(user_id), write=True) as tx:
        document_aliases.add(tx, user_id, {alias: document_id})
    signer = runtime.accounts.signer
    assert signer is not None
    moved = client.get(f"{signer.sign(f'/v1/documents/{alias}/pages/1/image', user_id)}&width=100")
    assert moved.status_code == 308
    location = httpx.URL(moved.headers["location"])
    assert location.path == f"/v1/documents/{document_id}/pages/1/image"
    assert location.params["width"] == "100"
    assert client.get(moved.headers["location"]).status_code == 200


def test_signed_reads_do_not_use_up_the_owners_requests(databases: Databases, tmp_path: Path) -> None:
    with local_server(databases, tmp_path / "data", quota_requests_per_minute=3) as (_, client):
        session = register(client, "reader@example.org")
        reply = client.post("/v1/documents", files=[("files", ("a.txt", b"text"))], headers=bearer(session))
        address = reply.json()["data"][0]["document"]["file_url"]
        assert [client.get(address).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert client.get("/v1/documents", headers=bearer(session)).status_code == 200


def test_without_accounts_addresses_are_plain(databases: Databases, tmp_path: Path) -> None:
    with opened(databases, tmp_path / "data", runs_jobs=False) as (runtime, client):
        assert runtime.accounts.signer is None
        document = client.post("/v1/documents", files=[("files", ("a.txt", b"text"))]).json()["data"][0]["document"]
        assert document["file_url"] == f"/v1/documents/{document['id']}/file"
        assert client.get(document["file_url"]).content == b"text"
        assert not (runtime.settings.data_dir / KEY_FILE).exists()


@pytest.mark.parametrize(
    ("headers", "policy"),
    [
        ({}, "cross-origin"),
        ({"Referer": "https://app.example.org/reader?page=1"}, "cross-origin"),
        ({"Referer": "http://localhost:5173/"}, "cross-origin"),
        ({"Origin": "https://app.example.org"}, "cross-origin"),
        ({"Referer": "https://evil.example/"}, "same-origin"),
        ({"Referer": "https://app.example.org.evil.example/"}, "same-origin"),
        ({"Referer": "not an address"}, "same-origin"),
    ],
)
def test_who_may_embed_follows_the_cors_setting(
    client: httpx.Client, addresses: dict[str, str], headers: dict[str, str], policy: str
) -> None:
    for kind in KINDS:
        assert client.get(addresses[kind], headers=headers).headers["cross-origin-resource-policy"] == policy
    path = addresses["file"].partition("?")[0]
    refused = client.get(path, headers=headers)
    assert refused.status_code == 401
    assert client.get("/v1/documents", headers=headers).headers["cross-origin-resource-policy"] == "same-origin"


def test_a_pdf_may_be_framed_by_the_allowed_origins(client: httpx.Client, addresses: dict[str, str]) -> None:
    policy = client.get(addresses["file"]).headers["content-security-policy"]
    frames = next(part for part in policy.split("; ") if part.startswith("frame-ancestors"))
    assert frames.split()[1:] == [
        "'self'",
        "http://localhost:*",
        "http://127.0.0.1:*",
        "https://localhost:*",
        "https://127.0.0.1:*",
        "https://app.example.org",
    ]


def test_the_log_of_requests_holds_no_signature(addresses: dict[str, str]) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(WithoutSignatures())
    log = logging.Logger("requests")
    log.addHandler(handler)
    address = f"{addresses['file']}&width=3"
    log.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", address, "1.1", 200)
    log.info("%s", address.replace("signature=", "SIGNATURE="))
    assert httpx.URL(address).params["signature"] not in written.getvalue()
    assert "signature=...&width=3" in written.getvalue()


def signer_at(clock: Clock, secret: bytes = b"k" * 32) -> UrlSigner:
    return UrlSigner(secret, 900, clock)


def parameters(address: str) -> tuple[str, str]:
    given = httpx.URL(address).params
    return given["expires"], given["signature"]


def test_an_address_lives_as_long_as_the_setting_says(clock: Clock) -> None:
    clock.seconds = 1_800_000_000.0
    signer = signer_at(clock)
    shown = parameters(signer.sign(PATH, USER))
    assert int(shown[0]) - clock.seconds == 900
    clock.seconds += 899
    principal = signer.verify(PATH, *shown)
    assert (principal.user_id, principal.kind, principal.scopes) == (USER, "signed_url", frozenset({"read"}))
    clock.seconds += 1
    with pytest.raises(Unauthenticated) as expired:
        signer.verify(PATH, *shown)
    assert expired.value.code == "signature_expired"


def test_an_address_stays_the_same_for_a_while_so_that_caches_have_it(clock: Clock) -> None:
    clock.seconds = 1_800_000_000.0
    signer = signer_at(clock)
    first = signer.sign(PATH, USER)
    clock.seconds += 89
    assert signer.sign(PATH, USER) == first
    clock.seconds += 1
    assert signer.sign(PATH, USER) != first
    assert int(parameters(first)[0]) - clock.seconds >= 0.9 * 900


@pytest.mark.parametrize("user_id", [USER, USER.replace("019a", "019b")])
def test_a_forged_expiry_is_not_told_to_be_one(clock: Clock, user_id: str) -> None:
    forger = signer_at(clock, b"another key".ljust(32))
    with pytest.raises(Unauthenticated) as refused:
        signer_at(clock).verify(PATH, *parameters(forger.sign(PATH, user_id, expires_at=1)))
    assert refused.value.code == "invalid_signature"


def settings_of(tmp_path: Path, **given: Any) -> Settings:
    usual = {
        "accounts": "supabase",
        "supabase_url": "http://127.0.0.1:9",
        "supabase_anon_key": SecretStr("anon"),
    }
    return Settings(data_dir=tmp_path, **{**usual, **given})


def test_nodes_with_the_same_secret_accept_each_others_addresses(tmp_path: Path) -> None:
    secret = SecretStr(SECRET)
    first = open_signer(settings_of(tmp_path / "a", token_secret=secret))
    second = open_signer(settings_of(tmp_path / "b", accounts="local", token_secret=secret))
    assert first is not None
    assert second is not None
    assert second.verify(PATH, *parameters(first.sign(PATH, USER))).user_id == USER
    assert not (tmp_path / "a" / KEY_FILE).exists()
    assert first.key != SECRET.encode()


def test_without_a_secret_the_key_lies_in_the_data_folder(tmp_path: Path) -> None:
    first = open_signer(settings_of(tmp_path / "data"))
    assert first is not None
    key = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [KEY_FILE]
    again = open_signer(settings_of(tmp_path / "data"))
    assert again is not None
    assert again.verify(PATH, *parameters(first.sign(PATH, USER))).user_id == USER
    other = open_signer(settings_of(tmp_path / "other"))
    assert other is not None
    assert other.key != first.key
    assert str(first.key) not in repr(first)


def test_a_key_that_others_can_read_is_closed_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    key = tmp_path / KEY_FILE
    key.write_bytes(os.urandom(32))
    key.chmod(0o644)
    assert open_signer(settings_of(tmp_path)) is not None
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.write_bytes(b"short")
    with pytest.raises(InternalError, match="holds no key") as damaged:
        open_signer(settings_of(tmp_path))
    assert damaged.value.code == "signing_key_damaged"


def test_only_who_may_read_is_given_signed_addresses(clock: Clock) -> None:
    signer = signer_at(clock)
    assert addresses_for(signer, Principal(USER, "api_key", frozenset({"write", "admin"}))) == PLAIN
    assert addresses_for(None, Principal(USER, "nobody")) == PLAIN
    assert "signature=" in addresses_for(signer, Principal(USER, "local")).file(USER)
