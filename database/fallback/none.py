"""No fallback: the answers where there is one database only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from database.fallback.base import AnsweredFrom, Fallback
from database.records import SERVICE_ACTOR, JobRecord
from database.store import Store, Transaction


class NoFallback(Fallback):
    """The Fallback of a store that nothing stands in for.

    `store` is the main database, and the only one.
    """

    is_partial = False

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def main(self) -> Store:
        return self._store

    def state(self) -> None:
        return None

    def recorded_answers(self) -> AbstractContextManager[AnsweredFrom]:
        return nullcontext(AnsweredFrom())

    def pinned(self, job: JobRecord) -> AbstractContextManager[Callable[[], bool]]:
        return nullcontext(lambda: False)

    @contextmanager
    def all_references(self) -> Iterator[Sequence[Transaction]]:
        with self._store.begin(SERVICE_ACTOR, write=True) as tx:
            yield [tx]

    def replay_while(self, holds_lease: Callable[[], bool]) -> None:
        """Nothing: nothing waits."""
