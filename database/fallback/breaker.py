"""The circuit breaker: whether the main database is to be asked.

closed: it is. open: it is not, and a probe looks whether it works again. half_open: it works, and what this node took
meanwhile is being moved to it; requests are still answered here.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from database.ids import now

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Counts failures and keeps the state; connects to nothing itself. Thread-safe."""

    def __init__(self, *, failures: int) -> None:
        """`failures` in a row of the same kind (reading or writing) open it."""
        self._limit = failures
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._since: str | None = None
        self._in_a_row = {"read": 0, "write": 0}
        self._counters: Counter[str] = Counter()
        self.suspected = threading.Event()
        """Set when a failure was counted, until the next probe."""

    @property
    def state(self) -> State:
        return self._state

    @property
    def since(self) -> str | None:
        """When it opened; None while it is closed."""
        return self._since

    @property
    def counters(self) -> Mapping[str, int]:
        """How often each event has happened since the process started."""
        with self._lock:
            return dict(self._counters)

    def count(self, what: str, number: int = 1) -> None:
        """Adds `number` to the counter of an event."""
        with self._lock:
            self._counters[what] += number

    @property
    def doubts_writes(self) -> bool:
        """True while writes have failed since the last one that went through."""
        return self._in_a_row["write"] > 0

    def failed(self, *, write: bool) -> bool:
        """Counts a transaction that failed for want of the database.

        True when it was the last of a row and opens the breaker.
        """
        kind = "write" if write else "read"
        with self._lock:
            self._counters[f"{kind}_failures"] += 1
            self._in_a_row[kind] += 1
            is_last = self._in_a_row[kind] >= self._limit
        self.suspected.set()
        return is_last and self.open()

    def succeeded(self, *, write: bool) -> None:
        """Counts a transaction that went through.

        A full disk is read from as ever: a read clears no failed write.
        """
        in_a_row = self._in_a_row
        if in_a_row["read"] or (write and in_a_row["write"]):
            with self._lock:
                in_a_row["read"] = 0
                if write:
                    in_a_row["write"] = 0

    def open(self) -> bool:
        """True when it was not open before."""
        with self._lock:
            if self._state == "open":
                return False
            if self._since is None:
                self._since = now()
            self._state = "open"
            self._counters["opened"] += 1
            return True

    def half_open(self) -> bool:
        """True when it was open before."""
        with self._lock:
            if self._state != "open":
                return False
            self._state = "half_open"
            self._counters["half_opened"] += 1
            return True

    def close(self) -> bool:
        """True when it was half open; an open one does not close."""
        with self._lock:
            if self._state != "half_open":
                return False
            self._state, self._since = "closed", None
            self._in_a_row = {"read": 0, "write": 0}
            self._counters["closed"] += 1
            return True
