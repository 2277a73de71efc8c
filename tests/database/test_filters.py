"""Filters: which documents a search or a list looks at."""

from __future__ import annotations

from typing import Any

import pytest

from database.documents import documents
from database.records import LOCAL_ACTOR, Condition, DocumentFilter
from database.store import Store
from tests.support.store_cases import (
    EVERYTHING,
    SPACE,
    add_document,
    unit,
)

pytestmark = pytest.mark.store_contract


def nearest(store: Store, query: Any, *, k: int = 10, only: DocumentFilter = EVERYTHING) -> list[str]:
    hits = store.search_vectors(LOCAL_ACTOR, query, space=SPACE, kind="text", k=k, only=only).hits
    return [hit.id for hit in hits]


def where(field: str, operator: Any, value: Any) -> DocumentFilter:
    return DocumentFilter(conditions=[Condition(field, operator, value)])


def matching(store: Store, field: str, operator: str, value: Any) -> set[str]:
    """File names of the documents that a condition lets through; both searches must agree with the list."""
    only = where(field, operator, value)
    with store.begin(LOCAL_ACTOR) as tx:
        listed = {document.filename for document in documents.list_page(tx, only=only, limit=99, cursor=None).data}
        names = {document.document_id: document.filename for document in _all(tx)}
    by_vector = store.search_vectors(LOCAL_ACTOR, unit(0), space=SPACE, kind="text", k=99, only=only).hits
    by_word = store.search_keywords(LOCAL_ACTOR, "passage", k=99, only=only)
    assert {names[hit.document_id] for hit in by_vector} == listed
    assert {names[hit.document_id] for hit in by_word} == listed
    return listed


def _all(tx: Any) -> Any:
    return documents.list_page(tx, only=EVERYTHING, limit=99, cursor=None).data


def test_ten_thousand_document_ids_are_a_filter(store: Store) -> None:
    document_id, ids = add_document(store, "a", [unit(1)])
    add_document(store, "b", [unit(1)])
    only = DocumentFilter(document_ids=[*(f"absent-{n}" for n in range(9_999)), document_id])
    assert nearest(store, unit(1), only=only) == ids
    assert [hit.id for hit in store.search_keywords(LOCAL_ACTOR, "passage", k=9, only=only)] == ids
    with store.begin(LOCAL_ACTOR) as tx:
        assert [d.document_id for d in documents.list_page(tx, only=only, limit=9, cursor=None).data] == [document_id]
    nobody = DocumentFilter(document_ids=[])
    assert nearest(store, unit(1), only=nobody) == []
    assert store.search_keywords(LOCAL_ACTOR, "passage", k=9, only=nobody) == []


def test_filters_compare_values_of_one_kind_only(store: Store) -> None:
    given: dict[str, dict[str, Any]] = {
        "number": {"v": 2020, "deep": {"key": "x"}},
        "float": {"v": 2020.5},
        "text": {"v": "2020"},
        "true": {"v": True},
        "false": {"v": False},
        "one": {"v": 1},
        "null": {"v": None},
        "list": {"v": [2020]},
        "missing": {},
        "odd": {"größe (m²)'; --": "ja", "v.w": 1},
    }
    for name, metadata in given.items():
        add_document(store, name, [unit(len(name))], metadata=metadata, file_type="pdf" if name == "text" else "text")
    assert matching(store, "metadata.v", "$eq", 2020) == {"number"}
    assert matching(store, "metadata.v", "$eq", "2020") == {"text"}
    assert matching(store, "metadata.v", "$gte", 2020) == {"number", "float"}
    assert matching(store, "metadata.v", "$lte", 2020) == {"number", "one"}
    assert matching(store, "metadata.v", "$gte", "2") == {"text"}
    assert matching(store, "metadata.v", "$eq", True) == {"true"}
    assert matching(store, "metadata.v", "$eq", False) == {"false"}
    assert matching(store, "metadata.v", "$eq", 1) == {"one"}
    assert matching(store, "metadata.v", "$in", [1, "2020", False]) == {"one", "text", "false"}
    assert matching(store, "metadata.v", "$in", []) == set()
    assert matching(store, "metadata.v", "$gte", -(10**400 // 10**382)) == {"number", "float", "one"}
    assert matching(store, "metadata.deep.key", "$eq", "x") == {"number"}
    assert matching(store, "metadata.deep", "$eq", "x") == set()
    assert matching(store, "metadata.größe (m²)'; --", "$eq", "ja") == {"odd"}
    assert matching(store, "metadata.v", "$eq", "\ud800") == set()
    assert matching(store, "format", "$in", ["pdf", "csv"]) == {"text"}
    assert matching(store, "filename", "$gte", "text") == {"text", "true"}
    assert matching(store, "status", "$eq", "completed") == set(given)
    assert matching(store, "size_bytes", "$lte", 9) == set()
    assert matching(store, "page_count", "$eq", 1) == set(given)
    assert matching(store, "created_at", "$gte", "2020-01-01") == set(given)
    assert matching(store, "created_at", "$lte", "2020-01-01T00:00:00+01:00") == set()


@pytest.mark.parametrize(
    ("field", "operator", "value", "told"),
    [
        ("nonsense", "$eq", 1, "not a field"),
        ("user_id", "$eq", "x", "not a field"),
        ("metadata", "$eq", "x", "not a field"),
        ("metadata.", "$eq", "x", "not a field"),
        ('metadata.a"b', "$eq", "x", "not a field"),
        ("metadata.a", "$near", "x", "not an operator"),
        ("metadata.a", "$eq", None, "compares with"),
        ("metadata.a", "$eq", {"b": 1}, "compares with"),
        ("metadata.a", "$in", "text", "needs a list"),
        ("metadata.a", "$in", list(range(1001)), "at most 1000"),
        ("metadata.a", "$gte", True, "compares numbers"),
        ("metadata.a", "$gte", float("nan"), "not a number"),
        ("metadata.a", "$gte", 10**400, "too large"),
        ("page_count", "$gte", "3", "is a number"),
        ("format", "$eq", 3, "is a string"),
        ("created_at", "$gte", "yesterday", "not a date"),
    ],
)
def test_a_filter_that_makes_no_sense_is_told(store: Store, field: str, operator: Any, value: Any, told: str) -> None:
    only = where(field, operator, value)
    with pytest.raises(ValueError, match=told):
        nearest(store, unit(1), only=only)
    with pytest.raises(ValueError, match=told):
        store.search_keywords(LOCAL_ACTOR, "x", k=1, only=only)


def test_a_changed_document_is_filtered_by_what_it_says_now(store: Store) -> None:
    document_id, ids = add_document(store, "a", [unit(1)], metadata={"year": 2000})
    only = where("metadata.year", "$eq", 2001)
    assert nearest(store, unit(1), only=only) == []
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.update(tx, document_id, metadata={"year": 2001})
    assert nearest(store, unit(1), only=only) == ids
