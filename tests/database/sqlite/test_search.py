"""What only SQLite's full text index promises."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from database.documents import documents
from database.errors import StoreBusy
from database.keywords import MAX_TERMS
from database.opening import open_store
from database.records import LOCAL_ACTOR, SERVICE_ACTOR
from database.sqlite.keywords import match_expression
from database.store import Store
from tests.support.store_cases import add_document, prepare, unit


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "data")
    prepare(opened)
    yield opened
    opened.close()


def test_stop_words_count_only_where_nothing_else_is_asked() -> None:
    assert match_expression("What is the notice?") == '"what" OR "notice"'
    assert match_expression("to be or not to be") == '"to" OR "be" OR "or" OR "not"'


def test_a_page_of_text_is_a_query_of_a_few_words() -> None:
    expression = match_expression(" ".join(f"w{n}" for n in range(3000)))
    assert expression.count(" OR ") == MAX_TERMS - 1


def test_the_index_agrees_with_the_table_after_a_document_has_gone(sqlite_store: Store) -> None:
    kept, gone = (add_document(sqlite_store, name, [unit(1)])[0] for name in ("kept", "gone"))
    with sqlite_store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.delete(tx, gone)
        assert documents.get(tx, kept) is not None
    with sqlite_store.begin(SERVICE_ACTOR, write=True) as tx:
        # Raises where the index and the table disagree (sqlite.org/fts5.html, "The 'integrity-check' Command").
        tx.connection.exec_driver_sql(
            "INSERT INTO document_keywords (document_keywords, rank) VALUES ('integrity-check', 1)"
        )


def test_who_holds_the_file_is_told_apart(tmp_path: Path, sqlite_store: Store) -> None:
    hasty = open_store(tmp_path / "data", busy_timeout_s=0.05)
    other = sqlite3.connect(tmp_path / "data" / "docatlas.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="process"), hasty.begin(LOCAL_ACTOR, write=True):
        pass
    other.execute("ROLLBACK")
    other.close()
    with (
        hasty.begin(LOCAL_ACTOR, write=True),
        pytest.raises(StoreBusy, match="thread"),
        hasty.begin(LOCAL_ACTOR, write=True),
    ):
        pass
    hasty.close()
