"""Search: exact against numpy, within filters, safe for any text, and never behind what another process wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database.documents import contents, documents, generations
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, Condition, DocumentFilter
from database.store import Store
from tests.support.databases import Databases
from tests.support.store_cases import (
    EVERYTHING,
    SPACE,
    add_document,
    chunk,
    prepare,
    submit,
    unit,
    write_generation,
)

pytestmark = pytest.mark.store_contract

ROOT = Path(__file__).resolve().parents[2]
OTHER_PROCESS = """
import sys
from pathlib import Path
from database.documents import documents
from database.records import LOCAL_ACTOR
from services.settings import Settings
from services.stores import open_configured_store
from tests.support.store_cases import add_document, unit
store = open_configured_store(Settings(data_dir=Path(sys.argv[1]))).store
for line in sys.stdin:
    verb, name = line.split()
    if verb == "add":
        print(add_document(store, name, [unit(int(name))])[0], flush=True)
    else:
        with store.begin(LOCAL_ACTOR, write=True) as tx:
            documents.delete(tx, name)
        print("gone", flush=True)
store.close()
"""


def nearest(store: Store, query: Any, *, k: int = 10, only: DocumentFilter = EVERYTHING) -> list[str]:
    hits = store.search_vectors(LOCAL_ACTOR, query, space=SPACE, kind="text", k=k, only=only).hits
    return [hit.id for hit in hits]


def where(field: str, operator: Any, value: Any) -> DocumentFilter:
    return DocumentFilter(conditions=[Condition(field, operator, value)])


def test_the_nearest_come_first_with_their_cosine(store: Store) -> None:
    vectors = [unit(n) for n in range(20)]
    _, ids = add_document(store, "a.txt", vectors)
    query = vectors[3] + 0.2 * vectors[7]
    hits = store.search_vectors(LOCAL_ACTOR, query, space=SPACE, kind="text", k=5, only=EVERYTHING).hits
    scores = np.stack(vectors) @ (query / np.linalg.norm(query))
    expected = np.argsort(-scores)[:5]
    assert [hit.id for hit in hits] == [ids[n] for n in expected]
    assert [hit.score for hit in hits] == pytest.approx(scores[expected].tolist(), abs=1e-6)


def test_equal_vectors_come_in_the_order_in_which_they_were_stored(store: Store) -> None:
    _, first = add_document(store, "a.txt", [unit(1)] * 40)
    _, second = add_document(store, "b.txt", [unit(1)] * 40)
    assert nearest(store, unit(1), k=50) == [*first, *second[:10]]


def test_spaces_are_never_mixed(store: Store) -> None:
    document_id = submit(store).document.document_id
    records = [chunk(0, "a", vector=unit(1)), chunk(1, "b", vector=unit(1), space="another"), chunk(2, "c")]
    write_generation(store, document_id, 1, records)
    assert nearest(store, unit(1)) == [records[0].chunk_id]


@pytest.mark.parametrize("query", [np.zeros(768, "f4"), np.ones(3, "f4"), np.full(768, np.nan, "f4")])
def test_a_query_that_is_no_direction_is_refused(store: Store, query: Any) -> None:
    with pytest.raises(ValueError, match="768"):
        nearest(store, query)


def test_another_process_is_seen_by_the_next_search(store: Store, databases: Databases, tmp_path: Path) -> None:
    _, mine = add_document(store, "1", [unit(1)])
    assert nearest(store, unit(1)) == mine
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **databases.environment(tmp_path / "data")},
    )
    assert other.stdin is not None
    assert other.stdout is not None

    def tell(line: str) -> str:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(line + "\n")
        other.stdin.flush()
        return other.stdout.readline().strip()

    document_id = tell("add 2")
    found = store.search_vectors(LOCAL_ACTOR, unit(2), space=SPACE, kind="text", k=1, only=EVERYTHING).hits
    assert [hit.document_id for hit in found] == [document_id]
    assert len(store.search_keywords(LOCAL_ACTOR, "passage", k=5, only=EVERYTHING)) == 2
    assert tell(f"delete {document_id}") == "gone"
    assert nearest(store, unit(2)) == mine
    assert len(store.search_keywords(LOCAL_ACTOR, "passage", k=5, only=EVERYTHING)) == 1
    other.communicate(timeout=60)
    assert other.returncode == 0


def test_searches_beside_writes_see_whole_documents_only(store: Store) -> None:
    _, steady = add_document(store, "steady", [unit(n) for n in range(30)])
    stop = threading.Event()
    wrong: list[str] = []

    def search() -> None:
        while not stop.is_set():
            found = nearest(store, unit(5), k=1000)
            if found[0] != steady[5] or not set(steady) <= set(found) or (len(found) - 30) % 7:
                wrong.append(f"{len(found)} hits")

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(25):
            document_id, _ = add_document(store, f"n{number}", [unit(100 + n) for n in range(7)])
            if number % 2:
                with store.begin(LOCAL_ACTOR, write=True) as tx:
                    documents.delete(tx, document_id)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_vector_search_agrees_with_numpy(module_databases: Databases, data: st.DataObject) -> None:
    # An example that is ended while it draws leaves by an exception: the store is closed then, too.
    with tempfile.TemporaryDirectory() as folder, closing(module_databases.open(Path(folder))) as store:
        prepare(store)
        held: dict[str, dict[str, Any]] = {}
        years: dict[str, int] = {}
        seeds = st.lists(st.integers(0, 40), max_size=12)
        for step in range(data.draw(st.integers(1, 8))):
            verb = data.draw(st.sampled_from(["add", "add", "delete", "replace", "year"]))
            if verb == "add" or not held:
                vectors = [unit(seed) for seed in data.draw(seeds)]
                year = data.draw(st.integers(2000, 2004))
                document_id, ids = add_document(store, f"{step}", vectors, metadata={"year": year})
                held[document_id], years[document_id] = dict(zip(ids, vectors, strict=True)), year
            else:
                document_id = data.draw(st.sampled_from(sorted(held)))
                if verb == "delete":
                    with store.begin(LOCAL_ACTOR, write=True) as tx:
                        documents.delete(tx, document_id)
                    del held[document_id], years[document_id]
                elif verb == "year":
                    years[document_id] = data.draw(st.integers(2000, 2004))
                    with store.begin(LOCAL_ACTOR, write=True) as tx:
                        documents.update(tx, document_id, metadata={"year": years[document_id]})
                else:
                    with store.begin(LOCAL_ACTOR, write=True) as tx:
                        job = documents.resubmit(tx, document_id, {})
                    records = [chunk(n, f"{n}", vector=unit(s)) for n, s in enumerate(data.draw(seeds))]
                    write_generation(store, document_id, job.generation, records)
                    held[document_id] = {record.chunk_id: record.embedding for record in records}
            query = unit(data.draw(st.integers(0, 40)))
            k = data.draw(st.integers(1, 30))
            least = data.draw(st.integers(2000, 2005))
            chosen = data.draw(st.lists(st.sampled_from(sorted(held) or ["none"]), unique=True))
            for only, wanted in (
                (EVERYTHING, list(held)),
                (where("metadata.year", "$gte", least), [d for d in held if years[d] >= least]),
                (DocumentFilter(document_ids=chosen), [d for d in held if d in chosen]),
            ):
                scores = {i: float(v @ query) for d in wanted for i, v in held[d].items()}
                hits = store.search_vectors(LOCAL_ACTOR, query, space=SPACE, kind="text", k=k, only=only).hits
                best = sorted(scores.values(), reverse=True)[:k]
                assert [hit.score for hit in hits] == pytest.approx(best, abs=1e-5)
                assert len({hit.id for hit in hits}) == len(hits)
                assert all(abs(hit.score - scores[hit.id]) < 1e-5 for hit in hits)


def test_an_index_that_lost_most_rows_is_still_exact(store: Store) -> None:
    doomed = [add_document(store, f"d{n}", [unit(1000 + 150 * n + m) for m in range(150)])[0] for n in range(8)]
    _, kept = add_document(store, "kept", [unit(n) for n in range(50)])
    assert nearest(store, unit(7), k=1) == [kept[7]]
    for document_id in doomed:
        with store.begin(LOCAL_ACTOR, write=True) as tx:
            documents.delete(tx, document_id)
    assert nearest(store, unit(7), k=2000)[0] == kept[7]
    assert sorted(nearest(store, unit(7), k=2000)) == sorted(kept)
    _, more = add_document(store, "more", [unit(n) for n in range(50, 60)])
    assert nearest(store, unit(55), k=1) == [more[5]]
    assert nearest(store, unit(7), k=1, only=where("filename", "$eq", "kept")) == [kept[7]]


def test_keywords_match_stems_without_accents_and_case(store: Store) -> None:
    document_id = submit(store).document.document_id
    records = [
        chunk(0, "The cafés were opened in the morning."),
        chunk(1, "Termination requires a written notice of ninety days."),
        chunk(2, "Nothing of interest is said here."),
    ]
    write_generation(store, document_id, 1, records)

    def found(query: str, k: int = 9) -> list[str]:
        return [hit.id for hit in store.search_keywords(LOCAL_ACTOR, query, k=k, only=EVERYTHING)]

    assert found("CAFE opening") == [records[0].chunk_id]
    assert found("What is the notice period?") == [records[1].chunk_id]
    assert set(found("the")) == {records[0].chunk_id}
    hits = store.search_keywords(LOCAL_ACTOR, "notice days termination said", k=9, only=EVERYTHING)
    assert [hit.id for hit in hits] == [records[1].chunk_id, records[2].chunk_id]
    assert hits[0].score > hits[1].score > 0


@pytest.mark.parametrize(
    "query",
    [
        *(
            "",
            " ",
            '"',
            "'",
            "a AND",
            "NEAR(",
            "chunk_text:x",
            "*",
            "x*",
            "-x",
            "^x",
            "(",
            "\x00",
            "\ud800",
            "%",
            ";--",
        ),
        *("word " * 2000, "x" * 10_000, " ".join(f"w{n}" for n in range(3000)), 'say "hello" OR NOT', "a\x00b"),
        *("\U0001f600", "日本語", ";--"),
    ],
    ids=lambda query: ascii(query[:20]),
)
def test_any_text_is_a_safe_query(store: Store, query: str) -> None:
    _, ids = add_document(store, "a", [unit(1)])
    hits = store.search_keywords(LOCAL_ACTOR, query, k=5, only=EVERYTHING)
    assert [hit.id for hit in hits] in ([], ids)
    assert [hit.id for hit in store.search_keywords(LOCAL_ACTOR, query + " passage", k=5, only=EVERYTHING)] in ([], ids)


def test_keyword_search_fills_k_under_a_filter(store: Store) -> None:
    for number in range(10):
        add_document(store, f"{number}", [unit(n) for n in range(5)], metadata={"n": number})
    hits = store.search_keywords(LOCAL_ACTOR, "passage", k=5, only=where("metadata.n", "$eq", 9))
    assert len(hits) == 5


def test_full_text_follows_every_way_a_chunk_can_go(store: Store) -> None:
    document_id, _ = add_document(store, "a", [unit(1)])
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, document_id, {})
    write_generation(store, document_id, 2, [chunk(0, "successor")])
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        while generations.drop_other_generations(tx, document_id, 2):
            pass
    assert store.search_keywords(LOCAL_ACTOR, "passage", k=5, only=EVERYTHING) == []
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        contents.write_chunks(tx, document_id, 2, [chunk(0, "replacement")])
    assert store.search_keywords(LOCAL_ACTOR, "successor", k=5, only=EVERYTHING) == []
    assert len(store.search_keywords(LOCAL_ACTOR, "replacement", k=5, only=EVERYTHING)) == 1
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.delete(tx, document_id)
