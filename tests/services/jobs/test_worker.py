"""The worker of a process: its lease, its chores, and faults of the store that it has to outlive."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from database.errors import StoreBusy
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, TERMINAL_STATUSES, Actor, JobRecord, worker_for
from database.store import Store, Transaction
from services.jobs.client import get_job
from services.jobs.worker import ORPHAN_AGE_S, Worker, WorkerLease, lease_holder
from services.runtime import Runtime
from services.settings import Settings
from tests.support.ingest_cases import document_of, submit, write
from tests.support.paths import DATA
from tests.support.runtimes import open_runtime
from tests.support.waiting import wait_for


class FaultyStore:
    """A store whose write transactions fail when their number (from 1) is among `faults`."""

    def __init__(self, store: Store, faults: Sequence[int]) -> None:
        self._store, self._faults = store, set(faults)
        self.writes = 0

    @contextmanager
    def begin(self, actor: Actor, *, write: bool = False) -> Iterator[Transaction]:
        if write:
            self.writes += 1
            if self.writes in self._faults:
                raise StoreBusy("somebody else writes")
        with self._store.begin(actor, write=write) as tx:
            yield tx

    def claim_job(self, worker_id: str) -> JobRecord | None:
        return self._store.claim_job(worker_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("fault", [1, 2, 3, 4, 5])
def test_a_job_survives_a_write_that_fails_wherever_it_happens(fault: int, settings: Settings, tmp_path: Path) -> None:
    runtime = open_runtime(settings)
    submission = submit(runtime, write(tmp_path / "a.txt", "The harbour opens at dawn. " * 100))
    assert submission.job is not None
    job_id = submission.job.job_id
    faulty = FaultyStore(runtime.store, [fault])
    runtime.store = faulty
    with Worker(runtime):
        wait_for(lambda: get_job(runtime, LOCAL_ACTOR, job_id).job.status in TERMINAL_STATUSES)
    assert get_job(runtime, LOCAL_ACTOR, job_id).job.status == "completed"
    assert document_of(runtime, submission.document.document_id).total_chunks > 1
    assert faulty.writes > fault
    runtime.close()


def test_one_runtime_at_a_time_runs_jobs_and_the_next_takes_over(settings: Settings, tmp_path: Path) -> None:
    first, second = open_runtime(settings), open_runtime(settings)
    holder, waiting = Worker(first), Worker(second)
    holder.start()
    waiting.start()
    wait_for(lambda: holder.holds_lease or waiting.holds_lease)
    if waiting.holds_lease:
        (first, holder), (second, waiting) = (second, waiting), (first, holder)
    assert not waiting.holds_lease
    wait_for(lambda: lease_holder(settings.data_dir) == os.getpid())  # the id is written after the lock is taken
    holder.stop()
    first.close()
    wait_for(lambda: waiting.holds_lease)
    submission = submit(second, write(tmp_path / "a.txt", "The harbour opens at dawn."))
    assert submission.job is not None
    job_id = submission.job.job_id
    wait_for(lambda: get_job(second, LOCAL_ACTOR, job_id).job.status == "completed")
    waiting.stop()
    second.close()
    assert lease_holder(settings.data_dir) is None


def test_old_files_without_a_row_are_removed_and_no_others(runtime: Runtime, tmp_path: Path) -> None:
    kept = submit(runtime, DATA / "report.pdf").document.sha256
    digests = {age: f"{number:064x}" for number, age in enumerate(("old", "young"))}
    for age, digest in digests.items():
        runtime.blobs.adopt(write(runtime.blobs.scratch() / age, age), digest)
    long_ago = time.time() - 2 * ORPHAN_AGE_S
    for digest in (kept, digests["old"]):
        os.utime(runtime.blobs.path(digest), (long_ago, long_ago))
    left_by_the_dead = runtime.blobs.scratch() / "worker-of-the-past"
    left_by_the_dead.mkdir()
    with Worker(runtime):
        wait_for(lambda: not runtime.blobs.exists(digests["old"]))
    assert runtime.blobs.exists(kept)
    assert runtime.blobs.exists(digests["young"])
    assert not left_by_the_dead.exists()


def test_a_worker_that_is_stopped_before_it_has_the_lease_ends(settings: Settings) -> None:
    lease = WorkerLease(settings.data_dir)
    settings.data_dir.mkdir(parents=True)
    assert lease.take()
    runtime = open_runtime(settings)
    worker = Worker(runtime)
    worker.start()
    worker.stop()
    assert not worker.holds_lease
    runtime.close()
    lease.give_back()


def test_rows_of_generations_that_nobody_reads_are_cleared_at_the_take_over(runtime: Runtime, tmp_path: Path) -> None:
    from database.documents import contents, generations
    from database.jobs import jobs as job_rows
    from tests.support.ingest_cases import WORKER, run_next

    submission = submit(runtime, DATA / "scanned.pdf")
    assert submission.job is not None
    document_id = submission.document.document_id
    run_next(runtime)
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        page = next(iter(contents.read_pages(tx, document_id, with_layout=True)))
    with runtime.store.begin(worker_for(LOCAL_ACTOR.user_id), write=True) as tx:
        job = job_rows.add(tx, type="ingest", document_id=document_id, options=submission.document.options)
        contents.write_page(tx, document_id, job.generation, page)
    with runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
        assert generations.drop_stale_generations(tx) == 0
    claimed = runtime.store.claim_job(WORKER)
    assert claimed is not None
    with runtime.store.begin(LOCAL_ACTOR, write=True) as tx:
        job_rows.finish(tx, claimed.job_id, worker_id=WORKER, status="failed")
    with runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
        assert generations.drop_stale_generations(tx) == 1
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        assert len(list(contents.read_pages(tx, document_id))) == 2
