"""Prints the time of a whole vector search beside that of numpy over the same rows, in one run.

    python -m bench.vector_search [--rows 1000 10000 100000] [--runs 30] [--k 10]

`numpy` is a float32 matrix-vector product and argpartition over all the rows, held in one matrix. `store` is
`Store.search_vectors` as the services call it: transaction, change counter, filter, search, and the ids of the hits.
The two take turns. Recall is the share, found by the store, of numpy's best k of the rows that the filter keeps (ties
at float32's precision count as found).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from database import contents, documents, generations
from database.ids import new_id
from database.records import (
    LOCAL_ACTOR,
    ChunkRecord,
    Condition,
    DocumentFilter,
    GenerationSummary,
)
from database.store import Store, open_store

SPACE = "bench"
CHUNKS_PER_DOCUMENT = 20
SHARES = (1.0, 0.1, 0.01, 0.001)
TIE = 1e-6


def fill(store: Store, vectors: NDArray[np.float32]) -> tuple[list[str], NDArray[np.int64]]:
    """Stores the vectors as chunks of documents; returns the chunk ids in order, and each row's `metadata.place`.

    `metadata.place` numbers the documents at random, so that a filter's documents are scattered over the matrix.
    """
    places = np.random.default_rng(1).permutation((len(vectors) + CHUNKS_PER_DOCUMENT - 1) // CHUNKS_PER_DOCUMENT)
    ids: list[str] = []
    for number, start in enumerate(range(0, len(vectors), CHUNKS_PER_DOCUMENT)):
        place = int(places[number])
        block = vectors[start : start + CHUNKS_PER_DOCUMENT]
        with store.begin(LOCAL_ACTOR, write=True) as tx:
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
                for index, vector in enumerate(block)
            ]
            contents.write_chunks(tx, document.document_id, 1, chunks)
            summary = GenerationSummary("", "", "", 1, len(chunks), 1, 0, "completed", [])
            generations.publish(tx, document.document_id, 1, summary)
            ids.extend(chunk.chunk_id for chunk in chunks)
    return ids, np.repeat(places, CHUNKS_PER_DOCUMENT)[: len(vectors)]


def numpy_search(matrix: NDArray[np.float32], query: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    scores = matrix @ query
    best = np.argpartition(scores, len(scores) - k)[len(scores) - k :]
    order: NDArray[np.intp] = best[np.argsort(-scores[best])]
    return order


def measure(rows: int, runs: int, k: int) -> None:
    """Prints the table's lines for one size."""
    generator = np.random.default_rng(rows)
    matrix = generator.standard_normal((rows, 768)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    queries = matrix[generator.integers(0, rows, runs)] + 0.03 * generator.standard_normal((runs, 768)).astype("f4")
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "data")
        store.upgrade()
        ids, places = fill(store, matrix)
        row_of = {chunk_id: number for number, chunk_id in enumerate(ids)}
        total = (rows + CHUNKS_PER_DOCUMENT - 1) // CHUNKS_PER_DOCUMENT
        start = time.perf_counter()
        store.search_vectors(LOCAL_ACTOR, queries[0], space=SPACE, kind="text", k=k, only=DocumentFilter())
        load = (time.perf_counter() - start) * 1000
        print(f"{rows:>8} rows loaded from disk and searched in {load:,.0f} ms")
        for share in SHARES:
            last = max(1, round(total * share)) - 1
            only = DocumentFilter(conditions=[Condition("metadata.place", "$lte", last)] if share < 1 else [])
            kept = np.flatnonzero(places <= last)
            baseline, ours, found, wanted = [], [], 0, 0
            for query in queries:
                start = time.perf_counter()
                numpy_search(matrix, query, min(k, rows))
                between = time.perf_counter()
                hits = store.search_vectors(LOCAL_ACTOR, query, space=SPACE, kind="text", k=k, only=only).hits
                end = time.perf_counter()
                baseline.append((between - start) * 1000)
                ours.append((end - between) * 1000)
                scores = dict(zip(kept.tolist(), (matrix[kept] @ query).tolist(), strict=True))
                best = sorted(scores.values(), reverse=True)[:k]
                wanted += len(best)
                found += sum(scores.get(row_of[hit.id], -2.0) >= best[-1] - TIE for hit in hits)
            plain, store_ms = statistics.median(baseline), statistics.median(ours)
            print(
                f"{rows:>8} {len(kept) / rows:>8.1%} {plain:>10.2f} {store_ms:>10.2f} "
                f"{store_ms / plain:>8.2f} {found / wanted:>8.3f}"
            )
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--k", type=int, default=10)
    given = parser.parse_args()
    print(f"numpy {np.__version__}, {os.cpu_count()} cores, k={given.k}, medians of {given.runs} runs, ms")
    print(f"{'rows':>8} {'kept':>8} {'numpy':>10} {'store':>10} {'ratio':>8} {'recall':>8}")
    for rows in given.rows:
        measure(rows, given.runs, given.k)


if __name__ == "__main__":
    main()
