"""What `docatlas db copy` refuses, and says: nothing is overwritten, and no password printed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert, select, text, update

from database import schema
from database.ids import new_id
from database.opening import open_store
from database.records import SERVICE_ACTOR
from services.jobs.worker import WorkerLease
from tests.support.copy_commands import Run, change, commands, fill_source, opened
from tests.support.paths import ROOT
from tests.support.postgres_server import DatabaseUrls, PostgresServer
from tests.support.store_cases import OTHER_ACTOR, add_document, unit


@pytest.fixture
def docatlas(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return commands(capsys, tmp_path / "unused")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return fill_source(tmp_path / "source")


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
