"""Translates what Postgres and its driver raise, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from database.errors import LoginRefused, RowRefused, StoreBusy, StoreUnavailable

BUSY_STATES = frozenset({"55P03", "57014", "40P01", "40001"})
"""lock_not_available, query_canceled (by a time-out), deadlock_detected, serialization_failure.

Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes", as are the ones below.
"""
UNAVAILABLE_STATES = frozenset(
    {
        "53000",  # insufficient_resources
        "53100",  # disk_full
        "53200",  # out_of_memory
        "53300",  # too_many_connections
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P04",  # database_dropped
        "57P05",  # idle_session_timeout
        "25P03",  # idle_in_transaction_session_timeout
        "58000",  # system_error
        "58030",  # io_error
    }
)
CONNECTION_CLASS = "08"
LOGIN_CLASS = "28"
"""invalid_authorization_specification."""
READ_ONLY = "25006"
"""A writing transaction meets it on a server that became a replica, or whose operator has stopped writing."""


@contextmanager
def translating(*, writes: bool) -> Iterator[None]:
    """Raises StoreBusy, StoreUnavailable or RowRefused for what they stand for.

    Everything else passes.
    """
    try:
        yield
    except PoolTimeout as error:
        raise StoreBusy("every connection to the database is in use; try again") from error
    except IntegrityError as error:
        raise RowRefused("the database refuses a row that breaks a rule of its schema") from error
    except DBAPIError as error:
        translated = translated_error(error.orig, writes=writes)
        if translated is None:
            raise
        raise translated from error
    except psycopg.IntegrityError as error:
        raise RowRefused("the database refuses a row that breaks a rule of its schema") from error
    except psycopg.Error as error:
        translated = translated_error(error, writes=writes)
        if translated is None:
            raise
        raise translated from error


def translated_error(error: BaseException | None, *, writes: bool) -> StoreBusy | StoreUnavailable | None:
    """The store's word for an error of the driver's.

    None where it is neither load nor absence.
    """
    state = getattr(error, "sqlstate", None)
    if state is None:
        is_lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return _lost(str(error)) if is_lost else None
    if state in BUSY_STATES:
        return StoreBusy("the database was busy for longer than its time-out; try again")
    if state.startswith(LOGIN_CLASS):
        return LoginRefused(f"{_REFUSED} (SQLSTATE {state})")
    if state in UNAVAILABLE_STATES or state.startswith(CONNECTION_CLASS) or (writes and state == READ_ONLY):
        return StoreUnavailable(f"the database does not work at the moment (SQLSTATE {state})")
    return None


_REFUSED = (
    "the database refuses the login: look at the user and the password in its URL; `docatlas db upgrade` gives "
    "docatlas_server the password of DOCATLAS_DATABASE_URL"
)
_REFUSALS = (
    (
        "certificate",
        "the database's certificate is not accepted: look at DOCATLAS_DATABASE_SSLROOTCERT, and at the host's name in "
        "DOCATLAS_DATABASE_URL",
    ),
    ("authentication failed", _REFUSED),
    ("is not permitted to log in", "the database refuses the login: `docatlas db upgrade` lets docatlas_server log in"),
    ("does not support SSL", "the database offers no TLS, and DOCATLAS_DATABASE_SSLMODE wants it"),
    ("no pg_hba.conf entry", "the database lets nobody in from here like this: look at DOCATLAS_DATABASE_SSLMODE"),
    ('" does not exist', "the server has no such database, or no such role: look at the database's URL"),
    (
        "enant or user not found",
        "the pooler knows no such project or user: look at the user in the database's URL, and whether the project is "
        "paused",
    ),
)
"""Words in libpq's message, which has no code where no connection came about, and what an operator is told then.

Source: PostgreSQL's src/backend/libpq/auth.c and utils/init, libpq's fe-secure-openssl.c; Supavisor's
client_handler.ex.
"""


def _lost(said: str) -> StoreUnavailable:
    for words, reason in _REFUSALS:
        if words in said:
            return LoginRefused(reason)
    return StoreUnavailable("the database cannot be reached")
