"""Prints how many rows of chunks with vectors a second COPY and single inserts store, with the HNSW index and without.

    python -m bench.bulk_writes [--copied 100000] [--single 5000] [--copied-indexed N]

Every row has a passage of 130 words, so that its full-text index costs what it costs; the vectors are the mixture of
bench.vector_search. `copy` is `database.postgres.copy.copy_rows` in one transaction, as the role of workers; `single`
is an INSERT a row through SQLAlchemy, a thousand in a transaction. The rows are appended to a new database each time.
Then the index is built over what was copied, with the memory and the workers that are printed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import insert

from bench.vector_search import HNSW, Matrix, database, mixture
from database import schema
from database.documents import documents
from database.ids import new_id, now
from database.postgres.copy import copy_rows
from database.postgres.embedded import EmbeddedPostgres
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import LOCAL_USER_ID, worker_for

IN_A_TRANSACTION = 1000
WORDS = 130


def rows_of(document_id: str, matrix: Matrix) -> Iterator[dict[str, Any]]:
    """One row a vector, of one document."""
    generator, moment = np.random.default_rng(2), now()
    words = np.array([f"word{number}" for number in range(30_000)])
    for index, vector in enumerate(matrix):
        chosen = words[np.minimum(generator.zipf(1.3, WORDS), len(words)) - 1]
        yield {
            "chunk_id": new_id(),
            "document_id": document_id,
            "user_id": LOCAL_USER_ID,
            "generation": 1,
            "chunk_index": index,
            "first_page": 1,
            "last_page": 1,
            "content_hash": str(index),
            "space": "bench",
            "created_at": moment,
            "chunk_text": " ".join(chosen),
            "prefix": "",
            "spans": [{"page": 1, "char_start": 0, "char_end": 1, "boxes": []}],
            "metadata": {},
            "embedding": vector,
        }


def measure(server: EmbeddedPostgres, matrix: Matrix, *, way: str, indexed: bool) -> None:
    """Prints one line of the table."""
    with database(server, f"bulk_{time.monotonic_ns()}") as (admin, url):
        store = PostgresStore(PostgresOptions(url, statement_timeout_s=7200))
        worker = worker_for(LOCAL_USER_ID)
        if not indexed:
            admin.execute("DROP INDEX public.document_embeddings_hnsw")
        with store.begin(worker, write=True) as tx:
            document_id = documents.submit_upload(
                tx,
                filename="bench.txt",
                file_type="text",
                media_type="text/plain",
                file_size=1,
                sha256="0" * 64,
                options={},
                metadata={},
            ).document.document_id
        rows = list(rows_of(document_id, matrix))
        start = time.perf_counter()
        if way == "copy":
            with store.begin(worker, write=True) as tx:
                copy_rows(tx.connection, schema.chunks, rows)
        else:
            for first in range(0, len(rows), IN_A_TRANSACTION):
                with store.begin(worker, write=True) as tx:
                    for row in rows[first : first + IN_A_TRANSACTION]:
                        tx.connection.execute(insert(schema.chunks).values(row))
        took = time.perf_counter() - start
        print(
            f"{way:>8} {'yes' if indexed else 'no':>5} {len(rows):>8} {took:>9.1f} {len(rows) / took:>9.0f}", flush=True
        )
        store.close()
        if way == "copy" and not indexed:
            _build(admin, len(rows))


def _build(admin: psycopg.Connection, rows: int) -> None:
    for workers, memory in ((0, "512MB"), (2, "512MB"), (2, "64MB")):
        admin.execute("DROP INDEX IF EXISTS public.document_embeddings_hnsw")
        admin.execute(f"SET max_parallel_maintenance_workers = {workers}".encode())
        admin.execute(f"SET maintenance_work_mem = '{memory}'".encode())
        start = time.perf_counter()
        admin.execute(HNSW.encode())
        took = time.perf_counter() - start
        print(
            f"{'':>14} index over {rows} rows built in {took:.1f} s ({rows / took:.0f} rows/s), {workers} parallel "
            f"workers, maintenance_work_mem {memory}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--copied", type=int, default=100_000)
    parser.add_argument("--single", type=int, default=5_000)
    parser.add_argument("--copied-indexed", type=int, help="rows copied with the index; default: as --copied")
    given = parser.parse_args()
    indexed = given.copied if given.copied_indexed is None else given.copied_indexed
    matrix = mixture(max(given.copied, given.single, indexed), np.random.default_rng(1))
    print(f"{os.cpu_count()} cores, fsync off")
    print(f"{'way':>8} {'hnsw':>5} {'rows':>8} {'seconds':>9} {'rows/s':>9}")
    with (
        tempfile.TemporaryDirectory(prefix="docatlas-bench-") as folder,
        EmbeddedPostgres(Path(folder), sync=False, settings={"fsync": "off"}) as server,
    ):
        measure(server, matrix[: given.copied], way="copy", indexed=False)
        measure(server, matrix[: given.single], way="single", indexed=False)
        measure(server, matrix[:indexed], way="copy", indexed=True)
        measure(server, matrix[: given.single], way="single", indexed=True)


if __name__ == "__main__":
    main()
