"""Lets one caller at a time run a model, urgent ones before all others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock with two queues.

    Between two turns every urgent caller goes first; ordinary ones share what is left.

    A long job asks for a turn per small batch, so an urgent caller waits for one batch at most.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken = False
        self._waiting = {True: 0, False: 0}

    @property
    def waiting(self) -> int:
        """How many callers wait, urgent or not."""
        return sum(self._waiting.values())

    @contextmanager
    def turn(self, *, urgent: bool = False) -> Iterator[None]:
        """Holds the turn while the block runs. Not reentrant."""
        with self._condition:
            self._waiting[urgent] += 1
            try:
                self._condition.wait_for(lambda: not self._taken and (urgent or self._waiting[True] == 0))
                self._taken = True
            finally:
                self._waiting[urgent] -= 1
        try:
            yield
        finally:
            with self._condition:
                self._taken = False
                self._condition.notify_all()
