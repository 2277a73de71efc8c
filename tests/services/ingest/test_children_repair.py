"""Mails and archives: what is lost, refused or killed on the way costs neither the parent nor its children."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, cast

from database.documents import children, documents
from database.errors import StoreBusy
from database.jobs import claims, waiting
from database.jobs import jobs as job_rows
from database.records import (
    LOCAL_ACTOR,
    SERVICE_ACTOR,
    TERMINAL_STATUSES,
    Actor,
)
from database.store import Store, Transaction
from services.documents.documents import reprocess
from services.jobs.client import cancel, retry
from services.jobs.jobs import run_claimed_job
from services.jobs.worker import Worker
from services.runtime import Runtime
from services.settings import Settings
from tests.data.build_mail import zip_of
from tests.data.build_zipcrypto import encrypted_zip
from tests.support.child_cases import (
    NOTE,
    OTHER,
    children_of,
    job_of,
    run_all,
    send,
)
from tests.support.databases import Databases
from tests.support.ingest_cases import WORKER, run_next
from tests.support.paths import DATA
from tests.support.runtimes import open_runtime
from tests.support.waiting import wait_for


def test_a_dead_worker_costs_neither_the_parent_nor_the_child(runtime: Runtime, tmp_path: Path) -> None:
    """Killed at its worst: while the parent waits and the child runs."""
    document_id, job_id = send(runtime, tmp_path, "batch.zip", zip_of({"a.txt": NOTE}))
    run_next(runtime)
    child = runtime.store.claim_job("worker-that-dies")
    assert child is not None
    with runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
        assert (
            claims.requeue_orphans(tx, WORKER, silent_since="2000-01-01T00:00:00.000000Z") == 1
        )  # the child; the parent goes on waiting
        assert waiting.settle_all(tx) == 1
    assert job_of(runtime, job_id).status == "in_progress"
    assert [job.status for job in run_all(runtime)] == ["completed"]
    assert job_of(runtime, job_id).status == "completed"
    assert len(children_of(runtime, document_id)) == 1


def test_a_password_opens_the_archive_and_what_lies_in_it_and_is_kept_nowhere(
    runtime: Runtime, databases: Databases, tmp_path: Path
) -> None:
    packed = encrypted_zip({"locked.pdf": (DATA / "encrypted.pdf").read_bytes()}, b"open sesame")
    document_id, job_id = send(runtime, tmp_path, "locked.zip", packed)
    failed = run_all(runtime)[0]
    assert failed.error is not None
    assert failed.error["code"] == "password_required"
    view = reprocess(runtime, LOCAL_ACTOR, document_id, {"password": "open sesame"})
    run_all(runtime)
    job = job_of(runtime, view.job.job_id)
    assert (job.status, job.error) == ("completed", None)
    assert children_of(runtime, document_id)["locked.pdf"].total_chunks
    stored = databases.dump(runtime.settings.data_dir)
    assert document_id.encode() in stored
    assert b"open sesame" not in stored
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        jobs = job_rows.list_page(tx, limit=9, cursor=None).data
    assert all(runtime.passwords.of(each.job_id) is None for each in jobs)
    assert job_id in {each.job_id for each in jobs}


def test_one_worker_thread_is_enough_for_any_nest(settings: Settings, tmp_path: Path) -> None:
    opened = open_runtime(settings.model_copy(update={"worker_threads": 1}))
    packed = zip_of({f"{n}.zip": zip_of({"note.txt": NOTE, f"{n}.txt": OTHER}) for n in range(3)})
    try:
        with Worker(opened):
            document_id, job_id = send(opened, tmp_path, "nest.zip", packed)
            wait_for(lambda: job_of(opened, job_id).status in TERMINAL_STATUSES)
        assert job_of(opened, job_id).status == "completed"
        assert len(children_of(opened, document_id)) == 3
    finally:
        opened.close()


def test_a_child_has_the_metadata_of_its_parent(runtime: Runtime, tmp_path: Path) -> None:
    document_id, _ = send(runtime, tmp_path, "batch.zip", zip_of({"a.txt": NOTE}))
    with runtime.store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.update(tx, document_id, metadata={"year": 2026})
    run_all(runtime)
    (child,) = children_of(runtime, document_id).values()
    assert child.metadata == {"year": 2026}
    assert child.sha256 == hashlib.sha256(NOTE).hexdigest()


def test_the_sweep_removes_children_that_their_parents_job_will_never_queue(runtime: Runtime, tmp_path: Path) -> None:
    packed = zip_of({f"{n}.txt": f"note {n}\n".encode() for n in range(6)})
    document_id, job_id = send(runtime, tmp_path, "batch.zip", packed)
    claimed = runtime.store.claim_job(WORKER)
    assert claimed is not None

    def stop_after_three() -> bool:
        with runtime.store.begin(LOCAL_ACTOR) as tx:
            return children.count_inside(tx, document_id)[0] >= 3

    run_claimed_job(claimed, runtime, WORKER, stop_after_three)
    with runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
        assert children.discard_abandoned(tx) == 0  # the job goes on with them
    assert cancel(runtime, LOCAL_ACTOR, job_id).job.status == "cancelled"
    with runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
        assert children.discard_abandoned(tx) >= 3
        assert list(children.family(tx, document_id)) == [document_id]
    retry(runtime, LOCAL_ACTOR, job_id)
    run_all(runtime)
    assert len(children_of(runtime, document_id)) == 6
    with runtime.store.begin(SERVICE_ACTOR, write=True) as tx:
        assert children.discard_abandoned(tx) == 0


class BusyStore:
    """A store whose write number `refused` (from 1) is refused, as when another process writes for too long."""

    def __init__(self, store: Store, refused: int) -> None:
        self._store, self._refused, self.writes = store, refused, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def begin(self, actor: Actor, *, write: bool = False) -> Iterator[Transaction]:
        self.writes += write
        if write and self.writes == self._refused:
            raise StoreBusy("another process has been writing")
        with self._store.begin(actor, write=write) as tx:
            yield tx


def test_a_password_is_kept_while_the_end_of_its_job_cannot_be_written(runtime: Runtime, tmp_path: Path) -> None:
    document_id, _ = send(runtime, tmp_path, "locked.pdf", (DATA / "encrypted.pdf").read_bytes())
    run_all(runtime)
    refused = 0
    while True:
        refused += 1
        job_id = reprocess(runtime, LOCAL_ACTOR, document_id, {"password": "open sesame"}).job.job_id
        claimed = runtime.store.claim_job(WORKER)
        assert claimed is not None
        busy, another = BusyStore(runtime.store, refused), copy(runtime)
        another.store = cast(Store, busy)
        run_claimed_job(claimed, another, WORKER)
        if busy.writes < refused:
            break
        kept = (job_of(runtime, job_id).status, runtime.passwords.of(job_id))
        assert kept in (("queued", "open sesame"), ("completed", None))
    assert refused > 4
    assert (job_of(runtime, job_id).status, runtime.passwords.of(job_id)) == ("completed", None)
