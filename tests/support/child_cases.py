"""What the tests of mails and archives share: uploads that hold others, and the jobs that read them."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from typing import Any

from database.documents import documents
from database.records import (
    LOCAL_ACTOR,
    DocumentFilter,
    DocumentRecord,
    JobRecord,
)
from services.jobs.client import get_job
from services.jobs.jobs import run_claimed_job
from services.runtime import Runtime
from tests.support.ingest_cases import WORKER, submit

NOTE = b"The harbour opens at dawn and closes at dusk.\n"
OTHER = b"The lighthouse keeper counts the ships.\n"


def mail_with(**files: bytes) -> bytes:
    mail = EmailMessage()
    mail["Subject"] = "Papers"
    mail["From"] = "Petra Lind <petra@example.org>"
    mail["To"] = "office@example.org"
    mail.set_content("Please file what is attached.\n")
    for name, data in files.items():
        mail.add_attachment(data, "application", "octet-stream", filename=name.replace("_", "."))
    return mail.as_bytes()


def send(runtime: Runtime, folder: Path, name: str, data: bytes, **options: Any) -> tuple[str, str]:
    """Queues an upload; the ids of its document and job."""
    path = folder / name
    path.write_bytes(data)
    submission = submit(runtime, path, **options)
    assert submission.job is not None
    return submission.document.document_id, submission.job.job_id


def run_all(runtime: Runtime) -> list[JobRecord]:
    """Runs what is queued, one after the other; the jobs as each of them was when its turn was over."""
    ended = []
    while (job := runtime.store.claim_job(WORKER)) is not None:
        run_claimed_job(job, runtime, WORKER)
        ended.append(job_of(runtime, job.job_id))
    return ended


def job_of(runtime: Runtime, job_id: str) -> JobRecord:
    return get_job(runtime, LOCAL_ACTOR, job_id).job


def children_of(runtime: Runtime, document_id: str) -> dict[str, DocumentRecord]:
    """The children by name."""
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        found = documents.list_page(tx, only=DocumentFilter(), parent_id=document_id, limit=200, cursor=None).data
        assert sorted(d.document_id for d in found) == sorted(documents.children(tx, document_id))
    assert len({document.filename for document in found}) == len(found)
    return {document.filename: document for document in found}


def latest_job(runtime: Runtime, document: DocumentRecord) -> JobRecord:
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        job = documents.latest_job(tx, document.document_id)
    assert job is not None
    return job


def finds(runtime: Runtime, words: str) -> set[str]:
    """Ids of the documents with a chunk that has one of the words."""
    return {hit.document_id for hit in runtime.store.search_keywords(LOCAL_ACTOR, words, k=50, only=DocumentFilter())}
