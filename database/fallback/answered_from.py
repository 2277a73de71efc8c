"""Which database a request was answered from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class StoreUse:
    """What one request has used so far; threads that work for it share the object."""

    main: bool = False
    fallback: bool = False

    @property
    def is_unused(self) -> bool:
        return not (self.main or self.fallback)


_current: ContextVar[StoreUse | None] = ContextVar("store_use", default=None)


@contextmanager
def recorded_use() -> Iterator[StoreUse]:
    """Inside, and in threads that are given this context, transactions are noted in the object that is yielded."""
    use = StoreUse()
    token = _current.set(use)
    try:
        yield use
    finally:
        _current.reset(token)


def note_use(*, fallback: bool) -> None:
    """Notes that a transaction begins."""
    use = _current.get()
    if use is None:
        return
    if fallback:
        use.fallback = True
    else:
        use.main = True


def use_of_store() -> StoreUse:
    """What the current request has used; nothing where there is none."""
    return _current.get() or StoreUse()
