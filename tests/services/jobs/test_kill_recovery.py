"""A server killed at any instant of an ingest goes on by itself after a restart, and loses and doubles nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.support.databases import Kind
from tests.support.paths import DATA
from tests.support.server_process import Server
from tests.support.waiting import wait_for

KILLS = 4
SEED = 20261121
MODEL: Mapping[Kind, str] = {"sqlite": "all-mpnet-base-v2", "postgresql": "hash"}
"""The real model makes kills fall into embedding too; loading it a dozen times once for each store would tell no more,
as no store takes part in making a vector."""


def make_files(folder: Path) -> list[Path]:
    """Files of every kind that takes long or short to read, each with bytes of its own."""
    folder.mkdir()
    files = []
    for number in range(4):
        prose = " ".join(f"Sentence {n} of report {number} is about subject {n * number % 17}." for n in range(150))
        report = folder / f"report-{number}.txt"
        report.write_text(f"Report {number}\n\n{prose}\n", encoding="utf-8")
        files.append(report)
    for sample in ("scanned.pdf", "report.pdf", "survey.docx", "tides.html", "harbour.md"):
        copy = folder / sample
        copy.write_bytes((DATA / sample).read_bytes())
        files.append(copy)
    return files


def upload(server: Server, files: list[Path]) -> dict[str, str]:
    """Document ids by file name."""
    with server.client() as client:
        reply = client.post("/v1/documents", files=[("files", (p.name, p.read_bytes())) for p in files])
    assert reply.status_code == 202, reply.text
    return {entry["filename"]: entry["document"]["id"] for entry in reply.json()["data"]}


def all_ended(server: Server) -> bool:
    with server.client() as client:
        jobs = client.get("/v1/jobs", params={"limit": 200}).json()["data"]
    return all(job["status"] in ("completed", "completed_with_errors", "failed") for job in jobs)


def snapshot(server: Server, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What a reader sees of every document, without ids and times."""
    seen = {}
    with server.client() as client:
        for name, document_id in ids.items():
            url = f"/v1/documents/{document_id}"
            document = client.get(url).json()
            chunks = all_chunks(client, url)
            seen[name] = {
                "facts": [document[k] for k in ("status", "page_count", "chunk_count", "image_count", "warnings")],
                "text": client.get(f"{url}/content", params={"format": "text"}).text,
                "chunks": [(c["ordinal"], c["text"], c["prefix"], c["spans"]) for c in chunks],
                "images": [(i["page"], i["box"], i["sha256"]) for i in client.get(f"{url}/images").json()["data"]],
                "vectors": vectors_of(client, document_id, len(chunks)),
            }
    return seen


def all_chunks(client: httpx.Client, url: str) -> list[dict[str, Any]]:
    chunks: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": "200", **({"cursor": cursor} if cursor else {})}
        reply = client.get(f"{url}/chunks", params=params).json()
        chunks += reply["data"]
        cursor = reply["next_cursor"]
        if not cursor:
            return chunks


def vectors_of(client: httpx.Client, document_id: str, count: int) -> dict[str, list[float]]:
    """The stored vectors of a document's chunks by the chunk's text."""
    query = {
        "query": "subject",
        "mode": "semantic",
        "k": max(1, min(200, count)),
        "min_score": 0,
        "modalities": ["text"],
        "document_ids": [document_id],
        "include": ["text", "vectors"],
    }
    hits = client.post("/v1/search", json=query).json()["data"]
    return {hit["text"]: hit["vector"] for hit in hits}


@pytest.mark.timeout(1200)
def test_killing_the_server_at_any_instant_loses_and_doubles_nothing(
    tmp_path: Path, start_server: Callable[..., Server], store_kind: Kind
) -> None:
    files = make_files(tmp_path / "files")
    undisturbed = start_server(tmp_path / "undisturbed", DOCATLAS_TEXT_MODEL=MODEL[store_kind])
    began = time.monotonic()
    ids = upload(undisturbed, files)
    wait_for(lambda: all_ended(undisturbed), tries=6000)
    duration_s = time.monotonic() - began
    expected = snapshot(undisturbed, ids)
    assert all(document["facts"][0].startswith("completed") for document in expected.values())
    undisturbed.stop()

    server = start_server(tmp_path / "disturbed", DOCATLAS_TEXT_MODEL=MODEL[store_kind])
    dice = random.Random(SEED)
    ids = upload(server, files)
    for _ in range(KILLS):
        time.sleep(dice.uniform(0, duration_s / KILLS))
        assert server.process is not None
        family = psutil.Process(server.process.pid).children(recursive=True)
        server.kill()
        psutil.wait_procs(family, timeout=10)
        assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        server.start()
    wait_for(lambda: all_ended(server), tries=6000)
    found = snapshot(server, ids)

    for name, document in expected.items():
        for key in ("facts", "text", "chunks", "images"):
            assert found[name][key] == document[key], f"{key} of {name}"
        assert set(found[name]["vectors"]) == set(document["vectors"])
        for text, vector in document["vectors"].items():
            assert float(np.dot(vector, found[name]["vectors"][text])) >= 0.999, f"a vector of {name}"
    assert len(found) == len(files)
    assert len(list((tmp_path / "disturbed" / "blobs").rglob("worker-*"))) <= 1


def test_a_stopped_server_puts_its_jobs_back_and_a_new_one_ends_them(
    tmp_path: Path, start_server: Callable[..., Server]
) -> None:
    files = make_files(tmp_path / "files")
    server = start_server()
    ids = upload(server, files)
    assert server.stop() == 0
    server.start()
    wait_for(lambda: all_ended(server), tries=6000)
    with server.client() as client:
        states = {client.get(f"/v1/documents/{i}").json()["status"] for i in ids.values()}
    assert states <= {"completed", "completed_with_errors"}
