"""Waits for jobs, whoever runs them, and shows on stderr how far they are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.console import plain, progress_console
from database.jobs import jobs as job_rows
from database.records import LOCAL_ACTOR, TERMINAL_STATUSES, JobRecord

if TYPE_CHECKING:
    from services.runtime import Runtime

POLL_S = 0.15
"""Between two looks at the jobs table: often enough for a bar, and some milliseconds of work each."""


def follow_jobs(runtime: Runtime, labels: Mapping[str, str]) -> dict[str, JobRecord | None]:
    """Waits until all jobs of `labels` have ended; returns them by id.

    `labels` maps ids to the names shown.

    None stands for a job whose document was deleted. This process runs jobs itself whenever no other holds the worker's
    lease, and takes over from one that dies.
    """
    found: dict[str, JobRecord | None] = {}
    if not labels:
        return found
    from services.jobs.worker import Worker

    with Worker(runtime), _progress() as progress:
        overall = progress.add_task("all files", total=len(labels), stage="")
        bars: dict[str, TaskID] = {}
        waiting = list(labels)
        while waiting:
            with runtime.store.begin(LOCAL_ACTOR) as tx:
                jobs = job_rows.get_many(tx, waiting)
            for job_id in waiting:
                job = jobs.get(job_id)
                if job is None or job.status in TERMINAL_STATUSES:
                    found[job_id] = job
                    if job_id in bars:
                        progress.remove_task(bars.pop(job_id))
                elif job.status != "queued":
                    if job_id not in bars:
                        bars[job_id] = progress.add_task(plain(labels[job_id]).plain, total=None, stage="")
                    _show(progress, bars[job_id], job)
            progress.update(overall, completed=len(found))
            waiting = [job_id for job_id in waiting if job_id not in found]
            if waiting:
                time.sleep(POLL_S)
    return found


def _progress() -> Progress:
    console = progress_console()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[stage]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _show(progress: Progress, bar: TaskID, job: JobRecord) -> None:
    stage = "stopping" if job.status == "cancelling" else (job.stage or "")
    progress.update(bar, total=job.pages_total or None, completed=job.pages_done, stage=stage)
