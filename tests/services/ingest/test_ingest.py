"""The ingest job on a real store, with real children: what it stores, how it resumes, how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from database.documents import contents, documents, images
from database.jobs import claims
from database.jobs import jobs as job_rows
from database.records import LOCAL_ACTOR, DocumentFilter, worker_for
from services.errors import Conflict
from services.jobs.client import cancel, retry
from services.jobs.jobs import run_claimed_job
from services.options import parse_options
from services.runtime import Runtime
from tests.support.databases import Databases
from tests.support.ingest_cases import WORKER, document_of, run_next, submit, text_of, write
from tests.support.paths import DATA


def test_a_text_file_is_stored_with_chunks_that_slice_its_text(runtime: Runtime, tmp_path: Path) -> None:
    prose = "\n\n".join(f"Paragraph {n} speaks of the lighthouse number {n}." * 5 for n in range(30))
    submission = submit(runtime, write(tmp_path / "a.txt", prose))
    job = run_next(runtime)
    assert (job.status, job.error) == ("completed", None)
    document = document_of(runtime, submission.document.document_id)
    text = text_of(runtime, document.document_id)
    assert document.total_chars == len(text)
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        chunks = contents.list_chunks(tx, document.document_id, limit=200, cursor=None).data
    assert len(chunks) == document.total_chunks > 3
    for chunk in chunks:
        assert "".join(text[s["char_start"] : s["char_end"]] for s in chunk.spans) == chunk.chunk_text


def test_a_failed_document_leaves_nothing_to_search(runtime: Runtime, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_bytes((DATA / "report.pdf").read_bytes()[:400])
    submission = submit(runtime, broken)
    job = run_next(runtime)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"]
    document = document_of(runtime, submission.document.document_id)
    assert (document.status, document.total_chunks, document.generation) == ("failed", 0, 0)
    assert not runtime.store.search_keywords(LOCAL_ACTOR, "the", k=5, only=DocumentFilter())


def test_an_encrypted_pdf_is_reported_and_read_with_its_password(runtime: Runtime, databases: Databases) -> None:
    submit(runtime, DATA / "encrypted.pdf")
    failed = run_next(runtime)
    assert failed.error is not None
    assert failed.error["code"] == "password_required"
    with runtime.store.begin(LOCAL_ACTOR, write=True) as tx:
        again = job_rows.retry(tx, failed.job_id)
    assert again is not None
    runtime.passwords.keep(again.job_id, "open sesame")
    assert run_next(runtime).status == "completed"
    stored = databases.dump(runtime.settings.data_dir)
    assert again.job_id.encode() in stored
    assert b'"password"' not in stored
    assert b"open sesame" not in stored
    assert runtime.passwords.of(again.job_id) is None


def test_reprocessing_keeps_the_old_content_until_the_new_one_is_there(runtime: Runtime, tmp_path: Path) -> None:
    submission = submit(runtime, write(tmp_path / "a.txt", "The harbour opens at dawn. " * 80))
    document_id = submission.document.document_id
    run_next(runtime)
    before = document_of(runtime, document_id)
    with runtime.store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, document_id, parse_options({"chunk_size": 300, "chunk_overlap": 50}).as_json())
    assert document_of(runtime, document_id).total_chunks == before.total_chunks
    assert runtime.store.search_keywords(LOCAL_ACTOR, "harbour", k=50, only=DocumentFilter())
    run_next(runtime)
    after = document_of(runtime, document_id)
    assert after.total_chunks > before.total_chunks
    hits = runtime.store.search_keywords(LOCAL_ACTOR, "harbour", k=100, only=DocumentFilter())
    assert len(hits) == after.total_chunks


def test_a_resumed_ingest_does_not_read_stored_pages_again(runtime: Runtime) -> None:
    """Pages that an interrupted run stored are taken as they are: a mark put into one survives the second run."""
    submission = submit(runtime, DATA / "scanned.pdf")
    assert submission.job is not None
    document_id, generation = submission.document.document_id, submission.job.generation
    claimed = runtime.store.claim_job("worker-that-dies")
    assert claimed is not None

    def stop_after_first_page() -> bool:
        with runtime.store.begin(LOCAL_ACTOR) as tx:
            return any(True for _ in contents.pages_written(tx, document_id, generation))

    run_claimed_job(claimed, runtime, "worker-that-dies", stop_after_first_page)
    with runtime.store.begin(worker_for(LOCAL_ACTOR.user_id), write=True) as tx:
        stored = list(contents.pages_written(tx, document_id, generation))
        first = stored[0]
        marked = {"text": "MARKED", "layout": {"words": [], "blocks": []}, "word_count": 1}
        contents.write_page(tx, document_id, generation, _replaced(first, **marked))
    assert run_next(runtime).status.startswith("completed")
    assert text_of(runtime, document_id).startswith("MARKED")


def _replaced(record: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(record, **changes)


def test_vectors_of_unchanged_text_are_not_computed_again(runtime: Runtime, tmp_path: Path) -> None:
    calls: list[int] = []
    embedder = runtime.text_embedder

    class Counting:
        space, max_tokens, tokenizer_path = embedder.space, embedder.max_tokens, embedder.tokenizer_path
        is_loaded = True

        def embed(self, texts: Any, *, urgent: bool = False) -> Any:
            calls.append(len(texts))
            return embedder.embed(texts, urgent=urgent)

        def warm_up(self) -> None:
            embedder.warm_up()

    runtime.text_embedder = Counting()
    submission = submit(runtime, write(tmp_path / "a.txt", "The harbour opens at dawn. " * 200))
    run_next(runtime)
    first = sum(calls)
    assert first > 0
    with runtime.store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, submission.document.document_id, submission.document.options)
    run_next(runtime)
    assert sum(calls) == first


def test_a_cancelled_job_leaves_nothing_and_can_be_retried(runtime: Runtime, tmp_path: Path) -> None:
    submission = submit(runtime, write(tmp_path / "a.txt", "The harbour opens at dawn. " * 200))
    assert submission.job is not None
    assert cancel(runtime, LOCAL_ACTOR, submission.job.job_id).job.status == "cancelled"
    with pytest.raises(Conflict):
        cancel(runtime, LOCAL_ACTOR, submission.job.job_id)
    assert document_of(runtime, submission.document.document_id).status == "cancelled"
    assert retry(runtime, LOCAL_ACTOR, submission.job.job_id).job.status == "queued"
    assert run_next(runtime).status == "completed"
    with pytest.raises(Conflict):
        retry(runtime, LOCAL_ACTOR, submission.job.job_id)


def test_a_running_job_is_cancelled_at_its_next_heartbeat(runtime: Runtime) -> None:
    submission = submit(runtime, DATA / "scanned.pdf")
    assert submission.job is not None
    claimed = runtime.store.claim_job(WORKER)
    assert claimed is not None
    assert cancel(runtime, LOCAL_ACTOR, claimed.job_id).job.status == "cancelling"
    run_claimed_job(claimed, runtime, WORKER)
    document = document_of(runtime, submission.document.document_id)
    assert (document.status, document.total_chunks) == ("cancelled", 0)
    assert not list(runtime.blobs.scratch().glob("worker-*/*"))


def test_a_document_deleted_while_it_is_read_ends_its_job_quietly(runtime: Runtime) -> None:
    submission = submit(runtime, DATA / "scanned.pdf")
    claimed = runtime.store.claim_job(WORKER)
    assert claimed is not None
    with runtime.store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.delete(tx, submission.document.document_id)
    run_claimed_job(claimed, runtime, WORKER)
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        assert job_rows.get(tx, claimed.job_id) is None


def test_a_job_whose_process_died_too_often_is_given_up(runtime: Runtime, tmp_path: Path) -> None:
    submit(runtime, write(tmp_path / "a.txt", "The harbour opens at dawn."))
    for life in range(26):
        claimed = runtime.store.claim_job(f"worker-{life}")
        assert claimed is not None
        job_id = claimed.job_id
        if claimed.attempts > 25:
            run_claimed_job(claimed, runtime, f"worker-{life}")
        with runtime.store.begin(LOCAL_ACTOR, write=True) as tx:
            claims.requeue_orphans(tx, "nobody", silent_since="2000-01-01T00:00:00.000000Z")
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        job = job_rows.get(tx, job_id)
    assert job is not None
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("failed", "worker_lost")


def test_pictures_without_a_model_are_kept_and_said_to_be_pending(runtime: Runtime) -> None:
    submission = submit(runtime, DATA / "letter.png", ocr="off")
    assert run_next(runtime).status == "completed"
    document = document_of(runtime, submission.document.document_id)
    assert [w["code"] for w in document.warnings if w["code"] == "image_vectors_pending"] == ["image_vectors_pending"]
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        (image,) = images.list_images(tx, document.document_id)
    assert image.space is None
    assert runtime.blobs.exists(image.sha256)
