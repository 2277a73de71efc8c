"""`docatlas documents`: what is stored, its text, and what to do with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from cli.console import (
    AsJson,
    Cursor,
    DataDir,
    Limit,
    human_bytes,
    open_data,
    print_cursor,
    print_error,
    print_json,
    print_line,
    print_page_json,
    print_table,
    print_text,
)
from cli.follow import follow_jobs
from cli.options import ChunkOverlap, ChunkSize, Ocr, OcrLanguages, Pages, options_given
from cli.passwords import AskPassword, PasswordFile, document_password, in_options, require_own_worker
from database.records import LOCAL_ACTOR, DocumentFilter, DocumentRecord, JobRecord
from services.documents.json import document_json

app = typer.Typer(help="Documents: list, show, content, reprocess, delete.", no_args_is_help=True)

DocumentId = Annotated[str, typer.Argument(help="The document's id.")]


class DocumentStatus(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ContentForm(StrEnum):
    MARKDOWN = "markdown"
    TEXT = "text"
    JSON = "json"


@app.command("list")
def list_(
    status: Annotated[
        list[DocumentStatus] | None, typer.Option("--status", help="Only these; may be repeated.")
    ] = None,
    format_: Annotated[list[str] | None, typer.Option("--format", help="Only these; may be repeated.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only names that contain this.")] = None,
    parent: Annotated[str | None, typer.Option("--parent", help="What lies in this mail or archive.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Lists the documents, newest first. Those inside mails and archives are listed with --parent only."""
    from services.documents import documents
    from services.formats.registry import Format

    unknown = sorted(set(format_ or ()) - {one.value for one in Format})
    if unknown:
        known = ", ".join(sorted(one.value for one in Format))
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {known}", param_hint="'--format'")
    with open_data(data_dir) as runtime:
        page = documents.list_documents(
            runtime,
            LOCAL_ACTOR,
            only=DocumentFilter(),
            status=[one.value for one in status or ()],
            file_type=format_ or (),
            name_contains=name,
            parent_id=parent,
            limit=limit,
            cursor=cursor,
        )
        newest = documents.newest_jobs(runtime, LOCAL_ACTOR, [one.document_id for one in page.data])
    if as_json:
        print_page_json([document_json(one, (), newest.get(one.document_id)) for one in page.data], page.next_cursor)
        return
    print_table(
        ("id", "format", "status", "pages", "chunks", "size", "created at", "name"),
        [
            (
                d.document_id, d.file_type, d.status, d.page_count, d.total_chunks,
                human_bytes(d.file_size), d.created_at[:19], d.filename,
            )
            for d in page.data
        ],
        right=("pages", "chunks", "size"),
    )  # fmt: skip
    print_cursor(page.next_cursor)


@app.command()
def show(document_id: DocumentId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Shows all that is known of a document."""
    from services.documents import documents

    with open_data(data_dir) as runtime:
        document = documents.get_document(runtime, LOCAL_ACTOR, document_id)
        children = documents.children_of(runtime, LOCAL_ACTOR, document_id)
        job = documents.newest_jobs(runtime, LOCAL_ACTOR, [document_id]).get(document_id)
    print_document(document, children, job, as_json=as_json)


@app.command()
def content(
    document_id: DocumentId,
    form: Annotated[ContentForm, typer.Option("--format", help="What to print.")] = ContentForm.MARKDOWN,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Prints the extracted text. With `--json`, as JSON with its pages and blocks."""
    from services.documents.export import render_content

    if as_json:
        form = ContentForm.JSON
    with open_data(data_dir) as runtime:
        rendered = render_content(runtime, LOCAL_ACTOR, document_id, form.value)
        if sys.stdout.isatty():
            print_text(b"".join(rendered.chunks).decode())
            return
        for chunk in rendered.chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@app.command()
def delete(
    document_ids: Annotated[list[str], typer.Argument(help="The documents' ids.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Deletes documents with every chunk, vector, picture and file. Exits with 1 when one did not exist."""
    from services.documents import documents
    from services.errors import NotFound

    deleted: list[str] = []
    missing: list[str] = []
    with open_data(data_dir) as runtime:
        for document_id in document_ids:
            try:
                documents.delete_document(runtime, LOCAL_ACTOR, document_id)
                deleted.append(document_id)
            except NotFound as error:
                missing.append(document_id)
                print_error(error.detail, error.code)
    if as_json:
        print_json({"deleted": deleted, "missing": missing})
    else:
        print_line(f"{len(deleted)} of {len(document_ids)} documents deleted")
    if missing:
        raise typer.Exit(1)


@app.command()
def reprocess(
    document_id: DocumentId,
    ocr: Ocr = None,
    ocr_language: OcrLanguages = None,
    chunk_size: ChunkSize = None,
    chunk_overlap: ChunkOverlap = None,
    pages: Pages = None,
    ask_password: AskPassword = False,
    password_file: PasswordFile = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end, or only queue it.")] = True,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Reads a stored document again; options left out stay as they were."""
    from services.documents import documents
    from services.jobs import client

    options = options_given(ocr, ocr_language, chunk_size, chunk_overlap, pages)
    options["password"] = document_password(ask_password, password_file, waits=wait)
    with open_data(data_dir) as runtime:
        if options["password"] is not None:
            require_own_worker(runtime.settings)
        view = documents.reprocess(runtime, LOCAL_ACTOR, document_id, options)
        if wait:
            follow_jobs(runtime, {view.job.job_id: document_id})
        view = client.get_job(runtime, LOCAL_ACTOR, view.job.job_id)
        document = documents.get_document(runtime, LOCAL_ACTOR, document_id)
        children = documents.children_of(runtime, LOCAL_ACTOR, document_id)
    if as_json:
        print_json({"document": document_json(document, children, view.job), "job": view.as_json()})
    else:
        print_document(document, children, view.job, as_json=False)
    if view.job.status in ("failed", "cancelled"):
        error = view.job.error or {"code": "job_cancelled", "detail": "The job was cancelled."}
        print_error(in_options(error["detail"]), error["code"])
        raise typer.Exit(1)


def print_document(
    document: DocumentRecord, children: Sequence[str] = (), job: JobRecord | None = None, *, as_json: bool
) -> None:
    """Prints one document; `children` are the ids of those inside it, `job` is its newest one."""
    found = document_json(document, children, job)
    if as_json:
        print_json(found)
        return
    rows: list[Sequence[object]] = [
        (name, value)
        for name, value in found.items()
        if value not in (None, "", {}, []) and name not in ("object", "warnings", "children", "error", "job")
    ]
    if job is not None:
        rows.append(("job", f"{job.job_id} ({job.status})"))
    if found["error"] is not None:
        rows.append(("error", f"[{found['error']['code']}] {in_options(found['error']['detail'])}"))
    rows += [("child", child_id) for child_id in children]
    rows += [
        ("warning", f"[{w.get('code')}] {'page ' + str(w['page']) + ': ' if w.get('page') else ''}{w.get('message')}")
        for w in document.warnings
    ]
    print_table(("field", "value"), rows)
