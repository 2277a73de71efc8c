"""Two owners with a row in every table, everybody who may ask, and what Postgres answers each of them.

The tests compare `matrix` with what tests/database/postgres/test_isolation_matrix.py declares;
`python -m bench.isolation` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from database.accounts import accounts, api_keys
from database.accounts import sessions as account_sessions
from database.documents import children, documents, images, searches
from database.documents import document_aliases as aliases
from database.ids import format_time, new_id
from database.postgres.engine import PostgresOptions
from database.postgres.migrations import upgrade
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, Actor, worker_for
from database.store import Store
from tests.support.postgres_server import DatabaseUrls, PostgresServer
from tests.support.store_cases import OTHER_ACTOR, add_document, digest, image, prepare, submit, unit

VICTIM, STRANGER = LOCAL_ACTOR, OTHER_ACTOR
GATEWAY = "tests_gateway"
"""A login role as the one of Supabase's REST server: it may become the same roles as docatlas_server."""
GATEWAY_PASSWORD = "tests"
VERBS = ("select", "insert", "update", "delete")
ASKERS = ("owner", "owner over REST", "other user", "anonymous", "service", "no actor")

Connection = psycopg.Connection[tuple[Any, ...]]


class _UndoneError(Exception):
    """Ends a transaction of which nothing is to stay."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one owner has."""

    actor: Actor
    document_id: str
    child_id: str
    chunk_id: str
    image_id: str
    job_id: str
    search_id: str
    key_id: str
    alias_id: str
    words: str
    sha256: str


class Ground:
    """A database on which two owners have the same kinds of rows. Close it."""

    def __init__(self, urls: DatabaseUrls) -> None:
        self.urls = urls
        self.store = PostgresStore(PostgresOptions(urls.server_url), admin_url=urls.admin_url)
        prepare(self.store)
        self.victim = hold(self.store, VICTIM, "victim")
        with self.as_actor(SERVICE_ACTOR, keep=True) as connection:
            connection.execute("INSERT INTO write_probes (filling) VALUES ('x')")
        self.stranger = hold(self.store, STRANGER, "stranger")
        with psycopg.connect(urls.admin_url, autocommit=True) as admin:
            found = admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [GATEWAY]).fetchone()
            if found is None:
                admin.execute(f"CREATE ROLE {GATEWAY} LOGIN NOINHERIT PASSWORD '{GATEWAY_PASSWORD}'")
                admin.execute(f"GRANT anon, authenticated, service_role TO {GATEWAY}")

    def close(self) -> None:
        self.store.close()

    @contextmanager
    def asking(self, asker: str) -> Iterator[Connection]:
        """A transaction of `asker`, of which nothing stays. The owner is the victim, the other user the stranger."""
        if asker == "no actor":
            with psycopg.connect(self.urls.server_url) as connection:
                yield connection
                connection.rollback()
            return
        if asker.endswith("over REST"):
            with self.over_rest(f'{{"sub": "{VICTIM.user_id}", "role": "authenticated"}}') as connection:
                yield connection
            return
        with self.as_actor(_ACTORS[asker]) as connection:
            yield connection

    @contextmanager
    def as_actor(self, actor: Actor, *, keep: bool = False) -> Iterator[Connection]:
        """The driver's connection in a writing transaction of the store's, of which nothing stays unless `keep`."""
        try:
            with self.store.begin(actor, write=True) as tx:
                driver = tx.connection.connection.driver_connection
                assert isinstance(driver, psycopg.Connection)
                yield driver
                if not keep:
                    raise _UndoneError
        except _UndoneError:
            pass

    @contextmanager
    def over_rest(self, claims: str | None, *, role: str = "authenticated") -> Iterator[Connection]:
        """A transaction as Supabase's REST server opens it: another login role, which becomes the token's."""
        url = self.urls.server_url
        host = url.rpartition("@")[2]
        with psycopg.connect(f"postgresql://{GATEWAY}:{GATEWAY_PASSWORD}@{host}") as connection:
            connection.execute("SELECT set_config('role', %s, true)", [role])
            connection.execute("SELECT set_config('search_path', 'public, extensions', true)")
            if claims is not None:
                connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
            yield connection
            connection.rollback()

    @contextmanager
    def as_admin(self) -> Iterator[Connection]:
        with psycopg.connect(self.urls.admin_url) as connection:
            connection.execute("SET search_path = public, extensions")
            yield connection
            connection.rollback()

    def rows_of(self, actor: Actor) -> Mapping[str, int]:
        """How many rows the owner has, by table."""
        with self.as_admin() as connection:
            return {
                table: _one(connection, f"SELECT count(*) FROM {table} WHERE {of_owner(connection, table, actor)}")
                for table in tables(connection)
            }


_ACTORS: Mapping[str, Actor] = {
    "owner": VICTIM,
    "other user": STRANGER,
    "anonymous": Actor(VICTIM.user_id, "anonymous"),
    "service": SERVICE_ACTOR,
}


@contextmanager
def open_ground(server: PostgresServer) -> Iterator[Ground]:
    """A ground on a database with the default privileges of a Supabase project, which give away what is not taken back.

    Source: supabase/postgres, migrations/db/init-scripts/00000000000000-initial-schema.sql.
    """
    server.drop(server.new_database())  # makes the roles, where this is the first database
    urls = server.new_database(migrated=False)
    with psycopg.connect(urls.admin_url, autocommit=True) as admin:
        for kind in ("TABLES", "FUNCTIONS", "SEQUENCES"):
            admin.execute(
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {kind} TO anon, authenticated, service_role"
            )
    upgrade(urls.admin_url, server_url=urls.server_url)
    ground = Ground(urls)
    try:
        yield ground
    finally:
        ground.close()
        server.drop(urls)


def hold(store: Store, actor: Actor, name: str) -> Held:
    """Gives the owner a row in every table."""
    words = f"{name} only"
    document_id, chunk_ids = add_document(
        store, f"{words} passage", [unit(1 if name == "victim" else 2)], actor=actor, metadata={"of": name}
    )
    with store.begin(actor, write=True) as tx:
        search = searches.record(
            tx, query_text=words, query_embedding=unit(3), results_found=1, metadata={"mode": "hybrid"}
        )
    picture = image(0, name)
    job = submit(store, f"{name} queued", actor=actor).job
    assert job is not None
    worker = worker_for(actor.user_id)
    later = _in_a_year()
    with store.begin(worker, write=True) as tx:
        images.write_image(tx, document_id, 1, picture)
        images.set_image_vectors(tx, "clip", {picture.image_id: unit(5)})
        parent = documents.get(tx, document_id)
        assert parent is not None
        child_id = children.add(
            tx,
            parent,
            filename=f"{name} child",
            file_type="text",
            media_type="text/plain",
            file_size=1,
            sha256=digest(f"{name} child"),
            options={},
        )
        assert accounts.add(tx, actor.user_id, f"{name}@example.org", "$argon2id$x", display_name=name)
        account_sessions.add(tx, actor.user_id, digest(f"{name} token"), family_id=new_id(), expires_at=later)
        accounts.disable(tx, actor.user_id)
        alias_id = new_id()
        aliases.add(tx, actor.user_id, {alias_id: document_id})
        key = api_keys.add(
            tx, name=name, prefix="dk_", key_hash=digest(f"{name} key"), scopes=["read"], expires_at=None
        )
    return Held(
        actor,
        document_id,
        child_id,
        chunk_ids[0],
        picture.image_id,
        job.job_id,
        search.search_id,
        key.key_id,
        alias_id,
        words,
        digest(f"{words} passage"),
    )


def _in_a_year() -> str:
    return format_time(datetime.now(UTC) + timedelta(days=365))


def tables(connection: Connection) -> list[str]:
    """Everything in schema `public` that holds rows: tables, views, foreign tables."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r','p','v','m','f') "
        "ORDER BY relname"
    )
    return [str(row[0]) for row in rows.fetchall()]


def matrix(ground: Ground) -> Mapping[str, Mapping[str, str]]:
    """What each asker gets for select, insert, update and delete of the victim's rows, by table.

    `rows`: all of them; `none`: no row; `denied`: no right to; `policy`: refused by row level security.
    """
    with ground.as_admin() as admin:
        names = tables(admin)
        copies = {table: _copied_row(admin, table) for table in names}
        theirs = {table: of_owner(admin, table, VICTIM) for table in names}
    wanted = ground.rows_of(VICTIM)
    return {
        table: {
            asker: " ".join(
                _outcome(ground, asker, verb, table, theirs[table], copies[table], wanted[table]) for verb in VERBS
            )
            for asker in ASKERS
        }
        for table in names
    }


def of_owner(connection: Connection, table: str, actor: Actor) -> str:
    """A condition for the owner's rows; of a table without owners, for all."""
    has_owner = connection.execute(
        "SELECT FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'user_id'", [f"public.{table}"]
    ).fetchone()
    return "true" if has_owner is None else f"user_id = '{actor.user_id}'"


def _outcome(
    ground: Ground, asker: str, verb: str, table: str, theirs: str, copy: Mapping[str, Any], wanted: int
) -> str:
    with ground.asking(asker) as connection:
        try:
            if verb == "select":
                touched = _one(connection, f"SELECT count(*) FROM {table} WHERE {theirs}")
            elif verb == "insert":
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier("public", table),
                    sql.SQL(", ").join(map(sql.Identifier, copy)),
                    sql.SQL(", ").join(sql.Placeholder() for _ in copy),
                )
                touched = wanted * connection.execute(statement, list(copy.values())).rowcount
            elif verb == "update":
                column = _CHANGED.get(table, "user_id")
                change = sql.SQL("UPDATE {} SET {} = {} WHERE ").format(
                    sql.Identifier("public", table), sql.Identifier(column), sql.Literal(copy[column])
                )
                touched = connection.execute(change + _sql(theirs)).rowcount
            else:
                touched = connection.execute(_sql(f"DELETE FROM {table} WHERE {theirs}")).rowcount
        except psycopg.errors.UniqueViolation:
            touched = wanted  # one account for each user: the right and the policy let it pass, the key did not
        except psycopg.errors.InsufficientPrivilege as error:
            return "policy" if "row-level security" in str(error) else "denied"
    return {0: "none", wanted: "rows"}.get(touched, f"{touched}!")


def _copied_row(admin: Connection, table: str) -> dict[str, Any]:
    """A row of the victim's with other keys, so that nothing but a policy or a missing right can refuse it."""
    columns = admin.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass "
        "AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = '' ORDER BY attnum",
        [f"public.{table}"],
    ).fetchall()
    names = [str(row[0]) for row in columns]
    listed = ", ".join(f'"{name}"::text' for name in names)
    row = admin.execute(_sql(f"SELECT {listed} FROM {table} WHERE {of_owner(admin, table, VICTIM)} LIMIT 1")).fetchone()
    assert row is not None, f"{table}: hold() gives no row of it to anybody"
    copy = dict(zip(names, row, strict=True))
    for column, fresh in _FRESH.get(table, {}).items():
        copy[column] = fresh()
    return copy


_CHANGED = {"users": "display_name", "blocked_users": "reason", "write_probes": "filling"}
"""What an update changes, to what it is already, where `user_id` cannot be changed by anybody or is not there."""

_FRESH: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "api_keys": {"key_id": new_id, "key_hash": lambda: digest(new_id())},
    "blocked_users": {"user_id": new_id},
    "document_aliases": {"alias_id": new_id},
    "document_embeddings": {"chunk_id": new_id, "generation": lambda: "900"},
    "document_images": {"image_id": new_id, "ordinal": lambda: "900"},
    "document_pages": {"generation": lambda: "900"},
    "documents_metadata": {"document_id": new_id, "sha256": lambda: digest(new_id())},
    "jobs": {"job_id": new_id, "generation": lambda: "900"},
    "refresh_tokens": {"token_hash": lambda: digest(new_id())},
    "similarity_searches": {"search_id": new_id},
    "users": {"user_id": new_id},
}
"""Columns that have to differ from the row that is there."""


def as_table(found: Mapping[str, Mapping[str, str]]) -> str:
    """The matrix as Markdown: a line for each table, a column for each asker."""
    lines = ["| table | " + " | ".join(ASKERS) + " |", "| --- " * (len(ASKERS) + 1) + "|"]
    for table, outcomes in found.items():
        lines.append(f"| `{table}` | " + " | ".join(_short(outcomes[asker]) for asker in ASKERS) + " |")
    return "\n".join(lines)


def _short(outcomes: str) -> str:
    words: Sequence[str] = outcomes.split()
    return words[0] if len(set(words)) == 1 else ", ".join(words)


def _one(connection: Connection, statement: str) -> int:
    row = connection.execute(_sql(statement)).fetchone()
    assert row is not None
    return int(row[0])


def _sql(statement: str) -> sql.SQL:
    return sql.SQL(statement)
