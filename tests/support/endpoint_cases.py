"""Every route with every id of another owner in every place that takes one, beside the same with an id of nobody.

The tests check what `fuzz` finds; `python -m bench.isolation` prints how many pairs there were.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from database.cursors import decode_cursor, encode_cursor
from database.ids import new_id
from services.runtime import Runtime
from tests.support.api_server import ingest, opened
from tests.support.child_cases import mail_with
from tests.support.databases import Databases
from tests.support.store_cases import digest

DATA = Path(__file__).resolve().parents[1] / "data"
ID, WORD, FILENAME = "<id>", "<word>", "<filename>"
PASSWORD = "correct horse battery staple"

_SEARCHES: Sequence[Mapping[str, Any]] = (
    {"query": "harbour", "document_ids": [ID], "min_score": 0},
    {"query": "harbour", "document_ids": [ID], "mode": "keyword", "include": ["text", "vectors"]},
    {"query": "harbour", "document_ids": [ID], "mode": "semantic", "min_score": 0, "exact": True},
    {"query": "harbour", "filters": {"metadata.of": WORD}, "min_score": 0},
    {"query": "harbour", "filters": {"metadata.of": {"$in": [WORD, ID]}}, "min_score": 0},
    {"query": "harbour", "filters": {"filename": FILENAME}, "min_score": 0},
    {"query": WORD, "min_score": 0.9},
    {"image_id": ID},
    {"image_id": ID, "modalities": ["image"]},
    {"query": ID, "mode": "keyword"},
)
_CONTEXTS: Sequence[Mapping[str, Any]] = (
    {"message": "harbour", "document_ids": [ID]},
    {"message": "harbour", "filters": {"metadata.of": WORD}},
    {"message": "harbour", "filters": {"filename": FILENAME}},
    {"message": "harbour", "session_id": ID},
)
BODIES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "PATCH /v1/documents/{document_id}": ({"title": "stolen"}, {"metadata": {"of": "stolen"}}),
    "POST /v1/documents/{document_id}/reprocess": ({}, {"chunk_size": 500}),
    "POST /v1/search": _SEARCHES,
    "POST /v1/context": _CONTEXTS,
    "POST /chat/prepare-context": _CONTEXTS,
}
QUERIES: Mapping[str, Sequence[Mapping[str, str]]] = {
    "GET /v1/documents": (
        {"parent_id": ID},
        {"q": ID},
        {"q": WORD},
        {"q": FILENAME},
        {"metadata[of]": WORD},
        {"metadata.of": ID},
        {"cursor": "documents"},
        {"cursor": "documents", "limit": "1"},
        {"cursor": ID},
    ),
    "GET /v1/jobs": ({"document_id": ID}, {"cursor": "jobs"}, {"cursor": ID}),
    "GET /v1/jobs/{job_id}": ({}, {"wait": "0.1"}),
    "GET /v1/searches": ({"cursor": "searches"}, {"cursor": ID}),
    "GET /v1/api-keys": ({"cursor": "api-keys"}, {"cursor": ID}),
    "GET /v1/documents/{document_id}/pages": ({}, {"cursor": "position"}, {"limit": "1"}),
    "GET /v1/documents/{document_id}/images": ({}, {"cursor": "position"}),
    "GET /v1/documents/{document_id}/chunks": ({}, {"cursor": "position"}),
    "GET /v1/documents/{document_id}/content": ({}, {"format": "text"}, {"format": "json"}),
    "GET /v1/documents/{document_id}/pages/{number}/image": ({}, {"width": "100"}),
    "GET /v1/images/{image_id}/thumbnail": ({}, {"width": "32"}),
}
WITHOUT_IDS = {
    "POST /v1/documents": "files; see the tests of the same content of two owners",
    "POST /process": "a file",
    "POST /process-with-embeddings": "a file",
    "POST /v1/search/image": "a picture",
    "POST /v1/auth/register": "an address and a password",
    "POST /v1/auth/login": "an address and a password",
    "POST /auth/login": "an address and a password",
    "POST /v1/auth/refresh": "a secret",
    "POST /v1/auth/logout": "the caller",
    "POST /v1/auth/change-password": "the caller",
    "GET /v1/auth/me": "the caller",
    "POST /v1/api-keys": "a name and scopes",
    "GET /livez": "nothing",
    "GET /readyz": "nothing",
    "GET /health": "nothing",
    "GET /v1/capabilities": "nothing",
    "GET /metrics": "nothing",
}
"""Routes that take no id, and what they take."""

_FENCE = re.compile(r"source-[0-9a-f]{16}")
"""A prompt marks where its sources begin by a number that is drawn for it."""

_TOOK = re.compile(r'"took_ms": ?[0-9.]+')

HEADERS = ("none", "range", "tag")
"""Variants of a GET: as it is, a part of the bytes, and with the tag of the owner's own copy."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user with documents, a client that is logged in, and ids of every kind."""

    client: httpx.Client
    word: str
    filename: str
    ids: Mapping[str, str]
    cursors: Mapping[str, str]
    tags: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Pair:
    """A request with another owner's id, and the same one with an id of nobody: what was answered."""

    route: str
    kind: str
    request: str
    foreign: tuple[int, Mapping[str, str], str]
    absent: tuple[int, Mapping[str, str], str]

    @property
    def differences(self) -> list[str]:
        """In what the two answers differ, a line each; empty where they are the same."""
        names = ("status", "headers", "body")
        return [
            f"{self.route} {self.kind} {self.request}: {name}: {foreign!r} and not {absent!r}"
            for name, foreign, absent in zip(names, self.foreign, self.absent, strict=True)
            if foreign != absent
        ]


@contextmanager
def two_accounts(databases: Databases, data_dir: Path) -> Iterator[tuple[Runtime, Account, Account]]:
    """A server with local accounts, and two of them that hold the same kinds of things."""
    given: dict[str, Any] = {
        "accounts": "local",
        "token_secret": SecretStr("s" * 40),
        "registration": "open",
        "quota_requests_per_minute": 0,
        "ocr_engine": "none",
    }
    with opened(databases, data_dir, **given) as (runtime, client), ExitStack() as clients:
        # The stranger first, so that the victim's cursors have something of the stranger's behind them.
        stranger, victim = (_account(client, clients, name) for name in ("strangerown", "victimsword"))
        yield runtime, victim, stranger


def _account(server: httpx.Client, clients: ExitStack, word: str) -> Account:
    reply = server.post("/v1/auth/register", json={"email": f"{word}@example.org", "password": PASSWORD})
    assert reply.status_code == 201, reply.text
    session = reply.json()["session"]
    # Lengths are compared, and that of a compressed answer depends on the ids in it.
    headers = {"Authorization": f"Bearer {session['access_token']}", "Accept-Encoding": "identity"}
    client = clients.enter_context(httpx.Client(base_url=server.base_url, headers=headers, timeout=60))
    about = {"metadata": json.dumps({"of": word})}
    filename = f"{word}.txt"
    text = f"The harbour of {word} opens at dawn."
    document_id = ingest(client, filename, text.encode(), **about)
    mail_id = ingest(client, f"{word}.eml", mail_with(note_txt=f"The harbour note of {word}.".encode()), **about)
    picture_id = ingest(client, f"{word}.png", (DATA / "letter.png").read_bytes(), **about)
    search = client.post("/v1/search", json={"query": f"harbour {word}", "min_score": 0}).json()
    key = client.post("/v1/api-keys", json={"name": word, "scopes": ["read"]}).json()
    for name in ("second", "third"):
        client.post("/v1/api-keys", json={"name": name, "scopes": ["read"]})
        client.post("/v1/search", json={"query": name, "min_score": 0})
    ids = {
        "document": document_id,
        "mail": mail_id,
        "picture document": picture_id,
        "child": client.get(f"/v1/documents/{mail_id}").json()["children"][0],
        "image": client.get(f"/v1/documents/{picture_id}/images").json()["data"][0]["id"],
        "job": client.get("/v1/jobs", params={"document_id": document_id}).json()["data"][0]["id"],
        "chunk": client.get(f"/v1/documents/{document_id}/chunks").json()["data"][0]["id"],
        "search": client.get("/v1/searches").json()["data"][0]["id"],
        "api key": key["id"],
        "user": session["user"]["id"],
        "file": digest(text),
    }
    assert search["data"], "the owner finds what the owner has"
    cursors = {
        name: client.get(f"/v1/{name}", params={"limit": 1}).json()["next_cursor"]
        for name in ("documents", "jobs", "searches", "api-keys")
    }
    tags = [client.get(f"/v1/documents/{id}/file").headers["etag"] for id in (document_id, picture_id)]
    tags.append(client.get(f"/v1/images/{ids['image']}/content").headers["etag"])
    return Account(client, word, filename, ids, {**cursors, "position": encode_cursor([0])}, tags)


def routes_of(app: FastAPI) -> list[str]:
    """`METHOD path` of everything in the schema, reading ones first, deleting ones last."""
    order = {"GET": 0, "HEAD": 1, "POST": 2, "PATCH": 3, "DELETE": 4}
    found = [f"{method.upper()} {path}" for path, of in app.openapi()["paths"].items() for method in of]
    found += [route.replace("GET", "HEAD", 1) for route in found if route.startswith("GET")]
    return sorted(found, key=lambda route: order[route.split()[0]])


def takes_ids(route: str) -> bool:
    """False for the routes of WITHOUT_IDS, and for the same ones asked by HEAD."""
    return route.replace("HEAD", "GET", 1) not in WITHOUT_IDS


def fuzz(app: FastAPI, victim: Account, stranger: Account) -> Iterator[Pair]:
    """Asks as the stranger with each of the victim's ids everywhere; a pair of answers each."""
    for route in routes_of(app):
        as_get = route.replace("HEAD", "GET", 1)
        if not takes_ids(route):
            continue
        path = route.split()[1]
        queries = QUERIES.get(as_get, ({},))
        assert "_id}" in path or queries != ({},) or route in BODIES, f"{route} takes an id, or belongs to WITHOUT_IDS"
        variants = HEADERS if route.startswith("GET") and path.endswith(("/file", "/content", "/image", "nail")) else ()
        for query in queries:
            for body in BODIES.get(route, (None,)):
                for header in variants or ("none",):
                    yield from _pairs(route, query, body, header, victim, stranger)


def _pairs(
    route: str,
    query: Mapping[str, str],
    body: Mapping[str, Any] | None,
    header: str,
    victim: Account,
    stranger: Account,
) -> Iterator[Pair]:
    shape = json.dumps([route, query, body])
    nobody = _nobody(victim)
    kinds = list(victim.ids) if ID in shape or "_id}" in route else ["document"]
    absent_of: dict[int, tuple[int, Mapping[str, str], str]] = {}
    for kind in kinds:
        size = len(victim.ids[kind])
        if size not in absent_of:
            absent_of[size] = _ask(stranger.client, route, query, body, header, nobody, kind)
        foreign = _ask(stranger.client, route, query, body, header, victim, kind)
        yield Pair(route, kind, f"{dict(query)} {body} {header}", foreign, absent_of[size])


def _nobody(victim: Account) -> Account:
    """Ids, words and cursors as the victim's, of the same length, that exist nowhere."""
    cursors = {}
    for name, cursor in victim.cursors.items():
        place = json.loads(_plain(cursor))
        cursors[name] = encode_cursor([*place[:-1], new_id()]) if len(place) > 1 else cursor
    uuids = {kind: str(uuid.uuid4()) for kind in victim.ids}
    ids = {**uuids, "file": digest(uuids["file"])}
    word = "nobodysword"[: len(victim.word)]
    return replace(victim, word=word, filename=f"{word}.txt", ids=ids, cursors=cursors)


def _plain(cursor: str) -> str:
    for types in ((int,), (str, str)):
        try:
            return json.dumps(decode_cursor(cursor, types))
        except ValueError:
            continue
    raise AssertionError(f"{cursor} is no cursor")


def _ask(
    client: httpx.Client,
    route: str,
    query: Mapping[str, str],
    body: Mapping[str, Any] | None,
    header: str,
    account: Account,
    kind: str,
) -> tuple[int, Mapping[str, str], str]:
    """Status, headers and body, with what was put in taken out again."""
    method, path = route.split()
    id = account.ids[kind]
    for name in ("document_id", "image_id", "job_id", "key_id"):
        path = path.replace(f"{{{name}}}", id)
    path = path.replace("{number}", "1")
    assert "{" not in path, f"{route}: an id of a kind that nobody has"
    filled = {**query}
    if "cursor" in filled and filled["cursor"] != ID:
        filled["cursor"] = account.cursors[filled["cursor"]]
    texts = json.dumps([filled, body])
    for mark, value in ((ID, id), (WORD, account.word), (FILENAME, account.filename)):
        texts = texts.replace(mark, value)
    parameters, content = json.loads(texts)
    headers = {"none": {}, "range": {"Range": "bytes=0-3"}, "tag": {"If-None-Match": ", ".join(account.tags)}}[header]
    reply = client.request(method, path, params=parameters, json=content, headers=headers)
    shown = {
        name: value for name, value in reply.headers.items() if name not in ("date", "x-request-id", "retry-after")
    }
    text = _FENCE.sub("FENCE", reply.text.replace(reply.headers["x-request-id"], "REQUEST"))
    for value, mark in ((id, "ID"), (account.word, "WORD")):
        text = text.replace(value, mark)
        shown = {name: shown_value.replace(value, mark) for name, shown_value in shown.items()}
    if "took_ms" in text:
        text = _TOOK.sub("TOOK", text)
        del shown["content-length"]
    return reply.status_code, shown, text
