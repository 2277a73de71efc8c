"""Uploads over HTTP: streaming, limits, names and what is refused."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.http.uploads import SCRATCH_PREFIX, remove_abandoned
from services.runtime import Runtime
from tests.support.api_server import LIMIT, assert_problem, opened, upload
from tests.support.databases import Databases
from tests.support.paths import DATA
from tests.support.waiting import wait_for


def scratch_files(runtime: Runtime) -> list[Path]:
    return list(runtime.blobs.scratch().glob(f"{SCRATCH_PREFIX}*"))


def test_bad_file_costs_no_other(inbox: httpx.Client) -> None:
    files = [
        ("files", ("good.txt", b"Good as gold.")),
        ("files", ("empty.txt", b"")),
        ("files", ("large.txt", b"x" * (LIMIT + 1))),
        ("files", ("odd.bin", bytes(range(256)) * 8)),
        ("files", ("also.txt", b"Good as well.")),
    ]
    reply = inbox.post("/v1/documents", files=files)
    assert reply.status_code == 202
    entries = reply.json()["data"]
    assert [e["outcome"] for e in entries] == ["created", "rejected", "rejected", "rejected", "created"]
    assert [e["error"]["status"] for e in entries[1:4]] == [422, 413, 415]
    assert [e["error"]["code"] for e in entries[1:3]] == ["empty_file", "file_too_large"]
    assert all(e["document"] is None and e["job"] is None for e in entries[1:4])
    assert "location" not in reply.headers


def test_single_empty_file_is_422(inbox: httpx.Client) -> None:
    assert_problem(inbox.post("/v1/documents", files=[("files", ("a.txt", b""))]), 422, "empty_file")


def test_single_unknown_format_is_415_and_lists_the_known(inbox: httpx.Client) -> None:
    reply = inbox.post("/v1/documents", files=[("files", ("a.bin", bytes(range(256)) * 8))])
    problem = assert_problem(reply, 415, "unsupported_format")
    assert "pdf" in json.dumps(problem["supported"])


def test_old_slides_without_libreoffice_are_503_and_say_what_to_install(databases: Databases, tmp_path: Path) -> None:
    with opened(databases, tmp_path / "data", runs_jobs=False, libreoffice_path=tmp_path / "absent") as (_, client):
        reply = client.post("/v1/documents", files=[("files", ("talk.ppt", (DATA / "talk.ppt").read_bytes()))])
        assert_problem(reply, 503, "libreoffice_missing")
        assert "libreoffice-impress" in reply.json()["detail"]
        assert client.get("/v1/documents").json()["data"] == []


def test_single_large_file_is_413_and_leaves_nothing(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, inbox = idle
    reply = inbox.post("/v1/documents", files=[("files", ("a.txt", b"x" * (LIMIT + 1)))])
    assert assert_problem(reply, 413, "file_too_large")["limit"] == LIMIT
    assert not scratch_files(runtime)


def test_file_of_exactly_the_limit_is_taken(inbox: httpx.Client) -> None:
    entry = upload(inbox, "brim.csv", b"a,b\n" + b"1,2\n" * ((LIMIT - 4) // 4), options='{"pages": "1"}')
    assert entry["document"]["size_bytes"] == LIMIT
    inbox.post(f"/v1/jobs/{entry['job']['id']}/cancel")


def test_request_without_a_file_is_refused(inbox: httpx.Client) -> None:
    reply = inbox.post("/v1/documents", files={"options": (None, "{}")})
    assert assert_problem(reply, 422, "invalid_request")["errors"][0]["pointer"] == "/files"


def test_more_files_than_allowed_are_refused_as_a_whole(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, inbox = idle
    reply = inbox.post("/v1/documents", files=[("files", (f"{n}.txt", b"many %d" % n)) for n in range(121)])
    assert assert_problem(reply, 413, "too_many_files")["limit"] == 120
    assert not scratch_files(runtime)


def test_hundred_files_in_one_request_are_all_taken(inbox: httpx.Client) -> None:
    files = [("files", (f"{n}.txt", b"one of a hundred: %d" % n)) for n in range(100)]
    entries = inbox.post("/v1/documents", files=files).json()["data"]
    assert [entry["filename"] for entry in entries] == [f"{n}.txt" for n in range(100)]
    assert {entry["outcome"] for entry in entries} == {"created"}


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"options": "{"}, 400, "malformed_request"),
        ({"options": "[1]"}, 422, "invalid_request"),
        ({"options": '{"chunk_size": 1}'}, 422, "invalid_option"),
        ({"options": '{"colour": "red"}'}, 422, "invalid_option"),
        ({"options": '{"password": 3}'}, 422, "invalid_option"),
        ({"options": '{"embed": false}'}, 422, "invalid_option"),
        ({"options": '{"pages": "0"}'}, 422, "invalid_option"),
        ({"options": '{"pages": "3-1"}'}, 422, "invalid_option"),
        ({"options": '{"\\ud800": 1}'}, 422, "invalid_request"),
        ({"options": '{"password": "\\ud800"}'}, 422, "invalid_request"),
        ({"metadata": '{"a": ["\\u0000"]}'}, 422, "invalid_request"),
        ({"metadata": '{"\\u0000": 1}'}, 422, "invalid_request"),
        ({"metadata": '{"a": NaN}'}, 400, "malformed_request"),
        ({"metadata": '{"a": "\\ud800"}'}, 422, "invalid_request"),
        ({"metadata": json.dumps({"a": "x" * 70_000})}, 422, "invalid_request"),
        ({"options": "x" * 1_100_000}, 413, "field_too_large"),
        ({"option": "{}"}, 422, "invalid_request"),
    ],
)
def test_wrong_fields_are_refused_before_anything_is_stored(
    idle: tuple[Runtime, httpx.Client], fields: dict[str, str], status: int, code: str
) -> None:
    runtime, inbox = idle
    content = b"Never stored: " + json.dumps([fields, status]).encode()[:200]
    reply = inbox.post("/v1/documents", files=[("files", ("a.txt", content))], data=fields)
    assert_problem(reply, status, code)
    assert not runtime.blobs.exists(hashlib.sha256(content).hexdigest())
    assert not scratch_files(runtime)


def multipart(
    inbox: httpx.Client, body: bytes, content_type: str = "multipart/form-data; boundary=b"
) -> httpx.Response:
    return inbox.post("/v1/documents", content=body, headers={"Content-Type": content_type})


PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (PART % (b"a.txt", b"cut off"), "multipart/form-data; boundary=b", 400),
        (b"no parts at all", "multipart/form-data; boundary=b", 400),
        (b"", "multipart/form-data; boundary=b", 400),
        (PART % (b"a.txt", b"x") + b"--b--\r\n", "multipart/form-data", 400),
        (PART % (b"a.txt", b"x") + b"--b--\r\n", "multipart/form-data; boundary=" + "b" * 300, 400),
        (b"text", "text/plain", 415),
    ],
)
def test_malformed_multipart_is_refused(inbox: httpx.Client, body: bytes, content_type: str, status: int) -> None:
    reply = multipart(inbox, body, content_type)
    assert reply.status_code == status, reply.text
    assert reply.json()["code"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"../../etc/passwd", "passwd"),
        (b"", "unnamed"),
        (b"\xff\xfe.txt", "��.txt"),
        (b"\xed\xa0\x80.txt", "���.txt"),
        ("\u202efdp.txt".encode(), "fdp.txt"),
        (b"a%0D%0Ab%22.txt", 'a b".txt'),
        (b"x" * 4000 + b".txt", "x" * 251 + ".txt"),
    ],
)
def test_hostile_name_becomes_display_text(inbox: httpx.Client, raw: bytes, shown: str) -> None:
    body = PART % (raw, b"named " + hashlib.sha256(raw).hexdigest().encode()) + b"--b--\r\n"
    reply = multipart(inbox, body)
    assert reply.status_code == 202, reply.text
    entry = reply.json()["data"][0]
    assert entry["filename"] == shown
    file = inbox.get(f"/v1/documents/{entry['document']['id']}/file")
    assert file.status_code == 200
    assert "filename=" in file.headers["content-disposition"]


def test_options_may_stand_before_the_files(inbox: httpx.Client) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{"before": true}\r\n'
    entry = multipart(inbox, body + PART % (b"a.txt", b"After its metadata.") + b"--b--\r\n").json()["data"][0]
    assert entry["document"]["metadata"] == {"before": True}


def test_abandoned_upload_leaves_no_file(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, inbox = idle
    url = inbox.base_url
    with socket.create_connection((url.host, url.port or 80)) as connection:
        head = (
            "POST /v1/documents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2500000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        connection.sendall(head.encode() + PART.split(b"%s")[0] + b'a.txt"\r\n\r\n' + b"x" * 2_000_000)
        wait_for(lambda: scratch_files(runtime))
    wait_for(lambda: not scratch_files(runtime))


def test_files_of_a_killed_process_are_removed_when_they_are_old(tmp_path: Path) -> None:
    old, other = tmp_path / f"{SCRATCH_PREFIX}1", tmp_path / "worker-1"
    old.touch()
    other.touch()
    remove_abandoned(tmp_path, 100.0, old.stat().st_mtime + 99.0)
    assert old.exists()
    remove_abandoned(tmp_path, 100.0, old.stat().st_mtime + 101.0)
    assert not old.exists()
    assert other.exists()


def test_very_large_file_costs_no_other(databases: Databases, tmp_path: Path) -> None:
    with opened(databases, tmp_path / "data", runs_jobs=False, max_upload_bytes=100_000) as (_, inbox):

        def body() -> Iterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="large.txt"\r\n\r\n'
            for _ in range(280):
                yield b"x" * 1_000_000
            yield b"\r\n" + PART % (b"good.txt", b"A good file behind it.") + b"--b--\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        reply = inbox.post("/v1/documents", content=body(), headers=headers)
        assert reply.status_code == 202, reply.text
        large, good = reply.json()["data"]
    assert (large["outcome"], large["error"]["code"]) == ("rejected", "file_too_large")
    assert (good["outcome"], good["document"]["filename"]) == ("created", "good.txt")
