"""What stands around the submission of a job: languages that are there, passwords, places in the queue, who is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from database.documents import documents
from database.errors import StoreUnavailable
from database.jobs import jobs
from database.records import JobRecord
from database.store import Transaction
from services.options import Options
from services.runtime import Runtime

_log = logging.getLogger(__name__)


def require_languages(runtime: Runtime, given: Mapping[str, Any] | None, options: Options) -> None:
    """Returns when the OCR languages that the request names are installed. Raises CapabilityMissing.

    Without an OCR engine, or where the server's default is meant, only the pages that need it tell what is missing.
    """
    if (given or {}).get("ocr_languages") is None or options.ocr == "off" or runtime.ocr_engines.name == "none":
        return
    runtime.ocr_engines.require(options.ocr_languages)


@contextmanager
def keeping_password(runtime: Runtime, password: str | None) -> Iterator[Callable[[JobRecord], None]]:
    """A function that keeps the password for a job; call it before the job's transaction commits.

    A worker may claim the job the moment it is committed. Where nothing is committed, nothing is kept.
    """
    with ExitStack() as undo:

        def keep(job: JobRecord) -> None:
            if password is not None:
                runtime.passwords.keep(job.job_id, password)
                undo.callback(runtime.passwords.forget, job.job_id)

        yield keep
        undo.pop_all()


def queue_positions(tx: Transaction, queued: Iterable[JobRecord], new: Container[str]) -> dict[str, int | None]:
    """The places in the queue by job id; `new` names the jobs that this transaction added."""
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


def announce(runtime: Runtime, queued: Iterable[JobRecord]) -> None:
    """Wakes workers for jobs that are committed."""
    for job in queued:
        runtime.queue.notify(job.job_id)


def stop_jobs(runtime: Runtime, job_ids: Sequence[str]) -> None:
    """Forgets the passwords of jobs that were told to stop, and tells who waits for them."""
    for job_id in job_ids:
        runtime.passwords.forget(job_id)
    if job_ids:
        runtime.notifier.changed()


def remove_unreferenced(runtime: Runtime, sha256s: Sequence[str]) -> None:
    """Removes those of the files that no document refers to any more; call it once the deletion is committed.

    A process that dies before it leaves the files to the worker's sweep.
    """
    if not sha256s:
        return
    try:
        with runtime.fallback.all_references() as transactions:
            for sha256 in unreferenced(transactions, sha256s):
                runtime.blobs.delete(sha256)
    except StoreUnavailable as error:
        _log.warning("files are left to the sweep, which removes what nobody refers to: %s", error)


def unreferenced(transactions: Sequence[Transaction], sha256s: Collection[str]) -> list[str]:
    """Those of `sha256s` that no document refers to in any database; none where not all can be asked."""
    left = set(sha256s) if transactions else set()
    for tx in transactions:
        left &= set(documents.unreferenced(tx, left))
    return sorted(left)
