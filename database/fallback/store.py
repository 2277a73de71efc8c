"""The store that works on while its database does not.

SQLite on this node answers meanwhile, and what it took is moved afterwards.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol, TypeVar

from database.accounts import mirror, users
from database.errors import LoginRefused, StoreBusy, StoreError, StoreUnavailable
from database.fallback import journal
from database.fallback.answered_from import note_transaction, recorded_answers
from database.fallback.base import AnsweredFrom, Fallback, FallbackState
from database.fallback.breaker import Breaker
from database.fallback.replay import Replay
from database.fallback.replay_rounds import Drain, ReplayRounds, WriteThrottle
from database.records import SERVICE_ACTOR, Actor, DocumentFilter, JobRecord, RowHit, Vector, VectorMatches
from database.store import MigrationState, Store, Transaction

_log = logging.getLogger(__name__)

T = TypeVar("T")

VERDICT_S = 6.0
"""How long a transaction that failed waits for the probe to say whether the database is down: two answers, and some."""
PROBE_PAUSE_S = 0.2
"""Between two probes, however many transactions fail."""
MIRROR_S = 60.0
"""How old this node's copies of the accounts that may log in alone may be."""
_pinned_to: ContextVar[Literal["main", "local"] | None] = ContextVar("pinned_to", default=None)
"""The database that gave the job which this thread runs; None outside a job."""


class MainStore(Store, Protocol):
    """A database that another one can stand in for."""

    def probe(self, *, writes: bool) -> None:
        """Returns when it works, and with `writes` takes writes.

        Quick, also while suspended. Raises StoreUnavailable, and StoreBusy where that cannot be said now.
        """
        ...

    def suspend(self) -> None:
        """Ends every wait for it with StoreUnavailable.

        None begins before `resume`.
        """
        ...

    def resume(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _LocalJob(JobRecord):
    """A job that this node's database gave to its worker."""


class FallbackStore(Store, Fallback):
    """See database.store.Store and database.fallback.base.Fallback.

    `main` is served while it works, `local` while it does not.
    """

    def __init__(
        self,
        main: MainStore,
        local: Store,
        *,
        prepare: Callable[[], None] = lambda: None,
        revive: Callable[[], None] = lambda: None,
        failures: int = 3,
        probe_s: float = 2.0,
    ) -> None:
        """Takes over both stores.

        `local` is migrated here; `prepare` makes `main` ready before its first use. `revive` is called before `main` is
        probed while it does not work. Where `main` cannot be reached, or does not work, it begins open. Raises
        LoginRefused, and what else `prepare` raises; then both stores are closed.
        """
        self._main, self._local, self._prepare, self._revive = main, local, prepare, revive
        self._probe_s = probe_s
        self._breaker = Breaker(failures=failures)
        self._write_turn = threading.Lock()
        self._throttle = WriteThrottle()
        self._replay = Replay(main, local, self._count_moved, write_turn=self._write_turn)
        self._holds_lease: Callable[[], bool] = lambda: False
        self._closing = threading.Event()
        self._to_replay = threading.Event()
        self._drain = Drain()
        self._rounds = ReplayRounds(local, self._replay, self._breaker, self._drain, self._throttle)
        self._is_prepared = False
        self._problem = ""
        self._mirrored_at = -math.inf
        self._condition = threading.Condition()
        self._probes_begun = self._probes_done = 0
        with ExitStack() as undo:
            undo.callback(main.close)
            undo.callback(local.close)
            self._begin_service()
            undo.pop_all()
        self._threads = [
            threading.Thread(target=self._watch, name="fallback-probe", daemon=True),
            threading.Thread(target=self._replay_when_due, name="fallback-replay", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        return self._main.kind if self._breaker.state == "closed" else self._local.kind

    @property
    def is_partial(self) -> bool:
        return self._breaker.state != "closed"

    @property
    def main(self) -> Store:
        return self._main

    @contextmanager
    def begin(self, actor: Actor, *, write: bool = False) -> Iterator[Transaction]:
        with ExitStack() as stack:
            yield self._entered(stack, actor, write)

    def upgrade(self) -> Sequence[str]:
        return [*self._local.upgrade(), *self._main.upgrade()]

    def migration_status(self) -> Sequence[MigrationState]:
        return self._ask(lambda store: store.migration_status())

    def ping(self) -> None:
        self._ask(lambda store: store.ping())

    def search_vectors(
        self,
        actor: Actor,
        query: Vector,
        *,
        space: str,
        kind: Literal["text", "image"],
        k: int,
        only: DocumentFilter,
        exact: bool = False,
    ) -> VectorMatches:
        return self._ask(
            lambda store: store.search_vectors(actor, query, space=space, kind=kind, k=k, only=only, exact=exact)
        )

    def search_keywords(self, actor: Actor, query: str, *, k: int, only: DocumentFilter) -> Sequence[RowHit]:
        return self._ask(lambda store: store.search_keywords(actor, query, k=k, only=only))

    def claim_job(self, worker_id: str) -> JobRecord | None:
        if self._breaker.state == "closed":
            try:
                return self._main.claim_job(worker_id)
            except StoreUnavailable:
                self._failed(write=True)
                return None
        if self._drain.is_draining:
            return None
        job = self._local.claim_job(worker_id)
        return None if job is None else _LocalJob(**{each.name: getattr(job, each.name) for each in fields(job)})

    @contextmanager
    def pinned(self, job: JobRecord) -> Iterator[Callable[[], bool]]:
        is_local = isinstance(job, _LocalJob)
        token = _pinned_to.set("local" if is_local else "main")
        try:
            if is_local:
                with self._drain.job():
                    yield lambda: self._drain.is_draining
            else:
                yield lambda: self._breaker.state != "closed"
        finally:
            _pinned_to.reset(token)

    @contextmanager
    def all_references(self) -> Iterator[Sequence[Transaction]]:
        if self._breaker.state != "closed":
            # Documents of the main database may refer to any file.
            yield []
            return
        with self._local.begin(SERVICE_ACTOR, write=True) as here, self._counted(SERVICE_ACTOR, write=True) as there:
            yield [there, here]

    def recorded_answers(self) -> AbstractContextManager[AnsweredFrom]:
        return recorded_answers()

    def replay_while(self, holds_lease: Callable[[], bool]) -> None:
        self._holds_lease = holds_lease
        self._to_replay.set()

    def state(self) -> FallbackState:
        with self._local.begin(SERVICE_ACTOR) as tx:
            waiting = journal.count_waiting(tx.connection)
        breaker = self._breaker
        return FallbackState(breaker.state, breaker.since, waiting, breaker.counters, self._problem)

    def close(self) -> None:
        self._closing.set()
        self._drain.close()
        self._breaker.suspected.set()
        self._to_replay.set()
        self._main.suspend()
        for thread in self._threads:
            thread.join()
        self._local.close()
        self._main.close()

    def _begin_service(self) -> None:
        self._local.upgrade()
        with self._local.begin(SERVICE_ACTOR, write=True) as tx:
            journal.prepare(tx.connection)
            serves_local = journal.serving(tx.connection) == "local"
        if not serves_local:
            self._replay.drop_documents()
        try:
            # First: on a new database it makes the role that the probe logs in as.
            self._make_ready()
            self._main.probe(writes=False)
        except LoginRefused:
            # It works, and not like this: what was taken here meanwhile could never be moved.
            raise
        except (StoreUnavailable, StoreBusy) as error:
            _log.warning("the database does not work, and this node works on alone: %s", error)
            self._opened()
            return
        if serves_local:
            _log.info("what this node took while the database was out of reach is moved there first")
            self._breaker.open()
            self._breaker.half_open()

    def _make_ready(self) -> None:
        if not self._is_prepared:
            self._prepare()
            self._is_prepared = True

    def _entered(self, stack: ExitStack, actor: Actor, write: bool) -> Transaction:
        """A transaction on the database that is served.

        In a thread that runs a job: on the database that gave the job.
        """
        pinned_to = _pinned_to.get()
        if pinned_to == "main":
            return stack.enter_context(self._counted(actor, write=write))
        if pinned_to == "local":
            return replace(stack.enter_context(self._local.begin(actor, write=write)), is_partial=True)
        while True:
            if self._breaker.state == "closed":
                try:
                    return stack.enter_context(self._counted(actor, write=write))
                except StoreUnavailable:
                    if not self._is_down():
                        raise
            tx = self._entered_here(stack, actor, write)
            if tx is not None:
                return tx

    def _entered_here(self, stack: ExitStack, actor: Actor, write: bool) -> Transaction | None:
        """A transaction on this node; None where the main database is served again."""
        if write:
            self._throttle.wait()
        with ExitStack() as attempt:
            with self._write_turn if write else nullcontext():
                tx = attempt.enter_context(self._local.begin(actor, write=write))
            # The write lock orders this against `Replay.switch`, in whichever process: after that nothing is written.
            if write and journal.serving(tx.connection) == "main":
                if self._breaker.state != "open":
                    self._breaker.close()
                    return None
                journal.serve(tx.connection, "local")
            if write and actor.role in ("owner", "worker"):
                users.ensure(tx, actor.user_id)
            note_transaction(local=True)
            stack.enter_context(attempt.pop_all())
            return replace(tx, is_partial=True)

    @contextmanager
    def _counted(self, actor: Actor, *, write: bool) -> Iterator[Transaction]:
        """A transaction on the main database; how it ends is told to the breaker."""
        try:
            with self._main.begin(actor, write=write) as tx:
                note_transaction(local=False)
                yield tx
        except StoreUnavailable:
            self._failed(write=write)
            raise
        self._breaker.succeeded(write=write)

    def _ask(self, question: Callable[[Store], T]) -> T:
        """The answer of the database that is served to one reading call."""
        pinned_to = _pinned_to.get()
        if pinned_to == "main" or (pinned_to is None and self._breaker.state == "closed"):
            try:
                note_transaction(local=False)
                answer = question(self._main)
            except StoreUnavailable:
                self._failed(write=False)
                if pinned_to == "main" or not self._is_down():
                    raise
            else:
                self._breaker.succeeded(write=False)
                return answer
        note_transaction(local=True)
        return question(self._local)

    def _count_moved(self, what: str, number: int) -> None:
        self._breaker.count(what, number)
        self._throttle.upload_moved()

    def _failed(self, *, write: bool) -> None:
        if self._breaker.state == "closed" and self._breaker.failed(write=write):
            self._suspend()

    def _opened(self) -> None:
        if self._breaker.open():
            self._suspend()

    def _suspend(self) -> None:
        # Who waits for a server that stands still would wait for minutes.
        self._main.suspend()
        _log.warning("the database does not work: this node works on alone until it does")

    def _is_down(self) -> bool:
        """True where the main database is out of service.

        Waits for a probe that begins now.
        """
        with self._condition:
            awaited = self._probes_begun + 1
            self._breaker.suspected.set()
            self._condition.wait_for(lambda: self._probes_done >= awaited or self._closing.is_set(), VERDICT_S)
        return self._breaker.state != "closed"

    def _watch(self) -> None:
        while not self._closing.is_set():
            self._breaker.suspected.wait(self._probe_s)
            self._breaker.suspected.clear()
            with self._condition:
                self._probes_begun += 1
            try:
                if not self._closing.is_set():
                    self._look()
            except Exception:
                # The boundary of the thread: without it nobody would notice that the database is back.
                _log.exception("the database could not be probed; it is tried again")
            with self._condition:
                self._probes_done = self._probes_begun
                self._condition.notify_all()
            self._closing.wait(min(PROBE_PAUSE_S, self._probe_s))

    def _look(self) -> None:
        was_open = self._breaker.state == "open"
        try:
            if was_open:
                self._revive()
            self._main.probe(writes=was_open or self._breaker.doubts_writes)
            if was_open:
                self._main.resume()
                self._make_ready()
        except StoreBusy:
            return
        except StoreError as error:
            self._breaker.count("failed_probes")
            _log.debug("the probe failed: %s", error)
            if was_open:
                self._main.suspend()
            self._opened()
            self._note_problem(error)
            return
        self._problem = ""
        if was_open and self._breaker.half_open():
            _log.info("the database works again")
        if self._breaker.state == "half_open" and self._served() == "main":
            self._breaker.close()
        self._to_replay.set()

    def _note_problem(self, error: StoreError) -> None:
        """Keeps what an operator has to do where waiting does not help.

        The database answers then, and cannot be used.
        """
        is_away = isinstance(error, StoreUnavailable) and not isinstance(error, LoginRefused)
        problem = "" if is_away else str(error)
        if problem and self._problem != problem:
            _log.error("the database cannot be used: %s", problem)
        self._problem = problem

    def _served(self) -> journal.Serving:
        with self._local.begin(SERVICE_ACTOR) as tx:
            return journal.serving(tx.connection)

    def _replay_when_due(self) -> None:
        while not self._closing.is_set():
            self._to_replay.wait()
            self._to_replay.clear()
            try:
                if not self._closing.is_set() and self._breaker.state == "closed":
                    self._mirror()
                if not self._closing.is_set() and self._breaker.state != "open" and self._holds_lease():
                    self._rounds.run()
            except StoreUnavailable:
                self._breaker.suspected.set()
            except StoreBusy as error:
                _log.info("what this node took cannot be moved just now: %s", error)
            except Exception:
                # The boundary of the thread: without it the copies would stay here for ever.
                _log.exception("what this node took could not be moved; it is tried again")

    def _mirror(self) -> None:
        """Keeps this node's copies of the accounts that may log in on it alone."""
        if time.monotonic() - self._mirrored_at > MIRROR_S:
            mirror.mirror(self._main, self._local)
            self._mirrored_at = time.monotonic()
