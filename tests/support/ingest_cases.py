"""What the tests of ingest share: an upload in the queue, its job run in this thread, what it stored."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from database.documents import contents, documents
from database.jobs import jobs as job_rows
from database.records import LOCAL_ACTOR, DocumentRecord, JobRecord, Submission
from services.content import PAGE_SEPARATOR
from services.formats.detection.detect import detect_format
from services.jobs.jobs import run_claimed_job
from services.options import parse_options
from services.runtime import Runtime

WORKER = "worker-of-the-test"


def submit(runtime: Runtime, path: Path, **options: Any) -> Submission:
    """Puts a copy of `path` into the blob store and its job into the queue."""
    copy = runtime.blobs.scratch() / "upload"
    shutil.copyfile(path, copy)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    detection = detect_format(copy, path.name, runtime.settings.limits)
    with runtime.store.begin(LOCAL_ACTOR, write=True) as tx:
        runtime.blobs.adopt(copy, sha256)
        return documents.submit_upload(
            tx,
            filename=path.name,
            file_type=detection.format.value,
            media_type=detection.media_type,
            file_size=path.stat().st_size,
            sha256=sha256,
            options=parse_options(options).as_json(),
            metadata={},
        )


def run_next(runtime: Runtime) -> JobRecord:
    """Runs the oldest queued job in this thread and returns its row afterwards."""
    job = runtime.store.claim_job(WORKER)
    assert job is not None
    run_claimed_job(job, runtime, WORKER)
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        ended = job_rows.get(tx, job.job_id)
    assert ended is not None
    return ended


def document_of(runtime: Runtime, document_id: str) -> DocumentRecord:
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        document = documents.get(tx, document_id)
    assert document is not None
    return document


def text_of(runtime: Runtime, document_id: str) -> str:
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        return PAGE_SEPARATOR.join(page.text for page in contents.read_pages(tx, document_id))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
