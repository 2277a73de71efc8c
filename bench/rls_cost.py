"""Prints what row level security costs a search on Postgres, at 100,000 chunks of several owners.

    python -m bench.rls_cost [--rows 100000] [--runs 100] [--plans]

Both sides run the same functions with the same owner in every WHERE, on one server, taking turns: `with` as the owner
(role `authenticated`, the policies apply), `without` as a worker of the same owner (`service_role`, which passes them).
Times are of a whole call (transaction, role, claims, statements, hits) in ms; `cpu` is that of this process and of the
server's, for each call. The owner who asks has half of the chunks. The chunks of a keyword search are found and ranked
by a `security definer` function on both sides (docs/isolation.md says why), so that only the documents, which are
joined to what it returns, are under a policy or not.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import numpy as np
import psutil
import psycopg
from numpy.typing import NDArray
from pgvector.psycopg import register_vector
from psycopg.types.json import Jsonb
from sqlalchemy import event

from database.documents import documents
from database.ids import new_id
from database.jobs import jobs
from database.postgres.embedded import EmbeddedPostgres
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import Actor, DocumentFilter, worker_for

SPACE = "bench@1"
CHUNKS_PER_DOCUMENT = 50
OWNERS = 6
WORDS = 20_000
WORDS_PER_CHUNK = 60
TARGET = 0.15
EVERYTHING = DocumentFilter()

_DOCUMENT_COLUMNS = (
    "document_id, user_id, filename, file_type, media_type, file_size, sha256, title, author, language, page_count, "
    "total_chunks, total_chars, image_count, status, generation, last_generation, created_at, updated_at, metadata, "
    "options, warnings"
)
_CHUNK_COLUMNS = (
    "chunk_id, document_id, user_id, generation, chunk_index, first_page, last_page, content_hash, space, created_at, "
    "chunk_text, prefix, spans, metadata, embedding"
)
_CHUNK_TYPES = "uuid uuid uuid int4 int4 int4 int4 text text timestamptz text text jsonb jsonb vector".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Side:
    """The times of one side, ms."""

    wall: Sequence[float]
    cpu: float

    def at(self, share: float) -> float:
        return float(np.quantile(np.asarray(self.wall), share))


def fill(admin_url: str, rows: int, generator: np.random.Generator) -> list[str]:
    """Stores `rows` chunks of OWNERS owners, half of them the first one's; the owners' ids."""
    owners = [new_id() for _ in range(OWNERS)]
    share = generator.permutation(np.repeat(np.arange(OWNERS), _parts(rows // CHUNKS_PER_DOCUMENT)))
    vocabulary = np.asarray([f"w{hashlib.sha256(str(n).encode()).hexdigest()[:7]}" for n in range(WORDS)])
    moment, spans = datetime.now(UTC), Jsonb([{"page": 1, "char_start": 0, "char_end": 9, "boxes": []}])
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET search_path = public, extensions")
        register_vector(connection)
        for owner in owners:
            connection.execute("INSERT INTO users (user_id, display_name) VALUES (%s, 'bench')", [owner])
        held = [(new_id(), owners[int(number)]) for number in share]
        with connection.cursor().copy(f"COPY documents_metadata ({_DOCUMENT_COLUMNS}) FROM STDIN") as copy:
            for document_id, owner in held:
                digest, counts = hashlib.sha256(document_id.encode()).hexdigest(), (1, CHUNKS_PER_DOCUMENT, 1, 0)
                about = (document_id, owner, "a.txt", "text", "text/plain", 1, digest, "", "", "", *counts)
                copy.write_row((*about, "completed", 1, 1, moment, moment, Jsonb({}), Jsonb({}), Jsonb([])))
        connection.execute("DROP INDEX document_embeddings_hnsw")
        statement = f"COPY document_embeddings ({_CHUNK_COLUMNS}) FROM STDIN (FORMAT binary)"
        with connection.cursor().copy(statement) as copy:
            copy.set_types(_CHUNK_TYPES)
            for document_id, owner in held:
                vectors = _units(generator, CHUNKS_PER_DOCUMENT)
                # Zipf's law, as the words of a language.
                picked = generator.zipf(1.2, (CHUNKS_PER_DOCUMENT, WORDS_PER_CHUNK)) % WORDS
                for index in range(CHUNKS_PER_DOCUMENT):
                    where = (UUID(new_id()), UUID(document_id), UUID(owner), 1, index, 1, 1, "0" * 64, SPACE, moment)
                    words = " ".join(vocabulary[picked[index]])
                    copy.write_row((*where, words, "", spans, Jsonb({}), vectors[index]))
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute(
            "CREATE INDEX document_embeddings_hnsw ON document_embeddings "
            "USING hnsw ((embedding::halfvec(768)) halfvec_cosine_ops)"
        )
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) documents_metadata, document_embeddings")
    return owners


def measure(calls: Mapping[str, Callable[[Actor, int], object]], owner: str, runs: int, server: psutil.Process) -> None:
    """Prints a line for each call."""
    asks = (Actor(owner), worker_for(owner))
    print(
        f"{'call':<26}{'p50 with':>10}{'without':>10}{'cost':>8}{'p95 with':>10}{'without':>10}{'cpu with':>10}", end=""
    )
    print(f"{'without':>10}")
    for name, call in calls.items():
        walls: tuple[list[float], list[float]] = ([], [])
        cpus = [0.0, 0.0]
        for warm in range(3):
            for actor in asks:
                call(actor, warm)
        for run in range(runs):
            for side in (0, 1) if run % 2 else (1, 0):
                cpu, start = _cpu_ms(server), time.perf_counter()
                call(asks[side], run)
                walls[side].append((time.perf_counter() - start) * 1000)
                cpus[side] += _cpu_ms(server) - cpu
        secure, plain = (Side(walls[side], cpus[side] / runs) for side in (0, 1))
        # Of the pairs: both met the same load of the machine.
        cost = statistics.median(a / b for a, b in zip(*walls, strict=True)) - 1
        print(
            f"{name:<26}{secure.at(0.5):>10.2f}{plain.at(0.5):>10.2f}{secure.at(0.5) / plain.at(0.5) - 1:>+8.1%}"
            f"{secure.at(0.95):>10.2f}{plain.at(0.95):>10.2f}{secure.cpu:>10.2f}{plain.cpu:>10.2f}"
            f"   pairs {cost:+.1%} {'ok' if cost <= TARGET else f'above {TARGET:.0%}'}",
            flush=True,
        )


def calls_of(store: PostgresStore, generator: np.random.Generator, runs: int) -> Mapping[str, Callable[..., object]]:
    """What is measured, each with another query every time and the same ones on both sides."""
    vectors = _units(generator, runs)
    rare = [f"w{hashlib.sha256(str(n).encode()).hexdigest()[:7]}" for n in generator.integers(200, 2000, runs * 2)]
    common = [f"w{hashlib.sha256(str(n).encode()).hexdigest()[:7]}" for n in generator.integers(3, 20, runs)]

    def semantic(actor: Actor, run: int, *, exact: bool) -> object:
        return store.search_vectors(
            actor, vectors[run], space=SPACE, kind="text", k=10, only=EVERYTHING, exact=exact
        ).hits

    def keyword(actor: Actor, words: Sequence[str]) -> object:
        return store.search_keywords(actor, " ".join(words), k=10, only=EVERYTHING)

    def listed(actor: Actor, run: int) -> object:
        with store.begin(actor) as tx:
            return documents.list_page(tx, only=EVERYTHING, limit=50, cursor=None)

    def job_list(actor: Actor, run: int) -> object:
        with store.begin(actor) as tx:
            return jobs.list_page(tx, limit=50, cursor=None)

    return {
        "semantic, exact": lambda actor, run: semantic(actor, run, exact=True),
        "semantic, HNSW": lambda actor, run: semantic(actor, run, exact=False),
        "keyword, two rare words": lambda actor, run: keyword(actor, rare[2 * run : 2 * run + 2]),
        "keyword, a common word": lambda actor, run: keyword(actor, common[run : run + 1]),
        "list documents": listed,
        "list jobs (none)": job_list,
    }


def print_plans(store: PostgresStore, calls: Mapping[str, Callable[..., object]], owner: str) -> None:
    """Prints how the server answers each call as the owner and as a worker."""
    for name, call in calls.items():
        for actor in (Actor(owner), worker_for(owner)):
            with store.begin(actor) as tx:
                engine = tx.connection.engine.engine
            shown: list[str] = []

            def explain(connection: Any, cursor: Any, statement: str, given: Any, *rest: Any) -> None:
                if statement.lstrip().startswith(("SELECT", "WITH")) and "set_config" not in statement:
                    with cursor.connection.cursor() as other:
                        other.execute("EXPLAIN (COSTS OFF) " + statement, given)
                        plan = "\n".join(str(row[0]) for row in other.fetchall())
                        shown.append(re.sub(r"\[-?\d[^]]{99,}\]", "[...]", plan))  # noqa: B023

            event.listen(engine, "before_cursor_execute", explain)
            try:
                call(actor, 0)
            finally:
                event.remove(engine, "before_cursor_execute", explain)
            print(f"--- {name}, as {actor.role}:\n" + "\n".join(shown))


def _parts(total: int) -> list[int]:
    others = [total // 2 // (OWNERS - 1)] * (OWNERS - 1)
    return [total - sum(others), *others]


def _units(generator: np.random.Generator, rows: int) -> NDArray[np.float32]:
    vectors = generator.standard_normal((rows, 768)).astype(np.float32)
    units: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units


def _cpu_ms(server: psutil.Process) -> float:
    """CPU of this process and of the server's backends since they began, ms."""
    total = time.process_time()
    for process in server.children(recursive=True):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
    return total * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--plans", action="store_true", help="print how the server answers, too")
    given = parser.parse_args()
    generator = np.random.default_rng(1)
    with TemporaryDirectory(prefix="docatlas-rls-") as folder, EmbeddedPostgres(Path(folder), sync=False) as embedded:
        admin_url, server_url = embedded.admin_url, embedded.server_url
        store = PostgresStore(PostgresOptions(server_url), admin_url=admin_url)
        store.upgrade()
        began = time.perf_counter()
        owners = fill(admin_url, given.rows, generator)
        print(
            f"{given.rows:,} chunks of {OWNERS} owners, {given.rows // 2:,} of who asks; loaded and indexed in "
            f"{time.perf_counter() - began:.0f} s; {os.cpu_count()} cores, medians of {given.runs} runs, ms"
        )
        calls = calls_of(store, generator, max(given.runs, 3))
        if given.plans:
            print_plans(store, calls, owners[0])
        assert embedded.pid is not None
        measure(calls, owners[0], given.runs, psutil.Process(embedded.pid))
        store.close()


if __name__ == "__main__":
    main()
