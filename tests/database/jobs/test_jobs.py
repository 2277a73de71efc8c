"""Jobs: claimed once, in order, never two of a document; what an end does to the document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from database import schema
from database.documents import contents, documents, generations
from database.ids import format_time
from database.jobs import claims, jobs
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, JobRecord
from database.store import Store
from tests.support.databases import Databases
from tests.support.store_cases import chunk, submit, summary, write_generation

pytestmark = pytest.mark.store_contract

ROOT = Path(__file__).resolve().parents[3]
CLAIMER = """
import json, sys
from pathlib import Path
from services.settings import Settings
from services.stores import open_configured_store
store = open_configured_store(Settings(data_dir=Path(sys.argv[1]))).store
found = []
while (job := store.claim_job(sys.argv[2])) is not None:
    found.append(job.job_id)
store.close()
print(json.dumps(found))
"""


def claimed(store: Store, worker: str = "w1") -> JobRecord:
    job = store.claim_job(worker)
    assert job is not None
    return job


def document_status(store: Store, document_id: str | None) -> str:
    assert document_id is not None
    with store.begin(LOCAL_ACTOR) as tx:
        document = documents.get(tx, document_id)
    assert document is not None
    return document.status


def finish(store: Store, job: JobRecord, status: str, worker: str = "w1") -> bool:
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        return jobs.finish(tx, job.job_id, worker_id=worker, status=status)


def test_the_oldest_job_is_claimed_first_and_raises_attempts(store: Store) -> None:
    first, second = submit(store, "1").job, submit(store, "2").job
    assert first is not None
    assert second is not None
    job = claimed(store)
    assert (job.job_id, job.status, job.attempts, job.worker_id) == (first.job_id, "in_progress", 1, "w1")
    assert document_status(store, job.document_id) == "in_progress"
    assert claimed(store).job_id == second.job_id
    assert store.claim_job("w1") is None


def test_a_job_is_not_claimed_before_its_time(store: Store) -> None:
    submit(store)
    job = claimed(store)
    later = format_time(datetime.now(UTC) + timedelta(hours=1))
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        jobs.retry_later(tx, job.job_id, worker_id="w1", run_after=later, error={"code": "busy"})
    assert store.claim_job("w1") is None
    assert document_status(store, job.document_id) == "queued"
    earlier = format_time(datetime.now(UTC) - timedelta(seconds=1))
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        tx.connection.execute(update(schema.jobs).values(run_after=earlier))
    again = claimed(store)
    assert (again.job_id, again.attempts, again.generation) == (job.job_id, 2, job.generation)


def test_no_two_jobs_of_a_document_run_at_once(store: Store) -> None:
    document = submit(store).document
    first = claimed(store)
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        second = documents.resubmit(tx, document.document_id, {"chunk_size": 500})
    assert second.generation == first.generation + 1
    assert store.claim_job("w1") is None
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        assert jobs.heartbeat(tx, first.job_id, worker_id="w1") == "cancel"
    assert finish(store, first, "cancelled")
    assert document_status(store, document.document_id) == "queued"
    assert claimed(store).job_id == second.job_id


def test_threads_never_claim_the_same_job(store: Store) -> None:
    expected = {submitted.job.job_id for n in range(24) if (submitted := submit(store, str(n))).job}
    found: list[str] = []

    def work(worker: str) -> None:
        while (job := store.claim_job(worker)) is not None:
            found.append(job.job_id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(expected)
    assert set(found) == expected


def test_processes_never_claim_the_same_job(store: Store, databases: Databases, tmp_path: Path) -> None:
    expected = {submitted.job.job_id for n in range(24) if (submitted := submit(store, str(n))).job}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, str(tmp_path / "data"), f"w{n}"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **databases.environment(tmp_path / "data")},
        )
        for n in range(2)
    ]
    found: list[str] = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        found.extend(json.loads(output))
    assert sorted(found) == sorted(expected)


def test_heartbeat_keeps_progress_and_tells_lost_from_held(store: Store) -> None:
    submit(store)
    job = claimed(store)
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        beat = jobs.heartbeat(tx, job.job_id, worker_id="w1", stage="ocr", pages_done=3, pages_total=9, percent=33.0)
        assert beat == "go_on"
        assert jobs.heartbeat(tx, job.job_id, worker_id="w1") == "go_on"
        assert jobs.heartbeat(tx, job.job_id, worker_id="w2") == "lost"
        assert jobs.heartbeat(tx, "nowhere", worker_id="w1") == "lost"
        kept = jobs.get(tx, job.job_id)
    assert kept is not None
    assert (kept.stage, kept.pages_done, kept.pages_total, kept.percent) == ("ocr", 3, 9, 33.0)


def test_deleting_the_document_makes_its_running_job_lost(store: Store) -> None:
    document = submit(store).document
    job = claimed(store)
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.delete(tx, document.document_id)
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        assert jobs.heartbeat(tx, job.job_id, worker_id="w1") == "lost"
        assert not generations.publish(tx, document.document_id, job.generation, summary(0))
        with pytest.raises(LookupError):
            contents.write_chunks(tx, document.document_id, 1, [chunk(0, "late")])
    assert not finish(store, job, "completed")


def test_cancelling_a_queued_job_is_done_at_once_and_a_running_one_is_told(store: Store) -> None:
    queued, running = submit(store, "1").job, submit(store, "2").job
    assert queued is not None
    assert running is not None
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        cancelled = jobs.request_cancel(tx, queued.job_id)
        assert cancelled is not None
        assert cancelled.status == "cancelled"
    assert document_status(store, queued.document_id) == "cancelled"
    assert claimed(store).job_id == running.job_id
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        told = jobs.request_cancel(tx, running.job_id)
        assert told is not None
        assert told.status == "cancelling"
    assert document_status(store, running.document_id) == "in_progress"
    assert finish(store, running, "cancelled")
    assert document_status(store, running.document_id) == "cancelled"
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        unchanged = jobs.request_cancel(tx, running.job_id)
        assert unchanged is not None
        assert unchanged.status == "cancelled"
        assert jobs.request_cancel(tx, "nowhere") is None


def test_a_failed_reprocess_leaves_the_old_content_readable(store: Store) -> None:
    document = submit(store).document
    job = claimed(store)
    write_generation(store, document.document_id, job.generation, [chunk(0, "old words")])
    assert finish(store, job, "completed")
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, document.document_id, {"chunk_size": 500})
    second = claimed(store)
    write_generation(store, document.document_id, second.generation, [chunk(0, "new")], publish=False)
    assert finish(store, second, "failed")
    assert document_status(store, document.document_id) == "completed"
    with store.begin(LOCAL_ACTOR) as tx:
        assert [c.chunk_text for c in contents.list_chunks(tx, document.document_id, limit=9, cursor=None).data] == [
            "old words"
        ]


def test_retry_goes_on_with_the_same_generation(store: Store) -> None:
    submit(store)
    job = claimed(store)
    assert finish(store, job, "failed")
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        again = jobs.retry(tx, job.job_id)
    assert again is not None
    assert (again.status, again.attempts, again.generation, again.finished_at) == ("queued", 0, job.generation, None)
    assert document_status(store, job.document_id) == "queued"


def test_a_job_that_was_replaced_is_not_retried(store: Store) -> None:
    first = submit(store).job
    newer = submit(store, options={"chunk_size": 500})
    assert first is not None
    assert newer.outcome == "updated"
    assert newer.superseded == [first.job_id]
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        kept = jobs.retry(tx, first.job_id)
    assert kept is not None
    assert kept.status == "cancelled"


def test_orphans_go_back_to_the_queue_and_told_ones_end(store: Store) -> None:
    submit(store, "1")
    submit(store, "2")
    submit(store, "3")
    first, second, mine = claimed(store, "dead"), claimed(store, "dead"), claimed(store, "alive")
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        jobs.request_cancel(tx, second.job_id)
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        assert claims.requeue_orphans(tx, "alive", silent_since="2000-01-01T00:00:00.000000Z") == 2
        assert claims.requeue_orphans(tx, "alive", silent_since="2000-01-01T00:00:00.000000Z") == 0
        states = {job_id: job.status for job_id, job in jobs.get_many(tx, [first.job_id, second.job_id]).items()}
    assert states == {first.job_id: "queued", second.job_id: "cancelled"}
    assert document_status(store, second.document_id) == "cancelled"
    again = claimed(store, "alive")
    assert (again.job_id, again.generation, again.attempts) == (first.job_id, first.generation, 2)
    assert not finish(store, mine, "completed", worker="dead")


def test_one_job_without_a_document_waits_at_a_time(store: Store) -> None:
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        first = jobs.add(tx, type="backfill_image_vectors")
        assert jobs.add(tx, type="backfill_image_vectors").job_id == first.job_id
        assert jobs.add(tx, type="another").job_id != first.job_id
    assert claimed(store).job_id == first.job_id
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        assert jobs.add(tx, type="backfill_image_vectors").job_id != first.job_id


def test_lists_of_jobs_are_walked_by_cursor(store: Store) -> None:
    expected = [submitted.job.job_id for n in range(5) if (submitted := submit(store, str(n))).job][::-1]
    walked: list[str] = []
    cursor: str | None = None
    with store.begin(LOCAL_ACTOR) as tx:
        while True:
            listed = jobs.list_page(tx, limit=2, cursor=cursor)
            walked.extend(job.job_id for job in listed.data)
            cursor = listed.next_cursor
            if cursor is None:
                break
        assert walked == expected
        positions = [jobs.queue_position(tx, job) for job in jobs.list_page(tx, limit=9, cursor=None).data]
        assert positions == [4, 3, 2, 1, 0]
        with pytest.raises(ValueError, match="cursor"):
            jobs.list_page(tx, limit=2, cursor="nonsense")


@pytest.mark.parametrize("end", ["failed", "cancelled"])
@pytest.mark.parametrize("published", ["completed", "completed_with_errors"])
def test_published_document_gets_its_status_and_keeps_its_options_when_a_reprocess_ends_badly(
    store: Store, end: str, published: str
) -> None:
    document = submit(store, options={"chunk_size": 1000}).document
    job = claimed(store)
    write_generation(store, document.document_id, job.generation, [chunk(0, "old words")])
    assert finish(store, job, published)
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, document.document_id, {"chunk_size": 500})
    assert document_status(store, document.document_id) == "queued"
    assert finish(store, claimed(store), end)
    assert document_status(store, document.document_id) == published
    again = submit(store, options={"chunk_size": 1000})
    assert (again.outcome, again.job) == ("duplicate", None)


def test_published_reprocess_hands_its_options_to_the_document(store: Store) -> None:
    document = submit(store, options={"chunk_size": 1000}).document
    first = claimed(store)
    write_generation(store, document.document_id, first.generation, [chunk(0, "old")])
    assert finish(store, first, "completed")
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, document.document_id, {"chunk_size": 500})
    assert submit(store, options={"chunk_size": 500}).outcome == "duplicate"
    second = claimed(store)
    write_generation(store, document.document_id, second.generation, [chunk(0, "new")])
    assert finish(store, second, "completed")
    assert submit(store, options={"chunk_size": 500}).outcome == "duplicate"
    assert submit(store, options={"chunk_size": 1000}).outcome == "updated"
