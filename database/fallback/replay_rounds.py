"""Runs replays in rounds.

Jobs on this node are stopped first, and its writers are slowed down meanwhile.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from database.fallback import journal
from database.fallback.breaker import Breaker
from database.fallback.replay import Replay
from database.records import SERVICE_ACTOR
from database.store import Store

_log = logging.getLogger(__name__)

DRAIN_S = 180.0
"""How long the jobs that run here may take to let go. One that reads a page by OCR hears of it at the page's end."""
FEW_UPLOADS = 10
"""So many may be left to be moved while writers wait: each takes some ten milliseconds."""
THROTTLE_S = 2.0
"""How long a writer waits at most while uploads are moved: a large one takes some seconds."""
REFUSED_AGAIN_S = 300.0
"""How often an upload that the main database refused is offered to it again."""


class Drain:
    """Counts the jobs on this node, and lets none begin while all have to end.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running = 0
        self._is_draining = False
        self._is_closed = False

    @property
    def is_draining(self) -> bool:
        """True while jobs of this node have to stop, and none may begin."""
        return self._is_draining

    @contextmanager
    def job(self) -> Iterator[None]:
        """Inside, a job of this node runs."""
        with self._condition:
            self._running += 1
        try:
            yield
        finally:
            with self._condition:
                self._running -= 1
                self._condition.notify_all()

    @contextmanager
    def drained(self) -> Iterator[bool]:
        """Inside, no job of this node begins.

        False where one that ran did not let go in time.
        """
        try:
            with self._condition:
                self._is_draining = True
                ended = self._condition.wait_for(lambda: self._running == 0 or self._is_closed, DRAIN_S)
            yield ended and not self._is_closed
        finally:
            self._is_draining = False

    def close(self) -> None:
        """Ends every wait."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()


class WriteThrottle:
    """Slows writers on this node down to half the speed at which uploads are moved.

    Thread-safe. Whoever wrote as fast as that, or faster, would keep a replay from ever coming to its end.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._credit: float | None = None

    @contextmanager
    def throttled(self) -> Iterator[None]:
        """Inside, writers are slowed down."""
        self._set(1.0)
        try:
            yield
        finally:
            self._set(None)

    def upload_moved(self) -> None:
        """Lets writers go on by half a write: one more upload has been moved."""
        with self._condition:
            if self._credit is not None:
                self._credit += 0.5
                self._condition.notify()

    def wait(self) -> None:
        """Returns when one more may write; never later than `THROTTLE_S`."""
        if self._credit is None:
            return
        with self._condition:
            self._condition.wait_for(lambda: self._credit is None or self._credit >= 1.0, THROTTLE_S)
            if self._credit is not None:
                self._credit = max(0.0, self._credit - 1.0)

    def _set(self, credit: float | None) -> None:
        with self._condition:
            self._credit = credit
            self._condition.notify_all()


class ReplayRounds:
    """Moves everything that waits to the main database, and closes the breaker.

    For one thread at a time.
    """

    def __init__(self, local: Store, replay: Replay, breaker: Breaker, drain: Drain, throttle: WriteThrottle) -> None:
        self._local, self._replay, self._breaker = local, replay, breaker
        self._drain, self._throttle = drain, throttle
        self._refused_at = -math.inf

    def run(self) -> None:
        """Moves what waits, if anything does, and has the main database served.

        Raises StoreUnavailable and StoreBusy, and then this node is served on as it was.
        """
        with self._local.begin(SERVICE_ACTOR) as tx:
            waits = journal.holds_copies(tx.connection) or journal.serving(tx.connection) == "local"
            refused = any(entry.outcome == "refused" for entry in journal.entries(tx.connection).values())
        retry_refused = refused and time.monotonic() - self._refused_at > REFUSED_AGAIN_S
        if not waits and not retry_refused:
            return
        if retry_refused:
            self._refused_at = time.monotonic()
        began = time.monotonic()
        self._replay.copy(settled_only=True)
        with self._drain.drained() as is_drained, self._throttle.throttled():
            if not is_drained:
                _log.warning("a job on this node does not let go; what waits is moved later")
                return
            before, sent = math.inf, self._replay.copy(settled_only=False, retry_refused=retry_refused)
            # Rounds that grow would grow for ever: another process that uploads faster than that waits for the switch.
            while FEW_UPLOADS < sent < before:
                before, sent = sent, self._replay.copy(settled_only=False)
            self._replay.switch()
        self._breaker.close()
        self._replay.drop()
        self._breaker.count("replays")
        _log.info("what this node took has been moved to the database in %.1f s", time.monotonic() - began)
