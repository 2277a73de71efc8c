"""Copies a database into another one, rows and files.

No server may run on either meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
from sqlalchemy.exc import DBAPIError

from database.blobs.base import BlobStore
from database.blobs.local import LocalBlobStore
from database.blobs.opening import open_blobs
from database.copying.comparison import Progress, TableComparison
from database.copying.copying import Copied, CopyRefused, compare_stores, copy_rows
from database.copying.files import FileReport, bring_files
from database.opening import BUSY_TIMEOUT_S
from database.store import Store
from services.errors import CapabilityMissing, Conflict, InternalError, InvalidOption, NotFound
from services.settings import Settings

DATABASE_FILE = "docatlas.sqlite3"
SERVER_ROLE = "docatlas_server"
STATEMENT_TIMEOUT_S = 600.0
"""A batch takes seconds where an index over many vectors is kept in step; a request's limit is not meant for it."""
_FILE_ENDINGS = (".sqlite3", ".sqlite", ".db")
_SQLITE_HEADER = b"SQLite format 3\x00"
"""Source: sqlite.org/fileformat2.html, section 1.3.1."""


@dataclass(frozen=True, slots=True)
class Place:
    """A database that the command line or the settings name.

    Holds passwords: print `shown` only.
    """

    shown: str
    path: Path | None = None
    """The file of SQLite's."""
    url: str | None = None
    """Of Postgres."""
    admin_url: str | None = None
    """Of a role that may create tables there."""
    embedded: Path | None = None
    """The folder of an embedded server."""
    folder: Path | None = None
    """The data folder that belongs to it, where there is one on this machine."""

    @property
    def identity(self) -> tuple[object, ...]:
        """The same for two places that are one database."""
        if self.path is not None:
            return ("sqlite", self.path.resolve())
        if self.embedded is not None:
            return ("embedded", self.embedded.resolve())
        parts = urlsplit(self.url or "")
        # Behind Supabase's pooler projects differ in the user only: `<role>.<project>`.
        project = unquote(parts.username or "").partition(".")[2]
        return ("postgresql", parts.hostname, parts.port or 5432, parts.path, project)

    def __repr__(self) -> str:
        return f"Place({self.shown})"


def find_place(text: str | None, settings: Settings) -> Place:
    """The database that `text` names; the configured one for None.

    `text` is `sqlite:<data folder or file>` or `postgresql://...`. Raises InvalidOption for anything else.
    """
    if text is None:
        return _configured(settings)
    if text.startswith("sqlite:"):
        return _sqlite_place(text.removeprefix("sqlite:"), settings)
    scheme, separator, rest = text.partition("://")
    if separator and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgres_place(f"postgresql://{rest}", settings)
    raise InvalidOption(
        f"{masked(text)} names no database. Use sqlite:<data folder or file>, or postgresql://user@host:port/database."
    )


def masked(url: str) -> str:
    """`url` without its password and without its parameters, which may hold one."""
    parts = urlsplit(url)
    if not parts.netloc:
        return "What was given" if "@" in url else url.partition("?")[0]
    user, at, host = parts.netloc.rpartition("@")
    named = user.partition(":")[0]
    hidden = f"{named}:***" if ":" in user else named
    return f"{parts.scheme}://{hidden}{at}{host}{parts.path}"


def _configured(settings: Settings) -> Place:
    if settings.database_url is not None:
        return _postgres_place(settings.database_url.get_secret_value(), settings)
    if settings.postgres == "embedded":
        folder = settings.data_dir / "postgres"
        return Place(f"embedded PostgreSQL in {folder}", embedded=folder, folder=settings.data_dir)
    return _sqlite_place("", settings)


def _sqlite_place(text: str, settings: Settings) -> Place:
    # sqlite:///var/lib/docatlas is how others write an absolute path.
    named = text[2:] if text.startswith("///") else text
    path = Path(named).expanduser().absolute() if named else settings.data_dir
    is_file = path.is_file() or (not path.is_dir() and path.suffix in _FILE_ENDINGS)
    file = path if is_file else path / DATABASE_FILE
    return Place(f"sqlite:{file}", path=file, folder=file.parent)


def _postgres_place(url: str, settings: Settings) -> Place:
    """The database at `url`, with the URL of a role that may create tables.

    That is the configured administrator's where it is of the same database, or `url` where it is not the server's.
    """
    place = Place(masked(url), url=url)
    role = unquote(urlsplit(url).username or "").partition(".")[0]
    admin = settings.database_admin_url
    if admin is not None and Place("", url=admin.get_secret_value()).identity == place.identity:
        place = replace(place, admin_url=admin.get_secret_value())
    if place.admin_url is None and role and role != SERVER_ROLE:
        place = replace(place, admin_url=url)
    configured = settings.database_url
    if configured is not None and Place("", url=configured.get_secret_value()).identity == place.identity:
        place = replace(place, folder=settings.data_dir)
    return place


def copy_database(source: Place, target: Place, settings: Settings, progress: Progress) -> Copied:
    """Copies every row that `target` lacks, and compares both afterwards.

    See database.copying.copying.copy_rows. Raises NotFound without a source, Conflict while a server runs on one of the
    data folders or the two do not fit (nothing is overwritten), CapabilityMissing (`migrations_pending`), and
    StoreError.
    """
    with _both(source, target, settings, writes=True) as (ours, theirs):
        return copy_rows(ours, theirs, progress)


def copy_files(target: Place, settings: Settings, *, files_from: str | None, files_to: str | None) -> FileReport:
    """Copies the files that the rows of `target` refer to and that are missing there.

    Without `files_from` it only looks which are missing. `files_from` and `files_to` name a folder `blobs`, or are
    `supabase`: the configured bucket. Without `files_to` it is where a server on `target` reads its files.
    Raises InvalidOption, and BlobsUnavailable.
    """
    with ExitStack() as stack:
        there = _open_files(files_to or _files_of(target, settings), settings)
        stack.callback(there.close)
        here: BlobStore | None = None
        if files_from is not None:
            here = _open_files(files_from, settings)
            stack.callback(here.close)
        with _explaining():
            store = stack.enter_context(_opened(target, settings))
            return bring_files(store, there, here)


def _files_of(place: Place, settings: Settings) -> str:
    if settings.blob_storage == "supabase" and place.path is None:
        return "supabase"
    return str((place.folder or settings.data_dir) / "blobs")


def _open_files(text: str, settings: Settings) -> BlobStore:
    if text != "supabase":
        return LocalBlobStore(Path(text).expanduser().absolute())
    key = settings.supabase_service_key
    if not settings.supabase_url or key is None:
        raise InvalidOption("Files in Supabase Storage need DOCATLAS_SUPABASE_URL and DOCATLAS_SUPABASE_SERVICE_KEY.")
    return open_blobs(
        "supabase",
        settings.data_dir / "blobs",
        supabase_url=settings.supabase_url,
        service_key=key.get_secret_value(),
        bucket=settings.storage_bucket,
        cache_bytes=settings.storage_cache_bytes,
    )


def compare_databases(
    source: Place, target: Place, settings: Settings, progress: Progress
) -> Sequence[TableComparison]:
    """Compares every row of two databases; writes nothing.

    Raises what `copy_database` raises.
    """
    with _both(source, target, settings, writes=False) as (ours, theirs):
        return compare_stores(ours, theirs, progress)


@contextmanager
def _both(source: Place, target: Place, settings: Settings, *, writes: bool) -> Iterator[tuple[Store, Store]]:
    if source.identity == target.identity:
        raise InvalidOption(f"Both are {source.shown}. Name two databases with --from and --to.")
    _require_source(source)
    if not writes:
        _require_source(target)
    with ExitStack() as stack:
        for folder in {place.folder.resolve(): place for place in (source, target) if place.folder is not None}:
            stack.enter_context(_holding_lease(folder))
        with _explaining():
            ours = stack.enter_context(_opened(source, settings))
            _require_schema(ours, source)
            theirs = stack.enter_context(_opened(target, settings))
            if writes and (target.path is not None or target.admin_url is not None or target.embedded is not None):
                theirs.upgrade()
            _require_schema(theirs, target)
            yield ours, theirs


def _require_source(place: Place) -> None:
    """Returns when there is a database, which opening would else make.

    Raises NotFound where there is none, and InvalidOption for a file of another kind.
    """
    if place.embedded is not None and not (place.embedded / "data").is_dir():
        raise NotFound(f"There is no embedded PostgreSQL in {place.embedded}. Check the path.")
    if place.path is None:
        return
    if not place.path.is_file():
        raise NotFound(f"There is no database {place.path}. Check the path; nothing was made.")
    with place.path.open("rb") as file:
        if file.read(len(_SQLITE_HEADER)) != _SQLITE_HEADER:
            raise InvalidOption(f"{place.path} is not a SQLite database.")


def _require_schema(store: Store, place: Place) -> None:
    missing = [state for state in store.migration_status() if state.applied_at is None]
    if not missing:
        return
    if place.path is not None:
        command = f"`docatlas db upgrade --data-dir {place.path.parent}`"
    else:
        command = (
            "`docatlas db upgrade` with DOCATLAS_DATABASE_URL and, of a role that may create tables, "
            "DOCATLAS_DATABASE_ADMIN_URL"
        )
    raise CapabilityMissing(
        f"{place.shown} lacks {len(missing)} migrations, from {missing[0].version}_{missing[0].name} on. "
        f"Run {command} first.",
        code="migrations_pending",
    )


@contextmanager
def _holding_lease(folder: Path) -> Iterator[None]:
    """Holds the worker's lease of a data folder, so that no server runs jobs on it.

    Raises Conflict while one does.
    """
    from services.jobs.worker import WorkerLease

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lease = WorkerLease(folder)
    if not lease.take():
        raise Conflict(
            f"A server runs on {folder}. Stop it first: what it writes meanwhile would be missing in the copy.",
            code="server_running",
        )
    try:
        yield
    finally:
        lease.give_back()


@contextmanager
def _opened(place: Place, settings: Settings) -> Iterator[Store]:
    with ExitStack() as stack:
        store = _open(place, settings, stack.callback)
        stack.callback(store.close)
        yield store


def _open(place: Place, settings: Settings, on_exit: Callable[[Callable[[], None]], object]) -> Store:
    if place.path is not None:
        from database.sqlite.store import SqliteStore

        return SqliteStore(place.path, busy_timeout_s=BUSY_TIMEOUT_S)
    from database.postgres.engine import PostgresOptions
    from database.postgres.store import PostgresStore

    url, admin_url = place.url, place.admin_url
    if place.embedded is not None:
        from database.postgres.embedded import EmbeddedPostgres

        server = EmbeddedPostgres(place.embedded)
        server.start()
        on_exit(server.stop)
        url, admin_url = server.server_url, server.admin_url
    options = PostgresOptions(
        url or "",
        pool_size=2,
        connect_timeout_s=settings.database_connect_timeout_s,
        statement_timeout_s=max(STATEMENT_TIMEOUT_S, settings.database_statement_timeout_s),
        lock_timeout_s=settings.database_lock_timeout_s,
        sslmode=settings.database_sslmode,
        sslrootcert=settings.database_sslrootcert,
    )
    return PostgresStore(options, admin_url=admin_url)


@contextmanager
def _explaining() -> Iterator[None]:
    """Turns refusals of the copy and errors of a driver into errors that advise."""
    try:
        yield
    except CopyRefused as error:
        raise Conflict(_sentence(str(error)), code="copy_refused") from error
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        name = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or type(cause).__name__
        raise InternalError(
            f"A database failed ({name}). Nothing of the last batch was written. Check its disk, its rights and its "
            "log, and run the same command again: it goes on where it stopped.",
            code="database_failed",
        ) from error


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
