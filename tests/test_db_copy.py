"""Moving everything between SQLite and Postgres: whole, in order, resumable, and never over what is there."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update

from cli.main import main
from database import schema
from database.copying.copying import compare_stores, copy_rows
from database.copying.rows import forms_of, tables
from database.ids import new_id
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, SERVICE_ACTOR
from database.store import Store, open_store
from services.worker import WorkerLease
from tests.copy_cases import ODD_JSON, ODD_TEXTS, odd_rows
from tests.postgres_server import DatabaseUrls, PostgresServer
from tests.store_cases import EVERYTHING, OTHER_ACTOR, SPACE, add_document, prepare, submit, unit

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., "Done"]


class Done:
    """What a command left."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def docatlas(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command in this process."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--data-dir", str(tmp_path / "unused")])
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A data folder with some documents of two owners."""
    store = open_store(tmp_path / "source")
    prepare(store)
    for number in range(3):
        add_document(store, f"report {number}.txt", [unit(10 * number + place) for place in range(4)])
    add_document(store, "other.txt", [unit(99)], actor=OTHER_ACTOR)
    submit(store, "queued.txt")
    store.close()
    return tmp_path / "source"


def opened(urls: DatabaseUrls) -> PostgresStore:
    return PostgresStore(PostgresOptions(urls.server_url, pool_size=2))


def change(folder: Path, *statements: Any) -> None:
    """Runs statements on a data folder's database."""
    store = open_store(folder)
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        for statement in statements:
            tx.connection.execute(statement)
    store.close()


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
)


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
    """The values of a row, comparable: `jsonb` writes 1e308 as a whole number, which Python takes for another one."""
    return [value.tobytes() if isinstance(value, np.ndarray) else json_value(value) for value in row]


def json_value(value: Any) -> Any:
    if not isinstance(value, dict | list):
        return value
    return json.loads(json.dumps(value), parse_int=lambda digits: float(digits) if len(digits) > 25 else int(digits))


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


def test_a_row_that_differs_is_refused_and_stays(source: Path, postgres: DatabaseUrls, docatlas: Run) -> None:
    assert docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url).code == 0
    change(source, update(schema.documents).where(schema.documents.c.filename == "queued.txt").values(title="secret"))

    verified = docatlas("db", "verify", "--from", f"sqlite:{source}", "--to", postgres.server_url)
    refused = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url)

    assert verified.code == refused.code == 1
    assert "differs in title" in verified.out
    assert "error [copy_refused]" in refused.err
    assert "differs in title" in refused.err
    assert "secret" not in refused.err + verified.out
    store = opened(postgres)
    with store.begin(SERVICE_ACTOR) as tx:
        assert "secret" not in tx.connection.scalars(select(schema.documents.c.title)).all()
    store.close()


def test_rows_that_only_the_target_has_are_refused(source: Path, postgres: DatabaseUrls, docatlas: Run) -> None:
    store = opened(postgres)
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        tx.connection.execute(
            insert(schema.users).values(
                user_id=OTHER_ACTOR.user_id, display_name="x", created_at="2020-01-01T00:00:00Z"
            )
        )
    add_document(store, "theirs.txt", [unit(5)])
    store.close()

    refused = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url)

    assert refused.code == 1
    assert "users (user_id=" in refused.err or "is in the target only" in refused.err


def test_profiles_that_the_target_made_by_itself_are_no_obstacle(
    source: Path, postgres: DatabaseUrls, docatlas: Run
) -> None:
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        for owner in (OTHER_ACTOR.user_id, new_id()):
            connection.execute("INSERT INTO users (user_id, display_name) VALUES (%s, 'from an account')", (owner,))

    assert docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url).code == 0
    assert docatlas("db", "verify", "--from", f"sqlite:{source}", "--to", postgres.server_url).code == 0


def test_a_value_that_the_target_does_not_take_is_named_by_its_row(
    source: Path, postgres: DatabaseUrls, docatlas: Run
) -> None:
    change(
        source, update(schema.documents).where(schema.documents.c.filename == "report 1.txt").values(sha256="Z" * 64)
    )

    refused = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url)

    assert refused.code == 1
    assert "does not take the row documents_metadata (document_id=" in refused.err
    assert "SQLSTATE 23514" in refused.err


def test_an_id_that_is_no_uuid_is_refused_not_changed(source: Path, postgres: DatabaseUrls, docatlas: Run) -> None:
    change(source, text("UPDATE jobs SET job_id = upper(job_id)"))

    refused = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url)

    assert refused.code == 1
    assert "has in job_id what cannot be kept there" in refused.err


def test_a_mistyped_source_makes_no_database(tmp_path: Path, postgres: DatabaseUrls, docatlas: Run) -> None:
    for missing in (tmp_path / "typo", tmp_path / "typo" / "x.sqlite3"):
        refused = docatlas("db", "copy", "--from", f"sqlite:{missing}", "--to", postgres.server_url)
        assert refused.code == 1
        assert "error [not_found]" in refused.err
    assert not (tmp_path / "typo").exists()
    (tmp_path / "notes.db").write_text("no database")
    assert "is not a SQLite database" in docatlas("db", "copy", "--from", f"sqlite:{tmp_path / 'notes.db'}").err


@pytest.mark.parametrize("url", ["mysql://root:hunter2@h/d", "postgresql//x:hunter2@h/d", "sqlite3:x"])
def test_an_address_that_names_no_database_is_refused_without_its_password(url: str, docatlas: Run) -> None:
    refused = docatlas("db", "copy", "--from", url)

    assert refused.code == 1
    assert "error [invalid_option]" in refused.err
    assert "hunter2" not in refused.err + refused.out


def test_passwords_are_never_printed(source: Path, postgres: DatabaseUrls, docatlas: Run) -> None:
    password = postgres.server_url.split(":")[2].split("@")[0]
    wrong = postgres.server_url.replace(password, "wrong-password")

    done = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url)
    failed = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", wrong)

    assert done.code == 0
    assert failed.code == 1
    assert "docatlas_server:***@127.0.0.1" in done.out
    for printed in (done.out, done.err, failed.out, failed.err):
        assert password not in printed
        assert "wrong-password" not in printed


def test_one_database_cannot_be_both(source: Path, docatlas: Run) -> None:
    file = source / "docatlas.sqlite3"

    assert "Both are" in docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", f"sqlite:{file}").err
    assert docatlas("db", "copy").code == 2


def test_a_target_without_tables_is_migrated_by_its_administrator_only(
    source: Path, postgres_server: PostgresServer, docatlas: Run
) -> None:
    urls = postgres_server.new_database(migrated=False)

    refused = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", urls.server_url)
    done = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", urls.admin_url)

    postgres_server.drop(urls)
    assert refused.code == 1
    assert "docatlas db upgrade" in refused.err
    assert done.code == 0, done.err


def test_a_source_of_another_version_is_refused(source: Path, tmp_path: Path, docatlas: Run) -> None:
    target = f"sqlite:{tmp_path / 'target'}"
    newest = text("DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)")
    change(source, newest)

    older = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", target)
    change(source, text("INSERT INTO schema_migrations VALUES ('99990101000000', 'add_future', 'x', 'y')"))
    newer = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", target)

    assert older.code == newer.code == 1
    assert "error [migrations_pending]" in older.err
    assert f"docatlas db upgrade --data-dir {source}" in older.err
    assert "newer version of Docatlas" in newer.err


def test_a_running_server_is_refused(source: Path, postgres: DatabaseUrls, docatlas: Run) -> None:
    lease = WorkerLease(source)
    assert lease.take()
    try:
        refused = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url)
    finally:
        lease.give_back()

    assert refused.code == 1
    assert "error [server_running]" in refused.err


def test_running_jobs_are_refused_and_dead_ones_copied(source: Path, postgres: DatabaseUrls, docatlas: Run) -> None:
    one = select(schema.jobs.c.job_id).limit(1).scalar_subquery()
    running = update(schema.jobs).where(schema.jobs.c.job_id == one)
    change(
        source, running.values(status="in_progress", worker_id="node.run", heartbeat_at="2999-01-01T00:00:00.000000Z")
    )
    refused = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url)
    change(source, running.values(heartbeat_at="2020-01-01T00:00:00.000000Z"))
    done = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", postgres.server_url)

    assert refused.code == 1
    assert "jobs of the sqlite database run" in refused.err
    assert done.code == 0, done.err


def test_a_place_that_cannot_be_written_is_reported(source: Path, docatlas: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    for place in ("/proc/docatlas", str(tmp_path / "file" / "below")):
        refused = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", f"sqlite:{place}")
        assert refused.code == 1
        assert refused.err.startswith("error [system_error]")


def test_a_full_disk_is_reported_and_the_copy_goes_on_afterwards(source: Path, tmp_path: Path, docatlas: Run) -> None:
    target = tmp_path / "target"
    store = open_store(source)
    add_document(store, "large.txt", [unit(seed) for seed in range(600)])
    store.close()

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    failed = subprocess.run(
        [sys.executable, "-m", "cli", "db", "copy", "--from", f"sqlite:{source}", "--to", f"sqlite:{target}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=limit_files,
        capture_output=True,
        text=True,
    )
    done = docatlas("db", "copy", "--from", f"sqlite:{source}", "--to", f"sqlite:{target}")

    assert failed.returncode == 1
    assert failed.stderr.startswith("error [database_failed]"), failed.stderr
    assert done.code == 0, done.err


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
