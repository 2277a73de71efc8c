"""Profiles follow Supabase's `auth.users`, with everything that hangs on them; owners never read what logs them in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import ProgrammingError

from database.accounts import accounts, api_keys
from database.accounts import sessions as account_sessions
from database.ids import new_id
from database.postgres import migrations
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import SERVICE_ACTOR, Actor, worker_for
from tests.support.postgres_server import DatabaseUrls, PostgresServer
from tests.support.store_cases import digest, submit

AUTH_USERS = "CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, raw_user_meta_data jsonb)"
EARLY = "6f1c0a52-9d0e-4a57-8f3b-0d8f2c1e7a90"


@pytest.fixture(scope="module")
def supabase(postgres_server: PostgresServer) -> Iterator[DatabaseUrls]:
    """A database as a Supabase project has it before Docatlas comes: `auth.users` with somebody in it."""
    urls = postgres_server.new_database(migrated=False)
    bootstrap = Path(migrations.__file__).with_name("bootstrap.sql").read_bytes()
    with psycopg.connect(urls.admin_url) as admin:
        admin.execute(bootstrap)
        admin.execute(AUTH_USERS)
        admin.execute("""INSERT INTO auth.users VALUES (%s, 'e@x.org', '{"full_name": "Early"}')""", (EARLY,))
    migrations.upgrade(urls.admin_url, server_url=urls.server_url)
    yield urls
    postgres_server.drop(urls)


@pytest.fixture
def store(supabase: DatabaseUrls) -> Iterator[PostgresStore]:
    opened = PostgresStore(PostgresOptions(supabase.server_url), admin_url=supabase.admin_url)
    yield opened
    opened.close()


@pytest.fixture
def admin(supabase: DatabaseUrls) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(supabase.admin_url, autocommit=True) as connection:
        yield connection


def name_of(store: PostgresStore, user_id: str) -> str | None:
    with store.begin(SERVICE_ACTOR) as tx:
        found = [user for user in accounts.list_users(tx, after=None, limit=100) if user.user_id == user_id]
    return found[0].display_name if found else None


def test_users_who_were_there_before_have_a_profile(store: PostgresStore) -> None:
    assert name_of(store, EARLY) == "Early"


def test_a_profile_follows_its_user(store: PostgresStore, admin: psycopg.Connection[tuple[object, ...]]) -> None:
    user_id = new_id()
    admin.execute("INSERT INTO auth.users VALUES (%s, 'a@x.org', NULL)", (user_id,))
    assert name_of(store, user_id) == ""
    admin.execute("""UPDATE auth.users SET raw_user_meta_data = '{"name": "Ada"}' WHERE id = %s""", (user_id,))
    assert name_of(store, user_id) == "Ada"
    submit(store, "a.txt", actor=Actor(user_id))
    with store.begin(worker_for(user_id), write=True) as tx:
        api_keys.add(tx, name="k", prefix="dak_", key_hash=digest(user_id), scopes=["read"], expires_at=None)
        accounts.add(tx, user_id, "ada@example.org", "hash", is_offline=True)
        account_sessions.add(
            tx, user_id, digest("t" + user_id), family_id=new_id(), expires_at="2099-01-01T00:00:00.000000Z"
        )
    admin.execute("DELETE FROM auth.users WHERE id = %s", (user_id,))
    for table in ("users", "documents_metadata", "jobs", "api_keys", "local_accounts", "refresh_tokens"):
        row = admin.execute(f"SELECT count(*) FROM public.{table} WHERE user_id = %s", (user_id,)).fetchone()
        assert row == (0,), table
    with store.begin(SERVICE_ACTOR) as tx:
        assert accounts.block_of(tx, user_id) == "deleted"
    admin.execute("INSERT INTO auth.users VALUES (%s, 'a@x.org', NULL)", (user_id,))
    with store.begin(SERVICE_ACTOR) as tx:
        assert accounts.block_of(tx, user_id) is None


def test_an_owner_reads_keys_and_never_a_hash(store: PostgresStore) -> None:
    with store.begin(worker_for(EARLY), write=True) as tx:
        made = api_keys.add(tx, name="k", prefix="dak_", key_hash=digest("k"), scopes=["read"], expires_at=None)
    with store.begin(Actor(EARLY)) as tx:
        assert [key.key_id for key in api_keys.list_page(tx, limit=10, cursor=None).data] == [made.key_id]
    with store.begin(Actor(new_id())) as tx:
        assert api_keys.list_page(tx, limit=10, cursor=None).data == []
    for statement in (
        "SELECT key_hash FROM api_keys",
        "SELECT * FROM api_keys",
        "DELETE FROM api_keys",
        "SELECT count(*) FROM local_accounts",
        "SELECT count(*) FROM refresh_tokens",
        "SELECT count(*) FROM blocked_users",
    ):
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            store.begin(Actor(EARLY), write=True) as tx,
        ):
            tx.connection.exec_driver_sql(statement)
