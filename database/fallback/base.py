"""The Protocol of a database that stands in for another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from database.records import JobRecord
from database.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class FallbackState:
    """Which database answers, since when, and what waits on this node."""

    breaker: Literal["closed", "open", "half_open"]
    """`half_open`: the main database works again, and what waits is being moved."""
    since: str | None = None
    """When the main database was last found not to work; None while it does."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Documents, jobs and searches on this node that are to be moved."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """What has happened since the process started; see database.fallback.breaker."""
    detail: str = ""
    """What keeps the main database from working, and what to do; empty when all is well."""


@dataclass(slots=True)
class AnsweredFrom:
    """The databases that have answered a request so far.

    Threads that work for it share the object.
    """

    main: bool = False
    local: bool = False

    @property
    def is_empty(self) -> bool:
        """True while none was asked."""
        return not (self.main or self.local)


class Fallback(Protocol):
    """A second database, on this node, for the time while the main one does not work.

    Thread-safe.
    """

    @property
    def is_partial(self) -> bool:
        """True while documents may be out of reach.

        What is not found may be there all the same.
        """
        ...

    @property
    def main(self) -> Store:
        """The main database alone.

        What must not be kept on one node only is read and written there.
        """
        ...

    def state(self) -> FallbackState | None:
        """Which database answers, and what waits to be moved.

        None where there is only one. Quick.
        """
        ...

    def recorded_answers(self) -> AbstractContextManager[AnsweredFrom]:
        """Notes which databases answer, inside the `with`.

        Also in threads that are given its context.
        """
        ...

    def pinned(self, job: JobRecord) -> AbstractContextManager[Callable[[], bool]]:
        """Sends this thread's transactions to the database that gave `job`.

        Until the `with` ends. Yields a function that says whether the job has to go back into the queue at once.
        """
        ...

    def all_references(self) -> AbstractContextManager[Sequence[Transaction]]:
        """Writing transactions on every database that may refer to this node's files.

        They are the service's. While it lasts none can come to refer to one. Empty while not all can be asked: then no
        file may be removed.
        """
        ...

    def replay_while(self, holds_lease: Callable[[], bool]) -> None:
        """Lets this process move what waits, for as long as `holds_lease` says so."""
        ...
