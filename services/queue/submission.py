"""What follows the submission of jobs: their places in the queue, and who is told."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from database.jobs import jobs
from database.records import JobRecord
from database.store import Transaction
from services.queue.notifier import JobNotifier
from services.queue.passwords import PasswordVault
from services.queue.queue import Queue


def queue_positions(tx: Transaction, queued: Iterable[JobRecord], new: Container[str]) -> dict[str, int | None]:
    """The places in the queue by job id.

    `new` names the jobs that this transaction added.
    """
    positions: dict[str, int | None] = {}
    # The new ones follow one another, because no other writer came between: one look at the queue places them all.
    first: int | None = None
    following = 0
    for job in sorted(queued, key=lambda job: (job.created_at, job.job_id)):
        if job.job_id not in new:
            positions[job.job_id] = jobs.queue_position(tx, job)
        elif job.job_id not in positions:
            first = jobs.queue_position(tx, job) if first is None else first
            positions[job.job_id] = (first or 0) + following
            following += 1
    return positions


def announce_all(queue: Queue, submitted: Iterable[JobRecord]) -> None:
    """Announces jobs that are committed."""
    for job in submitted:
        queue.announce(job.job_id)


def release_stopped(passwords: PasswordVault, notifier: JobNotifier, job_ids: Sequence[str]) -> None:
    """Forgets passwords of jobs that were told to stop, and wakes who waits for them."""
    for job_id in job_ids:
        passwords.forget(job_id)
    if job_ids:
        notifier.changed()
