"""`docatlas ingest`: files and folders in, one line for each on what became of it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import (
    AsJson,
    DataDir,
    as_called,
    counted,
    open_data,
    parse_object,
    print_error,
    print_json,
    print_line,
    print_table,
    progress_console,
)
from cli.follow import follow_jobs
from cli.models import require_text_model
from cli.options import ChunkOverlap, ChunkSize, Ocr, OcrLanguages, Pages, options_given
from cli.passwords import AskPassword, PasswordFile, document_password, in_options, require_own_worker
from database.records import LOCAL_ACTOR, DocumentRecord
from services.documents.json import document_json
from services.errors import DocatlasError, InputError, NotFound, error_from
from services.options import parse_options

if TYPE_CHECKING:
    from services.content import Received
    from services.documents.documents import Accepted, Difference
    from services.queue.job_view import JobView
    from services.runtime import Runtime

BATCH = 50
"""Files that are accepted in one transaction; their bytes lie on disk, so this bounds the wait of other writers."""
COPY_BYTES = 1 << 20


@dataclass(slots=True)
class Entry:
    """One file of the command line and what became of it."""

    path: Path
    outcome: str = "rejected"
    document: DocumentRecord | None = None
    job: JobView | None = None
    error: DocatlasError | None = None
    children: Sequence[str] = ()
    """Ids of the documents inside a mail or an archive."""
    changed: Sequence[Difference] = ()
    kept: Sequence[Difference] = ()

    @property
    def has_failed(self) -> bool:
        """True when the file cannot be searched now because something was wrong with it."""
        return self.error is not None

    def as_json(self) -> dict[str, Any]:
        job = None if self.job is None else self.job.job
        return {
            "path": str(self.path),
            "filename": self.path.name,
            "outcome": self.outcome,
            "document": document_json(self.document, self.children, job) if self.document else None,
            "job": self.job.as_json() if self.job else None,
            "error": _error_json(self.error) if self.error else None,
            "changed": [one.as_json() for one in self.changed],
            "kept": [one.as_json() for one in self.kept],
        }


def _error_json(error: DocatlasError) -> dict[str, Any]:
    """The problem with what was wrong with each field, where that is known."""
    shown = error.problem.as_json()
    if error.errors:
        shown["errors"] = [{"pointer": e.pointer, "message": e.message} for e in error.errors]
    return shown


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders; a folder is taken with all below it.")],
    ocr: Ocr = None,
    ocr_language: OcrLanguages = None,
    chunk_size: ChunkSize = None,
    chunk_overlap: ChunkOverlap = None,
    pages: Pages = None,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Keep the documents' pictures.")] = True,
    metadata: Annotated[
        str | None, typer.Option("--metadata", help="JSON object kept with each document and usable as a filter.")
    ] = None,
    ask_password: AskPassword = False,
    password_file: PasswordFile = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the files can be searched, or only queue them.")
    ] = True,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Reads files into the data folder. Exits with 1 when one was rejected or failed.

    A running server on the same folder does the work; without one it is done here. Hidden files are left out.
    """
    options = options_given(ocr, ocr_language, chunk_size, chunk_overlap, pages)
    options["extract_images"] = None if images else False
    options["password"] = document_password(ask_password, password_file, waits=wait)
    tags = parse_object(metadata, "--metadata")
    with open_data(data_dir) as runtime:
        if options["password"] is not None:
            require_own_worker(runtime.settings)
        parse_options(options, defaults=runtime.settings.default_options)
        if wait:
            require_text_model(runtime.settings)
        entries: list[Entry] = []
        try:
            for batch in _batches(find_files(paths)):
                entries += submit(runtime, batch, options, tags)
            if wait:
                _wait(runtime, entries)
        except KeyboardInterrupt:
            queued = sum(entry.job is not None for entry in entries)
            progress_console().print(
                as_called(
                    f"stopped; {counted(queued, 'file')} queued, to go on with the next `docatlas ingest` or "
                    "`docatlas serve`"
                )
            )
            raise
    _report(entries, as_json=as_json)
    if any(entry.has_failed for entry in entries):
        raise typer.Exit(1)


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Every file named, and every file below the folders named, by name.

    Hidden ones below a folder are left out. A path that does not exist is yielded too: it is rejected like any file
    that cannot be read.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, below, names in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                found = Path(folder) / name
                if not name.startswith(".") and found.is_file():  # a pipe or a socket would never end
                    yield found


def submit(
    runtime: Runtime, paths: Sequence[Path], options: Mapping[str, Any], metadata: Mapping[str, Any] | None
) -> list[Entry]:
    """Copies the files into the data folder and queues their jobs.

    One entry a path, in order.
    """
    from services.documents.documents import accept

    received = [_receive(runtime, path) for path in paths]
    accepted: list[Accepted | DocatlasError]
    try:
        accepted = list(accept(runtime, LOCAL_ACTOR, received, options=options, metadata=dict(metadata or {})))
    except InputError as error:
        if len(received) != 1:
            raise
        accepted = [error]  # a single file that is refused is raised, not listed
    finally:
        for one in received:
            if one.upload is not None:
                one.upload.path.unlink(missing_ok=True)
    entries = []
    for path, found in zip(paths, accepted, strict=True):
        if isinstance(found, DocatlasError):
            entries.append(Entry(path, error=found))
        else:
            entries.append(
                Entry(
                    path,
                    found.outcome,
                    found.document,
                    found.job,
                    found.error,
                    changed=found.changed,
                    kept=found.kept,
                )
            )
    return entries


def _receive(runtime: Runtime, path: Path) -> Received:
    """Copies the file into the data folder's scratch, and hashes it on the way.

    The caller removes the copy.
    """
    from database.ids import new_id
    from services.content import Received, Upload
    from services.documents.documents import too_large
    from services.filenames import display_name

    limit = runtime.settings.max_upload_bytes
    name = display_name(path.name)
    copy = runtime.blobs.scratch() / f"upload-{new_id()}"
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as source, copy.open("xb") as target:
            while block := source.read(COPY_BYTES):
                size += len(block)
                if size > limit:
                    copy.unlink()
                    return Received(name, None, too_large(limit))
                digest.update(block)
                target.write(block)
    except FileNotFoundError:
        copy.unlink(missing_ok=True)
        return Received(
            name, None, InputError(f"There is no file or folder {path}. Check the path.", code="file_not_found")
        )
    except OSError as error:
        copy.unlink(missing_ok=True)
        reason = error.strerror or type(error).__name__
        return Received(name, None, InputError(f"{path} cannot be read: {reason}.", code="file_unreadable"))
    return Received(name, Upload(copy, name, "", digest.hexdigest(), size))


def _batches(paths: Iterator[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    for path in paths:
        batch.append(path)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _wait(runtime: Runtime, entries: Sequence[Entry]) -> None:
    """Fills in how each job ended and what its document is by then."""
    from services.documents.documents import children_of, get_document
    from services.errors import Problem
    from services.queue.job_view import JobView

    labels = {entry.job.job.job_id: entry.path.name for entry in entries if entry.job is not None}
    ended = follow_jobs(runtime, labels)
    for entry in entries:
        if entry.document is None:
            continue
        try:
            entry.document = get_document(runtime, LOCAL_ACTOR, entry.document.document_id)
            entry.children = children_of(runtime, LOCAL_ACTOR, entry.document.document_id)
        except NotFound as error:
            entry.error = error  # somebody deleted it meanwhile
            continue
        job = ended.get(entry.job.job.job_id) if entry.job is not None else None
        if job is None:
            continue
        entry.job = JobView(job, None)
        if job.status == "failed":
            entry.error = error_from(Problem(**(job.error or Problem("InternalError", "internal_error", "").as_json())))
        elif job.status == "cancelled":
            entry.error = InputError("The job was cancelled.", code="job_cancelled")


def _report(entries: Sequence[Entry], *, as_json: bool) -> None:
    failed = [entry for entry in entries if entry.has_failed]
    for entry in failed:
        assert entry.error is not None
        detail, path = in_options(entry.error.detail), str(entry.path)
        print_error(detail if path in detail else f"{path}: {detail}", entry.error.code)
    if as_json:
        outcomes = [entry.outcome for entry in entries]
        print_json(
            {
                "data": [entry.as_json() for entry in entries],
                "summary": {
                    "files": len(entries),
                    **{name: outcomes.count(name) for name in ("created", "updated", "duplicate", "rejected")},
                    "failed": len(failed),
                },
            }
        )
        return
    rows = []
    for entry in entries:
        document = entry.document
        error = entry.error
        what = f"[{error.code}] {as_called(in_options(error.detail))}" if error else _notes(entry)
        status = document.status if document else ""
        counts = (document.page_count, document.total_chunks) if document else ("", "")
        rows.append((entry.outcome, status, *counts, entry.path, what))
    if rows:
        print_table(("outcome", "status", "pages", "chunks", "file", "note"), rows, right=("pages", "chunks"))
        print_line(f"{counted(len(entries), 'file')}, {len(failed)} rejected or failed")
    else:
        sys.stderr.write("no files found\n")


def _notes(entry: Entry) -> str:
    document = entry.document
    inside = [f"{len(entry.children)} inside"] if entry.children else []
    inside += [f"its {one.member} was {_shown(one.stored)}" for one in entry.changed]
    inside += [f"keeps its {one.member} {_shown(one.stored)}" for one in entry.kept]
    codes = dict.fromkeys(str(warning.get("code")) for warning in document.warnings) if document else {}
    return ", ".join([*inside, *codes])


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
