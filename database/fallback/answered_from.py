"""Records which databases answer a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from database.fallback.base import AnsweredFrom

_current: ContextVar[AnsweredFrom | None] = ContextVar("answered_from", default=None)


@contextmanager
def recorded_answers() -> Iterator[AnsweredFrom]:
    """Notes transactions in the object that is yielded, inside the `with`.

    Those of threads that are given this context, too.
    """
    answered = AnsweredFrom()
    token = _current.set(answered)
    try:
        yield answered
    finally:
        _current.reset(token)


def note_transaction(*, local: bool) -> None:
    """Notes that a transaction begins on this node's database, or on the main one."""
    answered = _current.get()
    if answered is None:
        return
    if local:
        answered.local = True
    else:
        answered.main = True
