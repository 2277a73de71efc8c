"""Runs jobs in this process, for as long as it holds the lease of the data folder."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock

from database.documents import children, documents, generations, images
from database.errors import StoreUnavailable
from database.ids import format_time, new_id, now
from database.jobs import claims, waiting
from database.jobs import jobs as job_rows
from database.records import SERVICE_ACTOR, JobRecord
from services.jobs.client import add_backfill
from services.jobs.jobs import run_claimed_job
from services.jobs.run import SCRATCH_PREFIX
from services.queue.submission import announce_all
from services.runtime import Runtime
from services.sandbox.folders import remove, sweep_folders
from services.storage import unreferenced

_log = logging.getLogger(__name__)

LEASE_RETRY_S = 0.1
"""How often a process that waits for the lease tries again; the system frees a dead holder's at once."""
ORPHAN_AGE_S = 3600.0
"""Files that no row refers to are removed when they are older: a younger one may belong to an upload under way."""
CHORES_EVERY_S = 30.0
"""How often the lease's holder looks whether a picture model has turned up."""
FAULT_PAUSE_S = 2.0
"""A pause after a fault of the store (a full disk, say), so that a worker does not spin."""


SILENT_S = 120.0
"""A worker of another node that has not written a heartbeat for so long is taken for dead. A page's OCR, the longest
that a job is silent, ends after this; clocks of nodes are expected to be seconds apart at most."""


def node_id(data_dir: Path) -> str:
    """The id of the node whose data folder this is; it outlives every process.

    It is made where there is none yet.
    """
    path = data_dir / "node-id"
    with filelock.FileLock(data_dir / "node-id.lock"):  # two processes that start at once are one node
        if not path.is_file() or not path.read_text(encoding="ascii"):
            path.write_text(new_id(), encoding="ascii")
        return path.read_text(encoding="ascii")


def _seconds_ago(seconds: float) -> str:
    return format_time(datetime.now(UTC) - timedelta(seconds=seconds))


class WorkerLease:
    """The right to run jobs on a data folder, which one process at a time has.

    The process's death gives it back.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "worker.lock"
        self._lock = filelock.FileLock(self._path, thread_local=False)

    def take(self) -> bool:
        """True when this process holds the lease now."""
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            return False
        with suppress(OSError):  # only `doctor` reads it; a full disk must not cost the lease
            self._path.with_suffix(".pid").write_text(f"{os.getpid()}\n", encoding="ascii")
        return True

    def give_back(self) -> None:
        self._lock.release()

    @property
    def is_held(self) -> bool:
        """True while this object holds the lease."""
        return bool(self._lock.is_locked)


def lease_holder(data_dir: Path) -> int | None:
    """The process id of the lease's living holder; None where nobody holds it."""
    lease = WorkerLease(data_dir)
    if not data_dir.is_dir():
        return None
    try:
        lease._lock.acquire(timeout=0)
    except filelock.Timeout:
        try:
            return int((data_dir / "worker.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0
    lease.give_back()
    return None


class Worker:
    """Waits for the lease, then runs jobs until it is stopped.

    It first takes over what a dead holder of the lease left. `with Worker(runtime):` starts and stops it. Whoever
    opened the runtime stops its worker before closing it.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._worker_id = f"{node_id(runtime.settings.data_dir)}.{new_id()}"
        self._lease = WorkerLease(runtime.settings.data_dir)
        self._stopping = threading.Event()
        self._leader = threading.Thread(target=self._lead, name="worker-lease", daemon=True)
        self._lock = threading.Lock()
        self._unrecorded: list[JobRecord] = []
        self._backfilled_spaces: set[tuple[str, str]] = set()

    @property
    def holds_lease(self) -> bool:
        return self._lease.is_held

    def start(self) -> None:
        """Returns at once; jobs are run as soon as the lease is free."""
        self._leader.start()

    def stop(self) -> None:
        """Puts the jobs that run back into the queue, and gives the lease back.

        Returns when all threads have ended.
        """
        self._stopping.set()
        self._leader.join()
        if self._lease.is_held:
            self._lease.give_back()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _lead(self) -> None:
        while not self._lease.take():
            if self._stopping.wait(LEASE_RETRY_S):
                return
        if not self._try_until_stopped(self._take_over):
            return
        self._runtime.fallback.replay_while(lambda: self._lease.is_held)
        settings = self._runtime.settings
        with self._runtime.queue.dispatching(self.run_next, threads=settings.worker_threads, sweep_s=settings.sweep_s):
            self._do_chores_until_stopped()

    def _do_chores_until_stopped(self) -> None:
        swept: float | None = None
        while True:
            if swept is None or time.monotonic() - swept >= ORPHAN_AGE_S:
                swept = time.monotonic()
                self._try(self._remove_orphans)
            self._try(self._ask_for_backfill)
            self._try(self._end_waiting)
            self._try(self._requeue_silent)
            self._try(self._move_files)
            if self._stopping.wait(CHORES_EVERY_S):
                return

    def _try_until_stopped(self, chore: Callable[[], None]) -> bool:
        """True once `chore` has gone through; False when the worker was stopped before."""
        while not self._try(chore):
            if self._stopping.wait(FAULT_PAUSE_S):
                return False
        return True

    def _try(self, chore: Callable[[], None]) -> bool:
        try:
            chore()
        except Exception:
            # The boundary of the lease's thread: were it to end, no process could run a job any more.
            _log.exception("a chore of the worker failed; it is tried again")
            return False
        return True

    def _take_over(self) -> None:
        """Puts the jobs of a dead holder back into the queue, and removes its folders."""
        with self._runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
            requeued = claims.requeue_orphans(tx, self._worker_id, silent_since=_seconds_ago(SILENT_S))
            waiting.settle_all(tx)
        if requeued:
            _log.info("took over %d jobs of a worker that has ended", requeued)
        self._runtime.notifier.changed()
        for folder in self._runtime.blobs.scratch().glob(f"{SCRATCH_PREFIX}*"):
            if folder.name != f"{SCRATCH_PREFIX}{self._worker_id}":
                remove(folder)
        sweep_folders(self._runtime.blobs.scratch())

    def _requeue_silent(self) -> None:
        """Takes over the jobs of other nodes whose workers have died."""
        silent_since = _seconds_ago(SILENT_S)
        # Looked for first: the service's write waits for every owner's, and every owner's for it.
        with self._runtime.store.begin(SERVICE_ACTOR) as tx:
            silent = claims.orphans(tx, self._worker_id, silent_since=silent_since)
        if not silent:
            return
        with self._runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
            requeued = claims.requeue_orphans(tx, self._worker_id, silent_since=silent_since)
        if requeued:
            _log.info("took over %d jobs of another node that is silent", requeued)
            announce_all(self._runtime.queue, silent)

    def _move_files(self) -> None:
        """Uploads the files that wait on this node, and carries out deletions that wait."""
        blobs = self._runtime.blobs
        blobs.push_pending()
        while due := blobs.deletions():
            with self._runtime.fallback.all_references() as transactions:
                if not transactions:
                    return
                blobs.settle(due, wanted=set(due).difference(unreferenced(transactions, due)))

    def _put_unrecorded_back(self) -> None:
        """Queues jobs again that ended without a record of it.

        Those of a database that is out of reach wait for it, while what another database has is run.
        """
        with self._lock:
            jobs, self._unrecorded = self._unrecorded, []
        left = list(jobs)
        try:
            for job in jobs:
                if self._put_back(job):
                    left.remove(job)
        finally:
            with self._lock:
                self._unrecorded += left

    def _put_back(self, job: JobRecord) -> bool:
        """Queues a job again whose end could not be written.

        False while its database does not work.
        """
        runtime = self._runtime
        try:
            with runtime.fallback.pinned(job), runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
                job_rows.retry_later(tx, job.job_id, worker_id=self._worker_id, run_after=now(), error=None)
        except StoreUnavailable:
            return False
        return True

    def _ask_for_backfill(self) -> None:
        """Queues the backfill when a picture model turns up and pictures wait for it.

        Once for each model.
        """
        embedder = self._runtime.image_embedder
        if embedder is None:
            return
        asked = (self._runtime.store.kind, embedder.space)
        if asked in self._backfilled_spaces:
            return
        self._backfilled_spaces.add(asked)
        with self._runtime.store.begin(SERVICE_ACTOR) as tx:
            missing = images.count_images_without_vector(tx, embedder.space)
        if missing:
            add_backfill(self._runtime, SERVICE_ACTOR)

    def _end_waiting(self) -> None:
        """Ends jobs that wait for documents inside theirs which have all ended.

        None should be left to be found.
        """
        with self._runtime.store.begin(SERVICE_ACTOR) as tx:
            if not waiting.count(tx):
                return
        with self._runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
            waiting.settle_all(tx)
        self._runtime.notifier.changed()

    def _remove_orphans(self) -> None:
        """Removes rows of unused generations, and old files without a row."""
        store, blobs = self._runtime.store, self._runtime.blobs
        while True:
            with store.begin(SERVICE_ACTOR, write=True) as tx:
                if not generations.drop_stale_generations(tx):
                    children.discard_abandoned(tx)
                    break
        oldest = time.time() - ORPHAN_AGE_S
        remove_old_scratch(blobs.scratch(), oldest)
        with store.begin(SERVICE_ACTOR) as tx:
            referenced = documents.referenced_blobs(tx)
        for entry in list(blobs.entries()):
            if entry.sha256 not in referenced and entry.modified_at < oldest:
                with self._runtime.fallback.all_references() as transactions:
                    for sha256 in unreferenced(transactions, [entry.sha256]):
                        blobs.delete(sha256)

    def run_next(self) -> bool:
        """Claims the fairest job and runs it; False when there was none.

        False, too, when the worker is being stopped. Thread-safe. Never raises: after a fault of the store it pauses.
        """
        if self._stopping.is_set():
            return False
        try:
            self._put_unrecorded_back()
            job = self._runtime.store.claim_job(self._worker_id)
            if job is None:
                return False
            self._run(job)
        except StoreUnavailable as error:
            _log.warning("a job is left until the database works again: %s", error)
            self._stopping.wait(min(FAULT_PAUSE_S, self._runtime.settings.sweep_s))
        except Exception:
            # The boundary of a worker thread: a fault of the store (a full disk) must not end it for good, nor
            # leave the job behind that it could not record.
            _log.exception("a worker could not claim or record a job; it tries again")
            self._stopping.wait(FAULT_PAUSE_S)
        return True

    def _run(self, job: JobRecord) -> None:
        try:
            with self._runtime.fallback.pinned(job) as must_stop:
                run_claimed_job(job, self._runtime, self._worker_id, lambda: self._stopping.is_set() or must_stop())
        except Exception:
            with self._lock:
                self._unrecorded.append(job)
            raise


def remove_old_scratch(scratch: Path, oldest: float) -> None:
    """Removes what killed processes left in `scratch`, if it is older than `oldest`.

    That is a time in seconds since the epoch. Folders of workers stay: the next holder of the lease removes those of
    the dead.
    """
    for entry in scratch.iterdir():
        if entry.name.startswith(SCRATCH_PREFIX):
            continue
        try:
            if entry.stat().st_mtime >= oldest:
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()
        except FileNotFoundError:
            continue
