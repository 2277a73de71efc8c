"""Takes Postgres away in the middle of ingests, in four ways, and counts what both stores hold at the end.

    python -m bench.fallback_drill [--files 6] [--faults stopped paused killed "disk full"] [--kills 0]

For each fault a real Postgres and a real `docatlas serve`: documents are uploaded before, while the server fails, while
it is away and after it is back. With `--kills` the docatlas process itself is killed with SIGKILL that often while it
moves what it took. Exits with 1 when an accepted document is missing, doubled or incomplete, cannot be found, or when
SQLite still holds something.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from bench.faults import FAULTS, Fault, FaultyPostgres, faulty_postgres
from bench.server import BenchError, Server, connect, end_in_order, start, wait_for_job

PHASES = ("before", "during", "away", "after")
PATIENCE_S = 120.0
UPLOAD_TRIES = 40
MOST_UNNOTICED = 40
"""Uploads that Postgres may still take while it fails."""
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


@dataclass(frozen=True, slots=True)
class Sent:
    """A document that was accepted."""

    phase: str
    name: str
    word: str
    """That no other document has."""
    sha256: str
    document_id: str
    job_id: str
    from_fallback: bool
    refusals: int
    """Answers of 503 before it was accepted."""


@dataclass(slots=True)
class Drill:
    """What came of one fault."""

    fault: Fault
    sent: list[Sent] = field(default_factory=list)
    noticed_s: float = 0.0
    """From the fault to the first answer from this node."""
    closed_s: float = 0.0
    """From the repair to the first answer from Postgres."""
    kills: int = 0
    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What Postgres holds for each document id that was handed out."""
    documents: int = 0
    """On Postgres, in all."""
    in_sqlite: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def text_of(name: str, paragraphs: int) -> tuple[bytes, str]:
    """A Markdown document and a word that only it has."""
    word = "w" + hashlib.sha256(name.encode()).hexdigest()[:12]
    lines = [f"# {name}", *(f"Paragraph {n} of {name} tells about {word} and number {n}." for n in range(paragraphs))]
    return "\n\n".join(lines).encode(), word


def send(client: httpx.Client, phase: str, number: int, paragraphs: int) -> Sent:
    """Uploads a document as a client that honours `Retry-After`, if not for as long. Raises BenchError."""
    name = f"{phase}-{number}.md"
    content, word = text_of(name, paragraphs)
    for refusals in range(UPLOAD_TRIES):
        answer = client.post("/v1/documents", files={"files": (name, content)})
        if answer.status_code == 202:
            entry = answer.json()["data"][0]
            job = entry["job"]
            return Sent(
                phase,
                name,
                word,
                hashlib.sha256(content).hexdigest(),
                entry["document"]["id"],
                job["id"] if job else "",
                answer.headers.get("x-docatlas-store") == "fallback",
                refusals,
            )
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            raise BenchError(f"{name}: {answer.status_code} {answer.text[:300]}")
        time.sleep(0.5)
    raise BenchError(f"{name} was refused {UPLOAD_TRIES} times")


def breaker_state(client: httpx.Client) -> str:
    answer = client.get("/health")
    fallback = answer.json().get("fallback")
    return str(fallback["state"]) if fallback else "unknown"


def wait_for_state(client: httpx.Client, state: str) -> float:
    """Seconds until the breaker has that state. Raises BenchError."""
    began = time.monotonic()
    while breaker_state(client) != state:
        if time.monotonic() - began > PATIENCE_S:
            raise BenchError(f"the breaker is not {state} after {PATIENCE_S:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - began


def settings_for(postgres: FaultyPostgres) -> dict[str, str]:
    return {
        "DOCATLAS_DATABASE_URL": postgres.server_url,
        "DOCATLAS_TEXT_MODEL": "hash",
        "DOCATLAS_OFFLINE": "1",
        "DOCATLAS_FALLBACK_PROBE_S": "0.5",
        "DOCATLAS_SWEEP_S": "0.2",
        "DOCATLAS_WORKER_THREADS": "2",
    }


def run_drill(fault: Fault, folder: Path, *, files: int = 6, paragraphs: int = 2500, kills: int = 0) -> Drill:
    """Runs one drill in `folder`; what is wrong is told in `Drill.wrong`."""
    drill = Drill(fault)
    with faulty_postgres(fault) as postgres:
        server = start(folder / "data", env=settings_for(postgres))
        try:
            server.wait_for("/readyz", timeout_s=PATIENCE_S)
            with connect(server) as client:
                drill.sent += [send(client, "before", n, 40) for n in range(files)]
                for sent in drill.sent:
                    wait_for_job(client, sent.job_id, timeout_s=PATIENCE_S)
                drill.sent += [send(client, "during", n, paragraphs) for n in range(2)]
                _wait_until_reading(client, drill.sent[-2:])
                postgres.fail(fault)
                failed = time.monotonic()
                number = 0
                # A full disk has room in pages that are there: the first small uploads may still find some.
                while sum(entry.from_fallback for entry in drill.sent) < files and number < files + MOST_UNNOTICED:
                    drill.sent.append(send(client, "away", number, 40))
                    number += 1
                    if drill.sent[-1].from_fallback and not drill.noticed_s:
                        drill.noticed_s = time.monotonic() - failed
                if fault != "disk full":
                    _check_answers(client, drill)
                for sent in drill.sent:
                    if sent.from_fallback:
                        wait_for_job(client, sent.job_id, timeout_s=PATIENCE_S)
                # Still to be read when the server comes back: what runs here has to be interrupted and moved.
                drill.sent.append(send(client, "away", number, paragraphs))
                postgres.mend()
                mended = time.monotonic()
            server = _killed(server, folder, settings_for(postgres), kills, drill)
            with connect(server) as client:
                wait_for_state(client, "closed")
                drill.closed_s = time.monotonic() - mended
                drill.sent += [send(client, "after", n, 40) for n in range(files)]
                for sent in drill.sent:
                    if sent.job_id:
                        wait_for_job(client, sent.job_id, timeout_s=PATIENCE_S)
                _wait_until_moved(client)
                _check(drill, client, postgres, folder / "data")
        finally:
            server.stop()
    return drill


def _wait_until_reading(client: httpx.Client, sent: Sequence[Sent]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        jobs = [client.get(f"/v1/jobs/{entry.job_id}").json() for entry in sent]
        if any(job["status"] == "in_progress" and job["progress"]["percent"] > 0 for job in jobs):
            return
        if all(job["status"] == "completed" for job in jobs):
            raise BenchError("the documents were read before the fault came; make them longer")
        time.sleep(0.02)


def _check_answers(client: httpx.Client, drill: Drill) -> None:
    """What a client is told while the server is away."""
    missing = client.get(f"/v1/documents/{drill.sent[0].document_id}")
    if missing.status_code != 503 or missing.json()["code"] != "primary_unavailable":
        drill.wrong.append(f"a document of Postgres answered {missing.status_code} while that was away")
    listed = client.get("/v1/documents")
    if not listed.json()["partial"] or listed.headers.get("x-docatlas-store") != "fallback":
        drill.wrong.append("a list did not say that it is partial")
    health = client.get("/health").json()
    if health["status"] != "degraded" or not health["fallback"]["since"]:
        drill.wrong.append(f"/health said {health['status']}, {health['fallback']}")


def _killed(server: Server, folder: Path, env: Mapping[str, str], kills: int, drill: Drill) -> Server:
    """The server after `kills` SIGKILLs, each a little later in the replay than the one before."""
    for number in range(kills):
        if not number:
            with connect(server) as client:
                wait_for_state(client, "half_open")
        time.sleep(0.15 + 0.2 * number)
        server.kill()
        drill.kills += 1
        server = start(folder / "data", env=env)
        server.wait_for("/livez", timeout_s=PATIENCE_S)
    return server


def _wait_until_moved(client: httpx.Client) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(client.get("/health").json()["fallback"]["waiting"].values()):
        if time.monotonic() > deadline:
            return  # the check tells what is left
        time.sleep(0.1)


_FACTS = """
    SELECT d.document_id::text, d.status, d.total_chunks, d.sha256,
        (SELECT count(*) FROM document_pages p WHERE (p.document_id, p.generation) = (d.document_id, d.generation)),
        (SELECT count(*) FROM document_embeddings e
            WHERE (e.document_id, e.generation) = (d.document_id, d.generation)),
        (SELECT count(e.embedding) FROM document_embeddings e
            WHERE (e.document_id, e.generation) = (d.document_id, d.generation))
    FROM documents_metadata d
    LEFT JOIN document_aliases a ON a.document_id = d.document_id
    WHERE d.document_id = %(id)s OR a.alias_id = %(id)s
"""


def _check(drill: Drill, client: httpx.Client, postgres: FaultyPostgres, data_dir: Path) -> None:
    names = ("document_id", "status", "total_chunks", "sha256", "pages", "chunks", "vectors")
    with psycopg.connect(postgres.admin_url) as connection:
        for sent in drill.sent:
            found = connection.execute(_FACTS, {"id": sent.document_id}).fetchall()
            if len(found) != 1:
                drill.wrong.append(f"{sent.name}: {len(found)} documents on Postgres")
                continue
            row = dict(zip(names, found[0], strict=True))
            drill.rows[sent.document_id] = row
            whole = row["status"] == "completed" and row["sha256"] == sent.sha256 and row["pages"] > 0
            if not whole or not row["total_chunks"] == row["chunks"] == row["vectors"] > 0:
                drill.wrong.append(f"{sent.name}: {row}")
        counted = connection.execute("SELECT count(*), count(DISTINCT sha256) FROM documents_metadata").fetchone()
        assert counted is not None
        drill.documents = int(counted[0])
        jobs = [str(job_id) for (job_id,) in connection.execute("SELECT job_id FROM jobs WHERE type = 'ingest'")]
        if sorted(jobs) != sorted(sent.job_id for sent in drill.sent):
            drill.wrong.append(f"Postgres holds {len(jobs)} jobs, and {len(drill.sent)} were given out")
        if counted[0] != counted[1] or counted[0] != len({sent.sha256 for sent in drill.sent}):
            drill.wrong.append(f"Postgres holds {counted[0]} documents of {counted[1]} contents")
    for sent in drill.sent:
        answer = client.post("/v1/search", json={"query": sent.word, "mode": "keyword", "k": 3})
        hits = answer.json()["data"]
        if not hits or {hit["document"]["filename"] for hit in hits} != {sent.name}:
            drill.wrong.append(f"{sent.name} is not found")
        original = client.get(f"/v1/documents/{sent.document_id}/file", follow_redirects=True)
        if hashlib.sha256(original.content).hexdigest() != sent.sha256:
            drill.wrong.append(f"{sent.name}: its file answers {original.status_code}")
    stored = sorted(path.name for path in (data_dir / "blobs").glob("??/??/*"))
    if stored != sorted(sent.sha256 for sent in drill.sent):
        drill.wrong.append(f"{len(stored)} files are stored of {len(drill.sent)} contents")
    local = sqlite3.connect(f"file:{data_dir / 'fallback' / 'docatlas.sqlite3'}?mode=ro", uri=True)
    try:
        for table in ("documents_metadata", "document_pages", "document_embeddings", "jobs", "similarity_searches"):
            drill.in_sqlite[table] = local.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        local.close()
    if any(drill.in_sqlite.values()):
        drill.wrong.append(f"SQLite still holds {drill.in_sqlite}")


def show(drill: Drill) -> None:
    """Prints the table of one drill."""
    kills = f", docatlas killed {drill.kills} times in the replay" if drill.kills else ""
    table = Table(title=f"Postgres {drill.fault}{kills}", title_justify="left")
    for name in ("uploaded", "accepted", "from SQLite", "503 first", "on Postgres", "completed", "chunks", "vectors"):
        table.add_column(name, justify="left" if name == "uploaded" else "right")
    for phase in PHASES:
        sent = [entry for entry in drill.sent if entry.phase == phase]
        rows = [drill.rows[entry.document_id] for entry in sent if entry.document_id in drill.rows]
        table.add_row(
            phase,
            str(len(sent)),
            str(sum(entry.from_fallback for entry in sent)),
            str(sum(entry.refusals for entry in sent)),
            str(len(rows)),
            str(sum(row["status"] == "completed" for row in rows)),
            str(sum(row["chunks"] for row in rows)),
            str(sum(row["vectors"] for row in rows)),
        )
    console.print(table)
    left = sum(drill.in_sqlite.values())
    console.print(
        f"answered from SQLite {drill.noticed_s:.1f} s after the fault; Postgres served {drill.closed_s:.1f} s after "
        f"the repair; at the end Postgres holds {drill.documents} documents, SQLite {left} rows"
    )
    for line in drill.wrong:
        console.print(f"[red]wrong:[/red] {line}")
    console.print()


def main(argv: Sequence[str] | None = None) -> int:
    """0 when nothing was lost, doubled or left behind."""
    parser = argparse.ArgumentParser(prog="python -m bench.fallback_drill", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=6, help="documents of each phase")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS)
    parser.add_argument("--kills", type=int, default=0, help="of the docatlas process while it moves what it took")
    given = parser.parse_args(argv)
    end_in_order()
    failed = False
    for fault in given.faults:
        folder = Path(tempfile.mkdtemp(prefix="docatlas-drill-"))
        try:
            drill = run_drill(fault, folder, files=given.files, kills=given.kills)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        show(drill)
        failed |= bool(drill.wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
