"""The database that the settings name, opened and migrated."""

from __future__ import annotations

from pydantic import SecretStr

from database.store import Store, open_store
from services.errors import CapabilityMissing
from services.settings import Settings


def open_configured_store(settings: Settings) -> Store:
    """The store on the newest schema; what it opens is closed by `Store.close`.

    Raises CapabilityMissing (`migrations_pending`) for a Postgres that has migrations to run and no admin's URL.
    """
    if settings.database_url is None:
        local = open_store(settings.data_dir)
        local.upgrade()
        return local
    return _open_postgres(settings, settings.database_url)


def _open_postgres(settings: Settings, url: SecretStr) -> Store:
    from database.postgres.engine import PostgresOptions
    from database.postgres.store import PostgresStore

    admin_url = settings.database_admin_url
    options = PostgresOptions(
        url.get_secret_value(),
        pool_size=settings.database_pool_size,
        connect_timeout_s=settings.database_connect_timeout_s,
        statement_timeout_s=settings.database_statement_timeout_s,
        lock_timeout_s=settings.database_lock_timeout_s,
        sslmode=settings.database_sslmode,
        sslrootcert=settings.database_sslrootcert,
    )
    store = PostgresStore(
        options,
        admin_url=None if admin_url is None else admin_url.get_secret_value(),
        exact_rows=settings.database_exact_rows,
    )
    if admin_url is not None:
        store.upgrade()
    pending = [state.name for state in store.migration_status() if state.applied_at is None]
    if pending:
        raise CapabilityMissing(
            f"The database has {len(pending)} migrations to run. Run `docatlas db upgrade` with "
            "DOCATLAS_DATABASE_ADMIN_URL set to a role that may create tables.",
            code="migrations_pending",
        )
    return store
