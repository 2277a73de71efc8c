"""Waiting for jobs without holding a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from database.records import LOCAL_ACTOR, LOCAL_USER_ID, Actor, JobRecord
from services.queue.job_view import JobView
from services.queue.notifier import JobNotifier

JOB = JobRecord(
    job_id="job-1",
    user_id=LOCAL_USER_ID,
    document_id=None,
    type="ingest",
    status="queued",
    stage=None,
    percent=0.0,
    pages_done=0,
    pages_total=0,
    attempts=0,
    generation=1,
    options={},
    warnings=(),
    error=None,
    created_at="2026-01-01T00:00:00.000Z",
    started_at=None,
    heartbeat_at=None,
    finished_at=None,
    run_after=None,
    worker_id=None,
)


class Table:
    """A jobs table in memory that counts how often it is looked at."""

    def __init__(self) -> None:
        self.jobs = {"job-1": JOB}
        self.looks = 0

    def read(self, actor: Actor, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        self.looks += 1
        return {i: JobView(self.jobs[i], 0) for i in job_ids if i in self.jobs and actor == LOCAL_ACTOR}


def test_a_wait_ends_when_the_job_does() -> None:
    table = Table()
    notifier = JobNotifier(table.read, poll_s=30)

    async def wait() -> JobView | None:
        waiting = asyncio.create_task(notifier.wait("job-1", LOCAL_ACTOR, 60))
        while not table.looks:
            await asyncio.sleep(0.01)
        table.jobs["job-1"] = replace(JOB, status="completed")
        notifier.changed()
        return await waiting

    view = asyncio.run(wait())
    notifier.close()
    assert view is not None
    assert view.job.status == "completed"


def test_a_job_that_another_process_ended_is_seen_by_looking() -> None:
    table = Table()
    notifier = JobNotifier(table.read, poll_s=0.02)

    async def wait() -> JobView | None:
        waiting = asyncio.create_task(notifier.wait("job-1", LOCAL_ACTOR, 60))
        await asyncio.sleep(0.05)
        table.jobs["job-1"] = replace(JOB, status="failed")
        return await waiting

    view = asyncio.run(wait())
    notifier.close()
    assert view is not None
    assert view.is_terminal


def test_a_wait_answers_with_the_job_as_it_is_when_the_time_is_up() -> None:
    notifier = JobNotifier(Table().read, poll_s=0.02)
    view = asyncio.run(notifier.wait("job-1", LOCAL_ACTOR, 0.1))
    notifier.close()
    assert view is not None
    assert view.job.status == "queued"


def test_a_wait_that_is_shorter_than_a_look_is_answered_by_the_look() -> None:
    table = Table()

    def slowly(actor: Actor, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        time.sleep(0.3)
        return table.read(actor, job_ids)

    notifier = JobNotifier(slowly, poll_s=30)
    view = asyncio.run(notifier.wait("job-1", LOCAL_ACTOR, 0.01))
    absent = asyncio.run(notifier.wait("job-2", LOCAL_ACTOR, 0.01))
    notifier.close()
    assert view is not None
    assert view.job.status == "queued"
    assert absent is None


def test_an_unknown_job_and_another_owners_job_are_answered_at_once() -> None:
    notifier = JobNotifier(Table().read, poll_s=30)
    assert asyncio.run(notifier.wait("job-2", LOCAL_ACTOR, 60)) is None
    assert asyncio.run(notifier.wait("job-1", Actor("somebody-else"), 60)) is None
    notifier.close()


def test_two_hundred_waiters_share_one_thread_and_few_looks() -> None:
    table = Table()
    notifier = JobNotifier(table.read, poll_s=30)
    before = threading.active_count()

    async def wait_all() -> tuple[list[JobView | None], int]:
        waiting = [asyncio.create_task(notifier.wait("job-1", LOCAL_ACTOR, 60)) for _ in range(200)]
        while not table.looks:
            await asyncio.sleep(0.01)
        threads = threading.active_count() - before
        table.jobs["job-1"] = replace(JOB, status="completed")
        notifier.changed()
        return await asyncio.gather(*waiting), threads

    views, threads = asyncio.run(wait_all())
    notifier.close()
    assert len([v for v in views if v is not None and v.is_terminal]) == 200
    assert threads == 1
    assert table.looks < 200


def test_closing_lets_waiters_go() -> None:
    notifier = JobNotifier(Table().read, poll_s=0.02)

    async def wait() -> JobView | None:
        waiting = asyncio.create_task(notifier.wait("job-1", LOCAL_ACTOR, 60))
        await asyncio.sleep(0.1)
        await asyncio.get_running_loop().run_in_executor(None, notifier.close)
        return await waiting

    view = asyncio.run(wait())
    assert view is not None
