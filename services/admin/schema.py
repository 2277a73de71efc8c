"""Shows and upgrades the schema of the database that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from database.opening import open_store
from database.store import MigrationState
from services.errors import CapabilityMissing
from services.settings import Settings


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of one database."""

    place: str
    """Which database it is, for people to read; holds no secret."""
    upgrade: Callable[[], Sequence[str]]
    """Applies what is missing; returns the versions, oldest first. Raises MigrationError."""
    status: Callable[[], Sequence[MigrationState]]
    """Every known migration, oldest first. Raises MigrationError."""


@contextmanager
def open_schema(settings: Settings) -> Iterator[Schema]:
    """The schema of the configured database, for the length of a block.

    An embedded server runs meanwhile. Raises StoreError when the database cannot be reached; `upgrade` raises
    CapabilityMissing (`database_admin_url_missing`) without a role that may create tables.
    """
    if settings.database_url is not None or settings.database_admin_url is not None:
        yield _external(settings)
    elif settings.postgres == "embedded":
        from database.postgres.embedded import EmbeddedPostgres

        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with EmbeddedPostgres(settings.data_dir / "postgres") as server:
            yield _postgres(settings, describe_database(settings), server.server_url, server.admin_url)
    else:
        store = open_store(settings.data_dir)
        try:
            yield Schema(describe_database(settings), store.upgrade, store.migration_status)
        finally:
            store.close()


def describe_database(settings: Settings) -> str:
    """Names the database of these settings for people to read; holds no secret."""
    if settings.database_url is not None:
        return _address(settings.database_url.get_secret_value())
    if settings.postgres == "embedded":
        return f"the embedded PostgreSQL in {settings.data_dir / 'postgres'}"
    return f"the SQLite file in {settings.data_dir}"


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"PostgreSQL at {parts.hostname or 'localhost'}:{parts.port or 5432}, database {parts.path.strip('/')}"


def _external(settings: Settings) -> Schema:
    server_url, admin_url = _revealed(settings.database_url), _revealed(settings.database_admin_url)
    return _postgres(settings, _address(admin_url or server_url or ""), server_url, admin_url)


def _postgres(settings: Settings, place: str, server_url: str | None, admin_url: str | None) -> Schema:
    from database.postgres import migrations

    connecting = migrations.Connecting(
        sslmode=settings.database_sslmode,
        sslrootcert=settings.database_sslrootcert,
        timeout_s=settings.database_connect_timeout_s,
    )

    def upgrade() -> Sequence[str]:
        if admin_url is None:
            raise CapabilityMissing(
                "Creating tables needs a role that may do so. Set DOCATLAS_DATABASE_ADMIN_URL to its "
                "postgresql://... address for this command, or use `supabase db push`.",
                code="database_admin_url_missing",
            )
        return migrations.upgrade(admin_url, server_url=server_url, connecting=connecting)

    def status() -> Sequence[MigrationState]:
        # The administrator, where there is one: the server's role may not exist yet.
        return migrations.status(admin_url or server_url or "", connecting=connecting)

    return Schema(place, upgrade, status)


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
