"""Prints recall and time of vector search, with filters and without, against the exact answer, and which way was taken.

    python -m bench.vector_search [--store sqlite|postgresql] [--rows 1000 10000 100000] [--runs 30] [--k 10]
                                  [--vectors mixture random] [--shares 1 0.1 0.01 0.001] [--ivfflat]

`numpy` is a float32 matrix-vector product and argpartition over all the rows, held in one matrix. `store` is
`Store.search_vectors` as the services call it: transaction, filter, search, and the ids of the hits. `exact` is the
same with `exact=True`; `index` lets the planner's rule take the index however few rows there are. They take turns.
Recall is the share, found by `store`, of numpy's best k of the rows that the filter keeps (ties at float32's precision
count as found); `filled` the least share of those k that a search returned. `plan` is `hnsw`, `exact` or both.

`mixture` draws the vectors around a hundredth as many centres, which lie in 128 of the 768 dimensions, spread over 32
directions that the centres share, with a little noise in all: neighbours have cosines of 0.6 to 0.9, as passages of
one subject have. `random` is uniform on the sphere, where all cosines are alike: no text is so, and it is the worst
case of a graph. Queries lie near stored vectors. `--ivfflat` measures that index in the place of HNSW too,
over the most rows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

from database.documents import contents, documents, generations
from database.ids import new_id
from database.opening import open_store
from database.postgres.embedded import EmbeddedPostgres
from database.postgres.engine import PostgresOptions
from database.postgres.migrations import upgrade
from database.postgres.store import PostgresStore
from database.records import (
    LOCAL_ACTOR,
    LOCAL_USER_ID,
    ChunkRecord,
    Condition,
    DocumentFilter,
    GenerationSummary,
    worker_for,
)
from database.store import Store

Matrix = NDArray[np.float32]

SPACE = "bench"
CHUNKS_PER_DOCUMENT = 10
DOCUMENTS_AT_ONCE = 50
TIE = 1e-6
PAUSE_S = 0.05
"""After numpy, whose threads spin for a while and would be in the way of what is measured next."""
HNSW = (
    "CREATE INDEX document_embeddings_hnsw ON public.document_embeddings "
    "USING hnsw ((embedding::extensions.halfvec(768)) extensions.halfvec_cosine_ops)"
)
IVFFLAT = HNSW.replace("_hnsw ON", "_ivfflat ON").replace("USING hnsw", "USING ivfflat") + " WITH (lists = {lists})"


def mixture(rows: int, generator: np.random.Generator) -> Matrix:
    """Unit vectors around centres; see the module's text."""
    centres = generator.standard_normal((max(10, rows // 100), 128)) @ generator.standard_normal((128, 768)) / 128**0.5
    matrix = centres[generator.integers(0, len(centres), rows)].astype(np.float32)
    directions = generator.standard_normal((32, 768)).astype(np.float32) / np.float32(32**0.5)
    matrix += 0.7 * generator.standard_normal((rows, 32)).astype(np.float32) @ directions
    matrix += 0.1 * generator.standard_normal((rows, 768)).astype(np.float32)
    return _unit(matrix)


def random(rows: int, generator: np.random.Generator) -> Matrix:
    return _unit(generator.standard_normal((rows, 768)).astype(np.float32))


def _unit(matrix: Matrix) -> Matrix:
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix


KINDS = {"mixture": mixture, "random": random}


def fill(store: Store, vectors: Matrix) -> tuple[list[str], NDArray[np.int64]]:
    """Stores the vectors as chunks of documents; returns the chunk ids in order, and each row's `metadata.place`.

    `metadata.place` numbers the documents at random, so that a filter's documents are scattered over the matrix.
    """
    count = (len(vectors) + CHUNKS_PER_DOCUMENT - 1) // CHUNKS_PER_DOCUMENT
    places = np.random.default_rng(1).permutation(count)
    ids: list[str] = []
    for first in range(0, count, DOCUMENTS_AT_ONCE):
        with store.begin(worker_for(LOCAL_USER_ID), write=True) as tx:
            for number in range(first, min(count, first + DOCUMENTS_AT_ONCE)):
                place, start = int(places[number]), number * CHUNKS_PER_DOCUMENT
                document = documents.submit_upload(
                    tx,
                    filename=f"{place}.txt",
                    file_type="text",
                    media_type="text/plain",
                    file_size=1,
                    sha256=f"{place:064x}",
                    options={},
                    metadata={"place": place},
                ).document
                chunks = [
                    ChunkRecord(
                        chunk_id=new_id(),
                        document_id=document.document_id,
                        generation=1,
                        chunk_index=index,
                        chunk_text=f"passage {start + index}",
                        prefix="",
                        spans=[{"page": 1, "char_start": 0, "char_end": 1, "boxes": []}],
                        content_hash=f"{start + index}",
                        space=SPACE,
                        embedding=vector,
                    )
                    for index, vector in enumerate(vectors[start : start + CHUNKS_PER_DOCUMENT])
                ]
                contents.write_chunks(tx, document.document_id, 1, chunks)
                summary = GenerationSummary("", "", "", 1, len(chunks), 1, 0, "completed", [])
                generations.publish(tx, document.document_id, 1, summary)
                ids.extend(chunk.chunk_id for chunk in chunks)
    return ids, np.repeat(places, CHUNKS_PER_DOCUMENT)[: len(vectors)]


def numpy_search(matrix: Matrix, query: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    scores = matrix @ query
    best = np.argpartition(scores, len(scores) - k)[len(scores) - k :]
    order: NDArray[np.intp] = best[np.argsort(-scores[best])]
    return order


class Measured:
    """One size: the rows, what finds them, and the queries."""

    def __init__(self, matrix: Matrix, runs: int, generator: np.random.Generator) -> None:
        self.matrix = matrix
        near = matrix[generator.integers(0, len(matrix), runs)]
        noise = generator.standard_normal((runs, 768)).astype(np.float32)
        self.queries = _unit(near + np.float32(0.02) * noise)
        self.ids: list[str] = []
        self.places: NDArray[np.int64] = np.zeros(0, np.int64)

    def fill(self, store: Store) -> None:
        self.ids, self.places = fill(store, self.matrix)

    def print_line(self, store: Store, by_index: Store | None, share: float, k: int, name: str = "hnsw") -> None:
        """Prints one line of the table; `by_index` is the same store that takes the index for few rows too."""
        rows = len(self.matrix)
        last = max(1, round(rows / CHUNKS_PER_DOCUMENT * share)) - 1
        only = DocumentFilter(conditions=[Condition("metadata.place", "$lte", last)] if share < 1 else [])
        kept = np.flatnonzero(self.places <= last)
        row_of = {chunk_id: number for number, chunk_id in enumerate(self.ids)}
        times: dict[str, list[float]] = {"numpy": [], "store": [], "exact": [], "index": []}
        found, wanted, filled, plans = 0, 0, 1.0, set[str]()
        for query in self.queries:
            start = time.perf_counter()
            numpy_search(self.matrix, query, min(k, rows))
            times["numpy"].append(time.perf_counter() - start)
            time.sleep(PAUSE_S)
            start = time.perf_counter()
            matches = store.search_vectors(LOCAL_ACTOR, query, space=SPACE, kind="text", k=k, only=only)
            times["store"].append(time.perf_counter() - start)
            start = time.perf_counter()
            store.search_vectors(LOCAL_ACTOR, query, space=SPACE, kind="text", k=k, only=only, exact=True)
            times["exact"].append(time.perf_counter() - start)
            if by_index is not None:
                start = time.perf_counter()
                by_index.search_vectors(LOCAL_ACTOR, query, space=SPACE, kind="text", k=k, only=only)
                times["index"].append(time.perf_counter() - start)
            plans.add("exact" if matches.is_exact else name)
            scores = dict(zip(kept.tolist(), (self.matrix[kept] @ query).tolist(), strict=True))
            best = sorted(scores.values(), reverse=True)[:k]
            wanted += len(best)
            filled = min(filled, len(matches.hits) / len(best))
            found += sum(scores.get(row_of[hit.id], -2.0) >= best[-1] - TIE for hit in matches.hits)
        shown = [f"{1000 * statistics.median(taken):>9.2f}" if taken else f"{'-':>9}" for taken in times.values()]
        print(
            f"{rows:>8} {len(kept) / rows:>8.2%} {len(kept):>7} {' '.join(shown)} {found / wanted:>7.3f} "
            f"{filled:>7.2f} {'+'.join(sorted(plans))}",
            flush=True,
        )


def measure_sqlite(measured: Measured, shares: list[float], k: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "data")
        store.upgrade()
        measured.fill(store)
        start = time.perf_counter()
        store.search_vectors(LOCAL_ACTOR, measured.queries[0], space=SPACE, kind="text", k=k, only=DocumentFilter())
        load = (time.perf_counter() - start) * 1000
        print(f"{len(measured.matrix):>8} rows loaded from disk and searched in {load:,.0f} ms", flush=True)
        for share in shares:
            measured.print_line(store, None, share, k)
        store.close()


@contextmanager
def database(server: EmbeddedPostgres, name: str) -> Iterator[tuple[psycopg.Connection, str]]:
    """A database of its own with every migration, as its owner's connection and the server's URL."""
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        urls = [server.url(role, name) for role in ("postgres", "docatlas_server")]
        upgrade(urls[0], server_url=urls[1])
        with psycopg.connect(urls[0], autocommit=True) as connection:
            yield connection, urls[1]
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def measure_postgres(
    server: EmbeddedPostgres, measured: Measured, shares: list[float], k: int, exact_rows: int, *, ivfflat: bool
) -> None:
    rows = len(measured.matrix)
    with database(server, f"rows_{rows}_{time.monotonic_ns()}") as (admin, url):
        store = PostgresStore(PostgresOptions(url, statement_timeout_s=300), exact_rows=exact_rows)
        by_index = PostgresStore(PostgresOptions(url, statement_timeout_s=300), exact_rows=0)
        admin.execute("DROP INDEX public.document_embeddings_hnsw")
        measured.fill(store)
        admin.execute("VACUUM ANALYZE")
        print(f"{rows:>8} rows: {_build(admin, HNSW)}", flush=True)
        for share in shares:
            measured.print_line(store, by_index, share, k)
        if ivfflat:
            lists = max(10, rows // 1000)
            admin.execute("DROP INDEX public.document_embeddings_hnsw")
            print(f"{rows:>8} rows: {_build(admin, IVFFLAT.format(lists=lists))}", flush=True)
            for probes in (round(lists**0.5), lists // 3):
                print(f"{rows:>8} rows: ivfflat, {lists} lists, {probes} probes", flush=True)
                name = admin.info.dbname
                admin.execute(f"ALTER DATABASE {name} SET ivfflat.probes = {probes}".encode())
                admin.execute(f"ALTER DATABASE {name} SET ivfflat.iterative_scan = relaxed_order".encode())
                again = PostgresStore(PostgresOptions(url, statement_timeout_s=300), exact_rows=exact_rows)
                for share in shares:
                    measured.print_line(again, None, share, k, "ivfflat")
                again.close()
        store.close()
        by_index.close()


def _build(admin: psycopg.Connection, statement: str) -> str:
    start = time.perf_counter()
    admin.execute(statement.encode())
    took = time.perf_counter() - start
    name = statement.split()[2]
    size = admin.execute("SELECT pg_size_pretty(pg_relation_size(%s::regclass))", (f"public.{name}",)).fetchone()
    return f"{name} built in {took:.1f} s, {size[0] if size else '?'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--vectors", nargs="+", choices=sorted(KINDS), default=["mixture"])
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.1, 0.01, 0.001])
    parser.add_argument("--exact-rows", type=int, default=8_000, help="the setting database_exact_rows")
    parser.add_argument("--ivfflat", action="store_true")
    given = parser.parse_args()
    print(f"numpy {np.__version__}, {os.cpu_count()} cores, k={given.k}, medians of {given.runs} runs, ms")
    for kind in given.vectors:
        print(f"{given.store}, {kind} vectors")
        columns = " ".join(f"{name:>9}" for name in ("numpy", "store", "exact", "index"))
        print(f"{'rows':>8} {'kept':>8} {'matches':>7} {columns} {'recall':>7} {'filled':>7} plan")
        with tempfile.TemporaryDirectory(prefix="docatlas-bench-") as folder:
            if given.store == "postgresql":
                with EmbeddedPostgres(Path(folder), sync=False, settings={"fsync": "off"}) as server:
                    for rows in given.rows:
                        generator = np.random.default_rng(rows)
                        measured = Measured(KINDS[kind](rows, generator), given.runs, generator)
                        measure_postgres(
                            server,
                            measured,
                            given.shares,
                            given.k,
                            given.exact_rows,
                            ivfflat=given.ivfflat and rows == max(given.rows),
                        )
            else:
                for rows in given.rows:
                    generator = np.random.default_rng(rows)
                    measure_sqlite(Measured(KINDS[kind](rows, generator), given.runs, generator), given.shares, given.k)


if __name__ == "__main__":
    main()
