"""What accounts may not do while the fallback store answers for the database."""

from __future__ import annotations

from database.store import Store
from services.errors import TransientError


class Absence:
    """Tells an account that does not exist from one that cannot be seen now.

    Made before the look-up: a database that came back in between has not been asked either.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._was_partial = store, store.is_partial

    def check(self) -> None:
        """Returns where what was not found does not exist.

        Raises TransientError (`database_unavailable`) where the fallback store answered.
        """
        if self._was_partial or self._store.is_partial:
            raise database_unavailable()


def require_database(store: Store) -> None:
    """Returns where accounts and keys can be changed.

    Raises TransientError (`database_unavailable`) where the fallback store answers.
    """
    if store.is_partial:
        raise database_unavailable()


def database_unavailable() -> TransientError:
    return TransientError(
        "The database with the accounts does not answer. Try again in a moment.", code="database_unavailable"
    )
