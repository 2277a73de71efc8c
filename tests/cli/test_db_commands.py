"""`docatlas db` and the server on Postgres: which database, which rights, and what is said without them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from database.migrations import read_migrations
from database.postgres.migrations import migrations_folder, upgrade
from tests.support.paths import ROOT
from tests.support.postgres_server import DatabaseUrls, PostgresServer

VERSIONS = [m.version for m in read_migrations(migrations_folder())]


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[DatabaseUrls]:
    """A database as Postgres makes it."""
    database = postgres_server.new_database(migrated=False)
    yield database
    postgres_server.drop(database)


def docatlas(data_dir: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments, "--data-dir", str(data_dir)],
        cwd=ROOT,
        env={**os.environ, "DOCATLAS_TEXT_MODEL": "hash", **environment},
        capture_output=True,
        text=True,
    )


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_upgrade_and_status_speak_of_the_postgres_that_the_settings_name(empty: DatabaseUrls, tmp_path: Path) -> None:
    both = {"DOCATLAS_DATABASE_URL": empty.server_url, "DOCATLAS_DATABASE_ADMIN_URL": empty.admin_url}
    before = docatlas(tmp_path, "db", "status", "--json", **both)
    assert before.returncode == 1
    assert {row["is_applied"] for row in answer(before)} == {False}
    done = docatlas(tmp_path, "db", "upgrade", "--json", **both)
    assert done.returncode == 0, done.stderr
    assert answer(done)["applied"] == VERSIONS
    assert answer(done)["database"].endswith(f"database {empty.name}")
    after = docatlas(tmp_path, "db", "status", DOCATLAS_DATABASE_URL=empty.server_url)
    assert after.returncode == 0, after.stderr
    assert f"database {empty.name}" in after.stdout
    assert VERSIONS[-1] in after.stdout
    printed = before.stdout + done.stdout + done.stderr + after.stdout
    for url in (empty.admin_url, empty.server_url):
        assert url.split(":")[2].split("@")[0] not in printed


def test_an_upgrade_without_an_administrator_says_what_is_missing(postgres: DatabaseUrls, tmp_path: Path) -> None:
    done = docatlas(tmp_path, "db", "upgrade", DOCATLAS_DATABASE_URL=postgres.server_url)
    assert done.returncode == 1
    assert "database_admin_url_missing" in done.stderr
    assert "DOCATLAS_DATABASE_ADMIN_URL" in done.stderr


def test_an_administrators_url_alone_is_enough_to_upgrade(empty: DatabaseUrls, tmp_path: Path) -> None:
    done = docatlas(tmp_path, "db", "upgrade", "--json", DOCATLAS_DATABASE_ADMIN_URL=empty.admin_url)
    assert answer(done)["applied"] == VERSIONS
    assert not list(tmp_path.glob("*.sqlite3"))


def test_the_server_does_not_start_on_a_database_that_lacks_migrations(empty: DatabaseUrls, tmp_path: Path) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    # All but the last: the login is there, the schema is not whole.
    for path in sorted(migrations_folder().glob("*.sql"))[:-1]:
        (folder / path.name).write_bytes(path.read_bytes())
    upgrade(empty.admin_url, server_url=empty.server_url, folder=folder)
    done = docatlas(tmp_path, "serve", "--port", "0", DOCATLAS_DATABASE_URL=empty.server_url, DOCATLAS_FALLBACK="false")
    assert done.returncode == 1
    assert "docatlas db upgrade" in done.stderr


def test_doctor_says_which_database_lacks_what(empty: DatabaseUrls, tmp_path: Path) -> None:
    upgrade(empty.admin_url, server_url=empty.server_url)
    report = answer(docatlas(tmp_path, "doctor", "--json", DOCATLAS_DATABASE_URL=empty.server_url))
    check = next(check for check in report["checks"] if check["name"] == "database")
    assert check["status"] == "ok"
    assert check["facts"]["applied"] == len(VERSIONS)
    away = answer(docatlas(tmp_path, "doctor", "--json", DOCATLAS_DATABASE_URL="postgresql://x:y@127.0.0.1:1/z"))
    check = next(check for check in away["checks"] if check["name"] == "database")
    assert check["status"] == "broken"
    assert "127.0.0.1:1" in check["summary"]


def test_the_embedded_postgres_is_upgraded_and_ends_with_the_command(tmp_path: Path) -> None:
    done = docatlas(tmp_path / "data", "db", "upgrade", "--json", DOCATLAS_POSTGRES="embedded")
    assert done.returncode == 0, done.stderr
    assert answer(done)["applied"] == VERSIONS
    assert "embedded PostgreSQL" in answer(done)["database"]
    assert not (tmp_path / "data" / "postgres" / "data" / "postmaster.pid").exists()
