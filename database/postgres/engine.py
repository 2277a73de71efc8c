"""Connections to Postgres.

There is one pool, no prepared statement, and no transaction without an actor.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

from database.columns import known_id, to_json
from database.errors import UnsafeLogin
from database.postgres.errors import translating
from database.postgres.hanging import GuardedConnection, HangGuard, connect
from database.records import Actor, Role

_ROLES: dict[Role, str] = {
    "owner": "authenticated",
    "worker": "service_role",
    "service": "service_role",
    "anonymous": "anon",
}
WRITERS_LOCK = 7_402_114
"""Key of the advisory lock that owners' writers share and the service's take alone; any number that is ours."""
OWNER_LOCKS = 7_402_115
"""First key of the locks of single owners; the second is a hash of the owner."""

_BECOME = (
    "SELECT set_config('role', :role, true), set_config('request.jwt.claims', :claims, true), "
    # The old way to say who asks, which auth.uid() looks at first: nothing of another's is left in a pooled session.
    "set_config('request.jwt.claim.sub', '', true), set_config('request.jwt.claim.role', '', true), "
    "set_config('search_path', 'public, extensions', true), "
    "set_config('statement_timeout', :statement_timeout, true), set_config('lock_timeout', :lock_timeout, true), "
    "set_config('idle_in_transaction_session_timeout', :idle_timeout, true)"
)
# One statement with the settings: they hold from there on, and a round trip is saved.
_AS_READER = text(_BECOME)
_AS_OWNER = text(
    f"{_BECOME}, pg_advisory_xact_lock_shared({WRITERS_LOCK}), pg_advisory_xact_lock({OWNER_LOCKS}, hashtext(:owner))"
)
_AS_SERVICE = text(f"{_BECOME}, pg_advisory_xact_lock({WRITERS_LOCK})")
_LOGIN_ROLE = text(
    "SELECT r.rolname, r.rolsuper, r.rolbypassrls, r.rolinherit, EXISTS (SELECT FROM pg_class c "
    "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND "
    "(has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') "
    "OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))) "
    "FROM pg_roles r WHERE r.rolname = session_user"
)
_FAULTS = ("is a superuser", "passes row level security", "inherits other roles", "has rights on tables")
IDLE_IN_TRANSACTION_S = 120.0
"""The server ends a transaction that its program has forgotten; ours hold no model call and no reading of files."""
IDLE_IN_WRITE_S = 30.0
"""The same of one that writes: what it locks, other nodes wait for, and this one may have been stopped for good."""

ANSWER_GRACE_S = 5.0
"""How much later than the server's own time-out for a statement an answer may come before the connection is cut."""


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """How Postgres is reached. `url` holds a password: do not print it."""

    url: str
    """`postgresql://...` of the login role, which has no rights of its own."""
    pool_size: int = 10
    connect_timeout_s: float = 5.0
    statement_timeout_s: float = 30.0
    lock_timeout_s: float = 10.0
    sslmode: str = "prefer"
    sslrootcert: Path | None = None

    def __repr__(self) -> str:
        return f"PostgresOptions({make_url(self.url).render_as_string(hide_password=True)})"


class PostgresConnections:
    """The pool of one process.

    Thread-safe; opens nothing before the first transaction.
    """

    def __init__(self, options: PostgresOptions) -> None:
        self.options = options
        self.guard = HangGuard(options.statement_timeout_s + ANSWER_GRACE_S)
        self._engine = _engine(options, self.guard)
        self._is_closed = threading.Event()
        event.listen(self._engine, "checkin", self._close_late)
        self._of_thread = threading.local()

    @contextmanager
    def begin(self, actor: Actor, *, write: bool, patience_s: float | None = None) -> Iterator[Connection]:
        """A transaction in which every statement runs as the actor's role.

        With the actor's claims. A reading one sees one state of the database and cannot write. Writers of one owner
        follow one another, and the service's writers follow all others: what a transaction reads before it writes is
        still so when it writes. `patience_s`: how long it waits for a lock, where that is less than the option says.
        Raises StoreBusy and StoreUnavailable, and RuntimeError for a writer inside another one of the same thread,
        which would wait for itself.
        """
        with self._only_writer() if write else nullcontext(), self._transaction(actor, write, patience_s) as connection:
            yield connection

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        if getattr(self._of_thread, "is_writing", False):
            raise RuntimeError("a writing transaction was begun inside another one, for which it would wait for ever")
        self._of_thread.is_writing = True
        try:
            yield
        finally:
            self._of_thread.is_writing = False

    @contextmanager
    def _transaction(self, actor: Actor, write: bool, patience_s: float | None) -> Iterator[Connection]:
        with translating(writes=write), self._engine.connect() as pooled:
            connection = pooled.execution_options(
                isolation_level="READ COMMITTED" if write else "REPEATABLE READ", postgresql_readonly=not write
            )
            with connection.begin():
                self._become(connection, actor, write, patience_s)
                yield connection

    def check_login_role(self) -> None:
        """Returns when the login role can do nothing by itself.

        Raises UnsafeLogin when it is a superuser, passes row level security, inherits the roles it may become, or has
        a right on some table; StoreBusy and StoreUnavailable.
        """
        with translating(writes=False), self._engine.connect() as connection:
            row = connection.execute(_LOGIN_ROLE).one()
        faults = [words for words, is_so in zip(_FAULTS, row[1:], strict=True) if is_so]
        if faults:
            raise UnsafeLogin(
                f"the database role {row[0]!r} {' and '.join(faults)}, so a statement without an owner could read "
                "everybody's rows. Log in as docatlas_server (DOCATLAS_DATABASE_URL) and give the other one as "
                "DOCATLAS_DATABASE_ADMIN_URL to `docatlas db upgrade`"
            )

    def close(self) -> None:
        """Closes the connections that nobody uses; one in use is closed when its transaction ends."""
        self._is_closed.set()
        self._engine.dispose()

    def _close_late(self, connection: GuardedConnection | None, record: Any) -> None:
        """Closes a connection that comes back when its pool is gone, which would forget it while it is open."""
        if connection is not None and self._is_closed.is_set():
            connection.close()

    def _become(self, connection: Connection, actor: Actor, write: bool, patience_s: float | None) -> None:
        role = _ROLES[actor.role]
        lock_timeout_s = self.options.lock_timeout_s
        claims: dict[str, Any] = {"role": role}
        if actor.role in ("owner", "worker"):
            # What is no id stands for nobody, and is no error of auth.uid().
            claims["sub"] = known_id(actor.user_id)
        given = {
            "role": role,
            "claims": json.dumps(claims),
            "statement_timeout": _milliseconds(self.options.statement_timeout_s),
            "lock_timeout": _milliseconds(min(patience_s or lock_timeout_s, lock_timeout_s)),
            "idle_timeout": _milliseconds(IDLE_IN_WRITE_S if write else IDLE_IN_TRANSACTION_S),
        }
        if not write:
            connection.execute(_AS_READER, given)
        elif actor.is_service:
            connection.execute(_AS_SERVICE, given)
        else:
            connection.execute(_AS_OWNER, {**given, "owner": actor.user_id})


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(1000 * seconds))}ms"


def connection_arguments(options: PostgresOptions) -> dict[str, Any]:
    """How psycopg makes a connection, beside the URL."""
    arguments: dict[str, Any] = {
        # A pooler in transaction mode hands every transaction another session, which lacks what was prepared before.
        # Source: psycopg documentation, "Prepared statements", "Using prepared statements with PgBouncer".
        "prepare_threshold": None,
        "connect_timeout": max(2, round(options.connect_timeout_s)),
        "sslmode": options.sslmode,
        "application_name": "docatlas",
    }
    if options.sslrootcert is not None:
        arguments["sslrootcert"] = str(options.sslrootcert)
    # What the URL says goes first: `sslmode=verify-full` there must not become the setting's default.
    said = make_url(options.url).query
    return {name: value for name, value in arguments.items() if name not in said}


def _engine(options: PostgresOptions, guard: HangGuard) -> Engine:
    engine = create_engine(
        make_url(options.url).set(drivername="postgresql+psycopg"),
        connect_args=connection_arguments(options),
        pool_size=options.pool_size,
        max_overflow=0,
        pool_timeout=options.lock_timeout_s,
        pool_pre_ping=True,
        pool_recycle=1800,
        json_serializer=to_json,
        hide_parameters=True,
    )

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> GuardedConnection:
        return connect(guard, *arguments, **options)

    return engine
