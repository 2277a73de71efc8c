"""What a start does with a Postgres that is away, that refuses the login, or that is new: fallback, error, upgrade."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from pydantic import SecretStr

from bench.server import Server, connect, free_port, start, wait_for_job
from services.errors import CapabilityMissing
from services.settings import Settings
from services.stores import open_configured_store
from tests.support.fallback_cases import Access, eventually, open_fallback
from tests.support.postgres_server import DatabaseUrls
from tests.support.store_cases import submit

CONTENT = b"# Harbour\n\nThe quay wall was built of basalt in 1893.\n"
ROLE = "tests_of_starts"


def _settings(folder: Path, url: str, **given: Any) -> Settings:
    usual = {"text_model": "hash", "database_connect_timeout_s": 2, "fallback_probe_s": 0.1}
    return Settings(data_dir=folder, database_url=SecretStr(url), **{**usual, **given})


def _with(url: str, *, user: str | None = None, password: str | None = None, database: str | None = None) -> str:
    scheme, _, rest = url.partition("://")
    login, _, place = rest.rpartition("@")
    name, _, secret = login.partition(":")
    host, _, path = place.partition("/")
    return f"{scheme}://{user or name}:{password or secret}@{host}/{database or path}"


def _refusal(settings: Settings) -> CapabilityMissing:
    assert settings.fallback
    with pytest.raises(CapabilityMissing) as refused:
        open_configured_store(settings)
    return refused.value


def test_a_wrong_password_is_an_error_and_never_the_fallback(postgres: DatabaseUrls, tmp_path: Path) -> None:
    refusal = _refusal(_settings(tmp_path, _with(postgres.server_url, password="wrong-secret")))
    assert refusal.code == "database_login_refused"
    assert "password" in refusal.detail
    assert "wrong-secret" not in refusal.detail


def test_a_wrong_password_of_the_migrations_role_names_its_setting(postgres: DatabaseUrls, tmp_path: Path) -> None:
    admin_url = SecretStr(_with(postgres.admin_url, password="wrong-secret"))
    refusal = _refusal(_settings(tmp_path, postgres.server_url, database_admin_url=admin_url))
    assert refusal.code == "database_login_refused"
    assert "DOCATLAS_DATABASE_ADMIN_URL" in refusal.detail


def test_a_database_that_the_server_does_not_have_is_an_error(postgres: DatabaseUrls, tmp_path: Path) -> None:
    refusal = _refusal(_settings(tmp_path, _with(postgres.server_url, database="nowhere")))
    assert refusal.code == "database_login_refused"


def test_a_role_that_may_not_log_in_is_an_error(postgres: DatabaseUrls, tmp_path: Path) -> None:
    with _role(postgres, "NOLOGIN"):
        assert _refusal(_settings(tmp_path, _role_url(postgres))).code == "database_login_refused"


def test_a_role_with_rights_of_its_own_is_an_error_and_never_the_fallback(
    postgres: DatabaseUrls, tmp_path: Path
) -> None:
    with _role(postgres, "LOGIN BYPASSRLS NOINHERIT"):
        refusal = _refusal(_settings(tmp_path, _role_url(postgres)))
    assert refusal.code == "database_role_unsafe"
    assert "passes row level security" in refusal.detail


def test_a_database_without_its_migrations_is_an_error_and_never_the_fallback(
    postgres: DatabaseUrls, tmp_path: Path
) -> None:
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute(
            "DELETE FROM supabase_migrations.schema_migrations "
            "WHERE version = (SELECT max(version) FROM supabase_migrations.schema_migrations)"
        )
    refusal = _refusal(_settings(tmp_path, postgres.server_url))
    assert refusal.code == "migrations_pending"
    assert "has 1 migrations to run. Run `docatlas db upgrade`" in refusal.detail


def test_a_server_that_cannot_be_reached_is_stood_in_for(tmp_path: Path) -> None:
    opened = open_configured_store(
        _settings(tmp_path, f"postgresql://docatlas_server:x@127.0.0.1:{free_port()}/postgres")
    )
    try:
        state = opened.fallback.state()
        assert state is not None
        assert state.breaker == "open"
        assert state.detail == ""
        submit(opened.store, "a.txt")
    finally:
        opened.store.close()


def test_a_login_that_is_refused_once_the_server_is_back_is_told_and_nothing_is_lost(
    postgres: DatabaseUrls, tmp_path: Path
) -> None:
    access = Access(postgres)
    with _role(postgres, "LOGIN NOINHERIT"):
        access.take_away()
        main = DatabaseUrls(postgres.admin_url, _role_url(postgres), postgres.name)
        store = open_fallback(main, tmp_path / "fallback")
        try:
            submit(store, "a.txt")
            _alter(postgres, "PASSWORD 'another'")
            access.give_back()
            eventually(lambda: "refuses the login" in store.state().detail)
            assert store.state().breaker == "open"
            assert store.state().waiting["documents"] == 1
            _alter(postgres, "PASSWORD 'tests'")
            store.replay_while(lambda: True)
            eventually(lambda: store.state().detail == "")
        finally:
            access.give_back()
            store.close()


def test_an_embedded_postgres_is_served_from_the_first_start_on_and_again_after_it_was_killed(tmp_path: Path) -> None:
    env = {"DOCATLAS_POSTGRES": "embedded", "DOCATLAS_TEXT_MODEL": "hash", "DOCATLAS_FALLBACK_PROBE_S": "0.3"}
    data = tmp_path / "data"
    with contextlib.ExitStack() as stack:
        client = _started(stack, data, env)
        assert client.get("/health").json()["fallback"]["state"] == "closed"
        entry = client.post("/v1/documents", files={"files": ("harbour.md", CONTENT)}).json()["data"][0]
        wait_for_job(client, entry["job"]["id"], timeout_s=60)
        assert _found(client) == [entry["document"]["id"]]
        _kill_postgres(data)
        # Counted, not seen: on a quick machine it is open for less time than it takes to look.
        eventually(lambda: 'docatlas_fallback_events_total{event="opened"} 1.0' in client.get("/metrics").text)
        eventually(lambda: client.get("/health").json()["fallback"]["state"] == "closed")
        assert _found(client) == [entry["document"]["id"]]
    with contextlib.ExitStack() as stack:
        client = _started(stack, data, env)
        assert client.get("/health").json()["fallback"]["state"] == "closed"
        assert _found(client) == [entry["document"]["id"]]


def _started(stack: contextlib.ExitStack, data: Path, env: dict[str, str]) -> httpx.Client:
    server: Server = start(data, env=env)
    stack.callback(server.stop)
    server.wait_for("/readyz", timeout_s=120)
    return stack.enter_context(connect(server))


def _found(client: httpx.Client) -> list[str]:
    hits = client.post("/v1/search", json={"query": "basalt", "mode": "keyword"}).json()["data"]
    return [hit["document"]["id"] for hit in hits]


def _kill_postgres(data: Path) -> None:
    pid = int((data / "postgres" / "data" / "postmaster.pid").read_text("ascii").splitlines()[0])
    postmaster = psutil.Process(pid)
    everybody = [postmaster, *postmaster.children(recursive=True)]
    for process in everybody:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def _role_url(database: DatabaseUrls) -> str:
    return _with(database.server_url, user=ROLE, password="tests")


@contextlib.contextmanager
def _role(database: DatabaseUrls, rights: str) -> Iterator[None]:
    with psycopg.connect(database.admin_url.rpartition("/")[0] + "/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {ROLE} PASSWORD 'tests' {rights}".encode())
        admin.execute(f"GRANT anon, authenticated, service_role TO {ROLE} WITH INHERIT FALSE".encode())
        try:
            yield
        finally:
            admin.execute(f"DROP ROLE {ROLE}".encode())


def _alter(database: DatabaseUrls, what: str) -> None:
    with psycopg.connect(database.admin_url.rpartition("/")[0] + "/postgres", autocommit=True) as admin:
        admin.execute(f"ALTER ROLE {ROLE} {what}".encode())
