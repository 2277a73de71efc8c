"""Moving everything between SQLite and Postgres: whole, in order, resumable, and never over what is there."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update

from database import schema
from database.copying.copying import compare_stores, copy_rows
from database.copying.rows import forms_of, tables
from database.opening import open_store
from database.records import LOCAL_ACTOR, SERVICE_ACTOR
from database.store import Store
from tests.support.copy_cases import ODD_JSON, ODD_TEXTS, odd_rows
from tests.support.copy_commands import Run, change, commands, fill_source, opened
from tests.support.postgres_server import DatabaseUrls, PostgresServer
from tests.support.store_cases import EVERYTHING, SPACE, add_document, prepare, submit, unit

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def docatlas(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return commands(capsys, tmp_path / "unused")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return fill_source(tmp_path / "source")


def hits(store: Store) -> list[tuple[str, float]]:
    found = store.search_vectors(LOCAL_ACTOR, unit(3), space=SPACE, kind="text", k=50, only=EVERYTHING, exact=True)
    return [(hit.id, round(hit.score, 6)) for hit in found.hits]


def test_there_and_back_again_gives_the_same_rows_and_the_same_hits(
    source: Path, postgres: DatabaseUrls, tmp_path: Path, docatlas: Run
) -> None:
    back = tmp_path / "back"

    there = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url, "--json")
    again = docatlas("db", "copy", "--from", postgres.server_url, "--to", f"sqlite:{back}", "--json")
    same = docatlas("db", "verify", "--from", f"sqlite:{source}", "--to", f"sqlite:{back}", "--json")

    assert (there.code, again.code, same.code) == (0, 0, 0), there.err + again.err + same.err
    sums = [{t["table"]: t["source"] for t in done.json()["tables"]} for done in (there, again, same)]
    assert sums[0] == sums[1] == sums[2]
    assert sums[0]["document_embeddings"]["rows"] == 13
    first, second, third = open_store(source), opened(postgres), open_store(back)
    assert hits(first) == hits(third) == hits(second) != []
    words = [store.search_keywords(LOCAL_ACTOR, "report passage 2", k=9, only=EVERYTHING) for store in (first, third)]
    assert words[0] == words[1] != []
    assert second.search_keywords(LOCAL_ACTOR, "report", k=9, only=EVERYTHING)
    for store in (first, second, third):
        store.close()


def test_every_table_and_column_of_a_migrated_database_is_copied(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.upgrade()
    with store.begin(SERVICE_ACTOR) as tx:
        names = set(tx.connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")))
    store.close()
    rebuilt = {"schema_migrations", "change_counters", "document_tombstones"}
    own = {name for name in names if not name.startswith(("sqlite_", "document_keywords"))}

    assert {table.name for table in tables()} == own - rebuilt
    assert all(len(forms_of(table)) == len(table.c) for table in tables())


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda tree: tree is not None)
"""JSON of any shape but a lone null, which the columns refuse."""


@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), texts=st.lists(st.text(), max_size=5), trees=st.lists(TREES, max_size=5))
def test_odd_values_of_every_table_survive_both_ways(
    seed: int,
    texts: list[str],
    trees: list[Any],
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    rows = odd_rows(np.random.default_rng(seed), [*ODD_TEXTS, *texts], [*ODD_JSON, *trees])
    first, last = open_store(folder / "first"), open_store(folder / "last")
    urls = postgres_server.new_database()
    middle = opened(urls)
    for store in (first, last):
        store.upgrade()
    try:
        with first.begin(SERVICE_ACTOR, write=True) as tx:
            for table in tables():
                for row in rows[table.name]:
                    tx.connection.execute(insert(table).values(row))
        assert copy_rows(first, middle, SILENT).is_equal
        assert copy_rows(middle, last, SILENT).is_equal
        assert all(found.is_equal for found in compare_stores(first, last, SILENT))
        with first.begin(SERVICE_ACTOR) as ours, last.begin(SERVICE_ACTOR) as theirs:
            for table in tables():
                in_order = select(table).order_by(*table.primary_key)
                both = [[same_everywhere(row) for row in tx.connection.execute(in_order)] for tx in (ours, theirs)]
                assert both[0] == both[1]
                assert len(both[0]) >= len(rows[table.name]) > 0
            assert theirs.connection.scalar(text("PRAGMA integrity_check")) == "ok"
            assert not theirs.connection.execute(text("PRAGMA foreign_key_check")).all()
    finally:
        for store in (first, middle, last):
            store.close()
        postgres_server.drop(urls)


class Silent:
    """Progress that nobody looks at."""

    def begin(self, step: str, table: str, rows: int) -> None: ...

    def advance(self, rows: int) -> None: ...


SILENT = Silent()


def same_everywhere(row: Any) -> list[Any]:
    """The values of a row, comparable: `jsonb` writes 1e16 as a whole number, which Python may take for another one.

    `compare_stores` looks at the digits; here numbers from 2**53 are compared as JSON's readers take them, by float64.
    """
    return [value.tobytes() if isinstance(value, np.ndarray) else json_value(value) for value in row]


def json_value(value: Any) -> Any:
    if not isinstance(value, dict | list):
        return value
    return json.loads(json.dumps(value), parse_int=lambda digits: float(digits) if len(digits) > 15 else int(digits))


def start_copy(folder: Path, urls: DatabaseUrls, *, to_sqlite: Path | None = None) -> subprocess.Popen[bytes]:
    """A real `docatlas db copy` in a process of its own."""
    ends = (
        ("--from", f"sqlite:{folder}", "--to", urls.server_url)
        if to_sqlite is None
        else ("--from", urls.server_url, "--to", f"sqlite:{to_sqlite}")
    )
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "db", "copy", *ends],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_killed_at_several_points_it_goes_on_and_ends_equal(
    tmp_path: Path, postgres: DatabaseUrls, docatlas: Run
) -> None:
    folder = tmp_path / "source"
    store = open_store(folder)
    prepare(store)
    for number in range(3):
        add_document(store, f"long {number}.txt", [None] * 700)  # type: ignore[list-item]
    store.close()
    chunks = "SELECT count(*) FROM document_embeddings"
    killed_at = []
    with psycopg.connect(postgres.admin_url, autocommit=True) as watching:
        for query, wanted in (("SELECT count(*) FROM documents_metadata", 1), (chunks, 500), (chunks, 1500)):
            process = start_copy(folder, postgres)
            while process.poll() is None and count(watching, query) < wanted:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed_at.append(count(watching, chunks))
    # The last kill may have come too late; the first ones cannot have.
    assert killed_at == sorted(killed_at)
    assert killed_at[0] < 2100

    resumed = docatlas("db", "copy", "--from", f"sqlite:{folder}", "--to", postgres.server_url, "--json")

    assert resumed.code == 0, resumed.err
    found = {table["table"]: table for table in resumed.json()["tables"]}["document_embeddings"]
    assert found["copied"] == 2100 - killed_at[-1]
    assert found["source"] == found["target"]


def count(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_new_rows_of_the_target_come_after_the_copied_ones(
    source: Path, postgres: DatabaseUrls, docatlas: Run, tmp_path: Path
) -> None:
    change(source, update(schema.chunks).values(row_id=schema.chunks.c.row_id + 5000))
    assert docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url).code == 0
    assert docatlas("db", "copy", "--from", postgres.server_url, "--to", f"sqlite:{tmp_path / 'back'}").code == 0

    for store in (opened(postgres), open_store(tmp_path / "back")):
        with store.begin(SERVICE_ACTOR) as tx:
            largest = max(tx.connection.scalars(select(schema.chunks.c.row_id)))
        add_document(store, "later.txt", [unit(1)])
        with store.begin(SERVICE_ACTOR) as tx:
            assert max(tx.connection.scalars(select(schema.chunks.c.row_id))) > largest > 5000
        store.close()


def test_an_index_in_memory_learns_of_the_copied_rows(source: Path, tmp_path: Path, docatlas: Run) -> None:
    reader = open_store(tmp_path / "target")
    reader.upgrade()
    assert hits(reader) == []

    assert docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", f"sqlite:{tmp_path / 'target'}").code == 0

    original = open_store(source)
    assert hits(reader) == hits(original) != []
    add_document(reader, "later.txt", [unit(3)])
    assert len(hits(reader)) == len(hits(original)) + 1
    original.close()
    reader.close()


def test_what_is_written_to_the_source_meanwhile_is_found(source: Path, postgres: DatabaseUrls) -> None:
    ours, theirs = open_store(source), opened(postgres)

    class Meddling(Silent):
        def begin(self, step: str, table: str, rows: int) -> None:
            if (step, table) == ("copy", "document_embeddings"):
                submit(ours, "meanwhile.txt")

    copied = copy_rows(ours, theirs, Meddling())

    unlike = [difference for found in copied.comparisons for difference in found.differences]
    assert not copied.is_equal
    assert {difference.table for difference in unlike} == {"documents_metadata", "jobs"}
    assert {difference.kind for difference in unlike} == {"missing"}
    assert copy_rows(ours, theirs, SILENT).is_equal
    ours.close()
    theirs.close()


def test_files_are_reported_and_brought(source: Path, postgres: DatabaseUrls, tmp_path: Path, docatlas: Run) -> None:
    content = b"the original"
    sha256 = hashlib.sha256(content).hexdigest()
    change(source, update(schema.documents).where(schema.documents.c.filename == "queued.txt").values(sha256=sha256))
    place = source / "blobs" / sha256[:2] / sha256[2:4] / sha256
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    to = str(tmp_path / "new blobs")
    ends = ("--from", f"sqlite:{source}", "--to", postgres.server_url)

    asked = docatlas("db", "copy", *ends, "--files-from", str(source / "blobs"), "--files-to", to, "--json")
    again = docatlas("db", "copy", *ends, "--files-to", to, "--json")

    files = asked.json()["files"]
    assert asked.code == 1
    assert again.code == 0
    assert (files["referenced"], files["copied"], files["missing"], len(files["documents"])) == (5, 1, 4, 4)
    assert again.json()["files"]["missing"] == 4
    assert (Path(to) / sha256[:2] / sha256[2:4] / sha256).read_bytes() == content
    shown = docatlas("db", "verify", *ends)
    assert "Files: 5 referred to, 5 missing." in shown.out
    assert "Both databases hold the same rows." in shown.out
