"""`docatlas jobs`: what is running, what waits, and what became of the rest."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import (
    AsJson,
    Cursor,
    DataDir,
    Limit,
    as_called,
    open_data,
    print_cursor,
    print_json,
    print_page_json,
    print_table,
)
from cli.passwords import in_options
from database.records import LOCAL_ACTOR

if TYPE_CHECKING:
    from services.queue.job_view import JobView

app = typer.Typer(help="Jobs: list, show, cancel, retry, backfill.", no_args_is_help=True)


class JobStatus(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


JobId = Annotated[str, typer.Argument(help="The job's id.")]


@app.command("list")
def list_(
    status: Annotated[list[JobStatus] | None, typer.Option("--status", help="Only these; may be repeated.")] = None,
    document: Annotated[str | None, typer.Option("--document", help="Only this document's.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Lists the jobs, newest first."""
    from services.filters import refusing_bad_queries
    from services.jobs import client

    with open_data(data_dir) as runtime, refusing_bad_queries():
        page = client.list_jobs(
            runtime,
            LOCAL_ACTOR,
            status=[one.value for one in status or ()],
            document_id=document,
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        print_page_json([view.as_json() for view in page.data], page.next_cursor)
        return
    print_table(
        ("id", "type", "status", "stage", "progress", "attempts", "created at"),
        [
            (v.job.job_id, v.job.type, v.job.status, v.job.stage, progress(v), v.job.attempts, v.job.created_at)
            for v in page.data
        ],
        right=("progress", "attempts"),
    )
    print_cursor(page.next_cursor)


@app.command()
def show(job_id: JobId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Shows a job: how far it is, what it warned of, why it failed."""
    from services.jobs import client

    with open_data(data_dir) as runtime:
        print_job(client.get_job(runtime, LOCAL_ACTOR, job_id), as_json=as_json)


@app.command()
def backfill(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Computes the vectors of pictures that were stored before there was a picture model, and waits for it."""
    from cli.follow import follow_jobs
    from services.jobs import client

    with open_data(data_dir) as runtime:
        view = client.add_backfill(runtime, LOCAL_ACTOR)
        follow_jobs(runtime, {view.job.job_id: "pictures"})
        ended = client.get_job(runtime, LOCAL_ACTOR, view.job.job_id)
        print_job(ended, as_json=as_json)
    if ended.job.status != "completed":
        raise typer.Exit(1)


@app.command()
def cancel(job_id: JobId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Cancels a job that waits, and asks one that runs to stop."""
    from services.jobs import client

    with open_data(data_dir) as runtime:
        print_job(client.cancel(runtime, LOCAL_ACTOR, job_id), as_json=as_json)


@app.command()
def retry(job_id: JobId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Queues a failed or cancelled job again; a running server takes it, else the next `ingest` or `serve`."""
    from services.jobs import client

    with open_data(data_dir) as runtime:
        print_job(client.retry(runtime, LOCAL_ACTOR, job_id), as_json=as_json)


def progress(view: JobView) -> str:
    """How far a job is, in a few characters."""
    job = view.job
    if job.status == "queued":
        return f"{view.queue_position} before it" if view.queue_position else "next"
    if job.pages_total:
        return f"{job.pages_done}/{job.pages_total} pages"
    return f"{job.percent:.0f} %"


def print_job(view: JobView, *, as_json: bool) -> None:
    """Prints one job."""
    found: dict[str, Any] = view.as_json()
    if as_json:
        print_json(found)
        return
    rows: list[tuple[str, object]] = [
        (name, found[name])
        for name in (
            "id",
            "type",
            "document_id",
            "status",
            "stage",
            "attempts",
            "created_at",
            "started_at",
            "finished_at",
        )
        if found[name] is not None
    ]
    rows.append(("progress", progress(view)))
    rows += [("warning", as_called(str(one.get("message")))) for one in found["warnings"]]
    if found["error"]:
        detail = in_options(found["error"]["detail"])
        rows.append(("error", as_called(f"[{found['error']['code']}] {detail}")))
    print_table(("field", "value"), rows)
