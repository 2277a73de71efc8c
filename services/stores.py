"""Opens the database that the settings name, and the fallback beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from database.errors import LoginRefused, MigrationError, UnsafeLogin
from database.fallback.base import Fallback
from database.fallback.none import NoFallback
from database.opening import open_store
from database.store import Store
from services.errors import CapabilityMissing
from services.settings import Settings

if TYPE_CHECKING:
    from database.fallback.store import FallbackStore
    from database.postgres.store import PostgresStore


class MigrationsPending(MigrationError):
    """Migrations are missing, and nobody here may run them."""


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """A store, and what stands in for its database; closing the store closes both."""

    store: Store
    fallback: Fallback


def open_configured_store(settings: Settings) -> OpenedStore:
    """The store on the newest schema; what it opens is closed by `Store.close`.

    A Postgres that cannot be reached is no error where `settings.fallback` lets this node work on alone. Raises
    CapabilityMissing: `migrations_pending` for a Postgres that has migrations to run and no admin's URL,
    `database_role_unsafe` for a login role that has rights of its own, `database_login_refused` for one that lets this
    program not in; and other StoreErrors.
    """
    with _told():
        return _open(settings)


def _open(settings: Settings) -> OpenedStore:
    if settings.database_url is None and settings.postgres == "embedded":
        return _open_embedded(settings)
    if settings.database_url is None:
        local = open_store(settings.data_dir)
        local.upgrade()
        return OpenedStore(local, NoFallback(local))
    admin_url = settings.database_admin_url
    return _open_postgres(
        settings, settings.database_url.get_secret_value(), None if admin_url is None else admin_url.get_secret_value()
    )


def _open_embedded(settings: Settings) -> OpenedStore:
    """A store on the Postgres in the data folder, which ends with its last user."""
    from database.postgres.embedded import EmbeddedPostgres

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = EmbeddedPostgres(settings.data_dir / "postgres")
    server.start()
    with ExitStack() as undo:
        undo.callback(server.stop)
        # Killed, it would stay away: nobody else starts it.
        opened = _open_postgres(
            settings, server.server_url, server.admin_url, revive=server.start, on_close=server.stop
        )
        undo.pop_all()
    return opened


def _open_postgres(
    settings: Settings,
    url: str,
    admin_url: str | None,
    *,
    revive: Callable[[], None] = lambda: None,
    on_close: Callable[[], None] | None = None,
) -> OpenedStore:
    from database.postgres.engine import PostgresOptions
    from database.postgres.store import PostgresStore

    # What belongs to this node stays there: its id, the worker's lease, files.
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = PostgresOptions(
        url,
        pool_size=settings.database_pool_size,
        connect_timeout_s=settings.database_connect_timeout_s,
        statement_timeout_s=settings.database_statement_timeout_s,
        lock_timeout_s=settings.database_lock_timeout_s,
        sslmode=settings.database_sslmode,
        sslrootcert=settings.database_sslrootcert,
    )
    store = PostgresStore(
        options,
        admin_url=admin_url,
        exact_rows=settings.database_exact_rows,
        on_close=on_close,
    )
    try:
        if settings.fallback:
            standing = _open_fallback(settings, store, revive, upgrades=admin_url is not None)
            return OpenedStore(standing, standing)
        _make_ready(store, upgrades=admin_url is not None)
    except BaseException:
        store.close()
        raise
    return OpenedStore(store, NoFallback(store))


@contextmanager
def _told() -> Iterator[None]:
    """Raises CapabilityMissing for what the operator has to change before a start."""
    try:
        yield
    except UnsafeLogin as error:
        raise CapabilityMissing(_sentence(error), code="database_role_unsafe") from error
    except MigrationsPending as error:
        raise CapabilityMissing(_sentence(error), code="migrations_pending") from error
    except LoginRefused as error:
        raise CapabilityMissing(_sentence(error), code="database_login_refused") from error


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _open_fallback(
    settings: Settings, main: PostgresStore, revive: Callable[[], None], *, upgrades: bool
) -> FallbackStore:
    """`main`, and SQLite in a folder of its own for when it does not work.

    Opens also while `main` cannot be reached.
    """
    from database.fallback.store import FallbackStore
    from database.fallback.waiting_copies import FOLDER

    # Not the database of an installation without Postgres, whose documents belong to nobody else.
    return FallbackStore(
        main,
        open_store(settings.data_dir / FOLDER),
        prepare=lambda: _make_ready(main, upgrades=upgrades),
        revive=revive,
        failures=settings.fallback_failures,
        probe_s=settings.fallback_probe_s,
    )


def _make_ready(store: PostgresStore, *, upgrades: bool) -> None:
    """Returns once the schema is the newest and the login is safe.

    Raises UnsafeLogin, MigrationsPending, LoginRefused and other StoreErrors.
    """
    if upgrades:
        # Before the first login: it makes the role that the server logs in as, and gives it its password.
        try:
            store.upgrade()
        except LoginRefused as error:
            raise LoginRefused(f"{error} (this was the role of DOCATLAS_DATABASE_ADMIN_URL)") from error
    store.check_login()
    pending = [state.name for state in store.migration_status() if state.applied_at is None]
    if pending:
        raise MigrationsPending(
            f"The database has {len(pending)} migrations to run. Run `docatlas db upgrade` with "
            "DOCATLAS_DATABASE_ADMIN_URL set to a role that may create tables"
        )


def copies_on_node(settings: Settings) -> Mapping[str, int]:
    """How many documents, jobs and searches wait on this node.

    Empty where it never worked without Postgres.
    """
    from database.fallback.waiting_copies import waiting_copies

    return waiting_copies(settings.data_dir)
