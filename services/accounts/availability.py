"""Refuses what the database with the accounts would have to be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from database.records import SERVICE_ACTOR, Actor
from database.store import Store, Transaction
from services.errors import TransientError


def check_absence(tx: Transaction) -> None:
    """Returns where what `tx` did not find is not there.

    Raises TransientError (`database_unavailable`).
    """
    if tx.is_partial:
        raise database_unavailable()


def require_database(store: Store) -> None:
    """Returns where accounts and keys can be changed for good.

    Raises TransientError (`database_unavailable`).
    """
    with store.begin(SERVICE_ACTOR) as tx:
        check_absence(tx)


@contextmanager
def changing(store: Store, actor: Actor) -> Iterator[Transaction]:
    """A writing transaction on the database with the accounts.

    Raises TransientError (`database_unavailable`).
    """
    with store.begin(actor, write=True) as tx:
        check_absence(tx)
        yield tx


def database_unavailable() -> TransientError:
    """The error for accounts that cannot be asked for now."""
    return TransientError(
        "The database with the accounts does not answer. Try again in a moment.", code="database_unavailable"
    )
