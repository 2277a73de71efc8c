"""Isolation: owners, transactions and writers that get in each other's way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, inspect

from database import schema
from database.accounts import tables as account_tables
from database.documents import contents, documents, generations, images, searches
from database.errors import StoreBusy
from database.jobs import claims, jobs
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, Actor, Condition, DocumentFilter
from database.store import Store
from tests.support.databases import Databases
from tests.support.store_cases import (
    EVERYTHING,
    OTHER_ACTOR,
    SPACE,
    add_document,
    chunk,
    digest,
    image,
    page,
    submit,
    summary,
    unit,
)

pytestmark = pytest.mark.store_contract


def tables(store: Store) -> list[str]:
    """Names of the tables with rows that belong to somebody."""
    with store.begin(SERVICE_ACTOR) as tx:
        there = set(inspect(tx.connection).get_table_names())
    return [name for name in schema.metadata.tables if name in there]


def count(store: Store, table: str) -> int:
    with store.begin(SERVICE_ACTOR) as tx:
        found: int = tx.connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
        return found


def test_the_same_bytes_of_two_owners_are_two_documents(store: Store) -> None:
    assert submit(store).outcome == "created"
    assert submit(store, actor=OTHER_ACTOR).outcome == "created"


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    document = submit(store).document
    with pytest.raises(RuntimeError), store.begin(SERVICE_ACTOR, write=True) as tx:  # noqa: PT012
        contents.write_chunks(tx, document.document_id, 1, [chunk(0, "half", vector=unit(1))])
        generations.publish(tx, document.document_id, 1, summary(1))
        raise RuntimeError("the power went")
    assert count(store, "document_embeddings") == 0
    with store.begin(LOCAL_ACTOR) as tx:
        kept = documents.get(tx, document.document_id)
    assert kept is not None
    assert kept.generation == 0
    assert store.search_keywords(LOCAL_ACTOR, "half", k=5, only=EVERYTHING) == []


def test_a_reading_transaction_cannot_write(store: Store) -> None:
    document = submit(store).document
    with pytest.raises(Exception, match=r"read.?only"), store.begin(LOCAL_ACTOR) as tx:
        documents.update(tx, document.document_id, title="new")


def test_deleting_an_owner_leaves_no_row_anywhere(store: Store) -> None:
    add_document(store, "a.txt", [unit(1)], actor=OTHER_ACTOR)
    with store.begin(OTHER_ACTOR, write=True) as tx:
        searches.record(tx, query_text="q", query_embedding=unit(1), results_found=1, metadata={})
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        tx.connection.execute(delete(schema.users).where(schema.users.c.user_id == OTHER_ACTOR.user_id))
    left = {name for name in tables(store) if count(store, name)}
    # The one who is gone is written down, so that tokens issued before open nothing.
    assert left == {"users", account_tables.blocked_users.name}


def test_owners_never_see_each_others_rows(store: Store) -> None:
    document_id, ids = add_document(store, "mine.txt", [unit(1)], metadata={"secret": True})
    picture = image(0)
    job = store.claim_job("w")
    assert job is not None
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        images.write_image(tx, document_id, 1, picture)
        images.set_image_vectors(tx, "clip", {picture.image_id: unit(5)})
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        searches.record(tx, query_text="mine", query_embedding=None, results_found=1, metadata={})
    by_id = DocumentFilter(document_ids=[document_id])
    for query in (EVERYTHING, by_id, DocumentFilter(conditions=[Condition("metadata.secret", "$eq", True)])):
        for space, kind in ((SPACE, "text"), ("clip", "image")):
            hits = store.search_vectors(OTHER_ACTOR, unit(1), space=space, kind=kind, k=5, only=query).hits  # type: ignore[arg-type]
            assert hits == []
        assert store.search_keywords(OTHER_ACTOR, "mine passage", k=5, only=query) == []
    with store.begin(OTHER_ACTOR, write=True) as tx:
        nothing: list[Any] = [
            documents.get(tx, document_id),
            documents.get_many(tx, [document_id]),
            documents.list_page(tx, only=EVERYTHING, limit=9, cursor=None).data,
            documents.children(tx, document_id),
            documents.update(tx, document_id, title="stolen"),
            documents.delete(tx, document_id),
            documents.active_job(tx, document_id),
            documents.latest_job(tx, document_id),
            list(contents.pages_written(tx, document_id, 1)),
            contents.cached_vectors(tx, SPACE, [digest("mine.txt passage 0")]),
            generations.publish(tx, document_id, 1, summary(0)),
            generations.drop_other_generations(tx, document_id, 9),
            list(contents.read_pages(tx, document_id)),
            contents.read_page(tx, document_id, 1),
            contents.list_chunks(tx, document_id, limit=9, cursor=None).data,
            contents.get_chunks(tx, ids),
            contents.chunk_vectors(tx, ids),
            contents.chunks_on_page(tx, document_id, 1, 9),
            images.list_images(tx, document_id),
            images.get_image(tx, picture.image_id),
            images.get_images(tx, [picture.image_id]),
            images.images_without_vector(tx, "another", 9),
            images.count_images_without_vector(tx, "another"),
            images.image_vectors(tx, [picture.image_id]),
            images.images_written(tx, document_id, 1),
            jobs.get(tx, job.job_id),
            jobs.get_many(tx, [job.job_id]),
            jobs.list_page(tx, limit=9, cursor=None).data,
            jobs.request_cancel(tx, job.job_id),
            jobs.retry(tx, job.job_id),
            claims.requeue_orphans(tx, "thief", silent_since="2000-01-01T00:00:00.000000Z"),
            jobs.finish(tx, job.job_id, worker_id="w", status="failed"),
            jobs.supersede(tx, document_id),
            searches.list_page(tx, 9, None).data,
        ]
        assert [value for value in nothing if value] == []
        assert jobs.heartbeat(tx, job.job_id, worker_id="w") == "lost"
        jobs.retry_later(tx, job.job_id, worker_id="w", run_after="2000-01-01", error=None)
        jobs.show_status(tx, job, "failed")
        generations.discard_generation(tx, document_id, 1)
        images.set_image_vectors(tx, "another", {picture.image_id: unit(1)})
        for write in (
            lambda: documents.resubmit(tx, document_id, {}),
            lambda: jobs.add(tx, type="ingest", document_id=document_id),
            lambda: contents.write_page(tx, document_id, 1, page(1)),
            lambda: images.write_image(tx, document_id, 1, image(1)),
            lambda: contents.write_chunks(tx, document_id, 1, [chunk(0, "x")]),
        ):
            with pytest.raises(LookupError):
                write()
    with store.begin(LOCAL_ACTOR) as tx:
        kept = documents.get(tx, document_id)
        assert kept is not None
        assert (kept.title, kept.status, kept.generation) == ("", "in_progress", 1)
        assert jobs.get(tx, job.job_id) == job
        assert images.list_images(tx, document_id)[0].space == "clip"


@pytest.mark.parametrize("writer", [LOCAL_ACTOR, SERVICE_ACTOR], ids=["owner", "service"])
def test_a_writer_that_holds_on_too_long_is_reported_as_busy(
    store: Store, databases: Databases, tmp_path: Path, writer: Actor
) -> None:
    hasty = databases.open(tmp_path / "data", lock_timeout_s=0.05)

    def write() -> None:
        with hasty.begin(LOCAL_ACTOR, write=True):
            pass

    # Opened by another store, as by another process, and then by the same one.
    for holder in (store, hasty):
        with ThreadPoolExecutor(1) as another, holder.begin(writer, write=True), pytest.raises(StoreBusy):
            another.submit(write).result()
    with hasty.begin(LOCAL_ACTOR, write=True) as tx:
        assert documents.get(tx, "x") is None
    hasty.close()
