"""Keyword search on both databases: the same words are found, and ranked alike."""

from __future__ import annotations

import pytest

from database.records import LOCAL_ACTOR
from database.store import Store
from tests.support.store_cases import EVERYTHING, chunk, submit, write_generation

WORDS = [
    ("The Cafés of CÔTE d'Azur", ["cafe", "CAFÉS", "cote", "azur"]),
    ("see report_final-v2.pdf", ["report", "final", "v2", "pdf", "report_final-v2.pdf"]),
    ("mail anna.smith@example.com today", ["anna", "example", "anna.smith@example.com"]),
    ("at https://docs.example.org/a/b?x=1", ["docs", "example"]),
    ("costs 1,234.50 in 2024-05-06", ["1", "234", "2024", "1,234.50"]),
    ("the running runners ran", ["run", "runs", "runner"]),
    ("日本語 テスト", ["日本語", "テスト"]),
    ("Ärzte für Öl und Ñandú", ["arzte", "FÜR", "ol", "nandu"]),
    ("Привет мир", ["привет", "МИР"]),
    ("C3PO and R2-D2 in 3D", ["c3po", "r2", "3d"]),
]


@pytest.mark.parametrize(("said", "queries"), WORDS, ids=[said[:12] for said, _ in WORDS])
def test_both_databases_find_the_same_words(store: Store, said: str, queries: list[str]) -> None:
    document_id = submit(store).document.document_id
    records = [chunk(0, said), chunk(1, "nothing else here")]
    write_generation(store, document_id, 1, records)
    for query in queries:
        found = store.search_keywords(LOCAL_ACTOR, query, k=5, only=EVERYTHING)
        assert [hit.id for hit in found] == [records[0].chunk_id], query


def test_both_databases_rank_by_rarity_number_and_length(store: Store) -> None:
    document_id = submit(store).document.document_id
    filler = " ".join(f"filler{n}" for n in range(60))
    records = [
        chunk(0, "apple cherry"),
        chunk(1, f"banana {filler}"),
        chunk(2, "banana bread"),
        chunk(3, "kiwi plum plum"),
        chunk(4, "kiwi kiwi plum"),
        *(chunk(n, "apple pie") for n in range(5, 9)),
        *(chunk(n, "nothing") for n in range(9, 30)),
    ]
    write_generation(store, document_id, 1, records)

    def found(query: str) -> list[int]:
        hits = store.search_keywords(LOCAL_ACTOR, query, k=4, only=EVERYTHING)
        return [next(n for n, record in enumerate(records) if record.chunk_id == hit.id) for hit in hits]

    assert found("apple cherry") == [0, 5, 6, 7]
    assert found("banana") == [2, 1]
    assert found("kiwi") == [4, 3]
