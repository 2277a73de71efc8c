"""Moving what a node took into the main database: whole, once, and what happens to what is there already.

The names of the conflicts are those of the table in docs/fallback.md.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from database import schema
from database.documents import children, contents, documents, generations, images, searches
from database.fallback import journal
from database.fallback.upload_trees import read_upload_trees
from database.jobs import jobs
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, worker_for
from database.store import Store
from tests.support.fallback_cases import (
    Pair,
    counts,
    finish,
    is_empty,
    job_of,
    open_local,
    open_main,
    resolved,
)
from tests.support.postgres_server import DatabaseUrls
from tests.support.store_cases import EVERYTHING, OTHER_ACTOR, SPACE, chunk, image, submit, summary, unit


@pytest.fixture
def pair(postgres: DatabaseUrls, tmp_path: Path) -> Iterator[Pair]:
    both = Pair(open_main(postgres), open_local(tmp_path / "fallback"))
    yield both
    both.close()


def _read(store: Store, name: str, words: str = "tide tables", **given: Any) -> str:
    """A document that was read; its id."""
    document_id = submit(store, name, **given).document.document_id
    finish(store, document_id, words)
    return document_id


def _shown(store: Store, document_id: str) -> Any:
    with store.begin(SERVICE_ACTOR) as tx:
        return documents.get(tx, document_id)


def _texts(store: Store, document_id: str) -> list[str]:
    with store.begin(SERVICE_ACTOR) as tx:
        return [chunk.chunk_text for chunk in contents.list_chunks(tx, document_id, limit=10, cursor=None).data]


def test_a_document_arrives_whole_under_its_own_ids(pair: Pair) -> None:
    document_id = _read(pair.local, "a.txt", metadata={"year": 2024, "share": 1.0, "deep": {"x": [1, "ä"]}})
    with pair.local.begin(worker_for(LOCAL_ACTOR.user_id), write=True) as tx:
        picture = image(0)
        images.write_image(tx, document_id, 1, picture)
        images.set_image_vectors(tx, SPACE, {picture.image_id: unit(7)})
    with pair.local.begin(LOCAL_ACTOR) as tx:
        here = contents.list_chunks(tx, document_id, limit=10, cursor=None).data
        page_here = contents.read_page(tx, document_id, 1)
    job_here, shown_here = job_of(pair.local, document_id), _shown(pair.local, document_id)
    pair.move_all()
    with pair.main.begin(LOCAL_ACTOR) as tx:
        assert contents.list_chunks(tx, document_id, limit=10, cursor=None).data == here
        assert contents.read_page(tx, document_id, 1) == page_here
        assert images.image_vectors(tx, [picture.image_id])[picture.image_id].tolist() == unit(7).tolist()
    assert job_of(pair.main, document_id) == job_here
    assert _shown(pair.main, document_id) == shown_here
    found = pair.main.search_vectors(LOCAL_ACTOR, unit(0), space=SPACE, kind="text", k=1, only=EVERYTHING)
    assert found.hits[0].document_id == document_id
    assert is_empty(pair.local)
    assert pair.happened == {"replayed": 1}


def test_what_was_moved_is_not_moved_again(pair: Pair) -> None:
    _read(pair.local, "a.txt")
    submit(pair.local, "b.txt")
    pair.replay.copy(settled_only=False)
    once = counts(pair.main)
    pair.replay.copy(settled_only=False)
    assert counts(pair.main) == once
    # Killed before it could note that it had arrived, and then before it could note that it was sent.
    with pair.local.begin(SERVICE_ACTOR, write=True) as tx:
        for entry in journal.entries(tx.connection).values():
            journal.note(tx.connection, journal.Entry(entry.document_id, entry.user_id, entry.stamp, "sent"))
    pair.replay.copy(settled_only=False)
    with pair.local.begin(SERVICE_ACTOR, write=True) as tx:
        for entry in journal.entries(tx.connection).values():
            journal.forget(tx.connection, entry.document_id)
    pair.replay.copy(settled_only=False)
    assert counts(pair.main) == once
    pair.move_all()
    assert counts(pair.main) == once
    assert is_empty(pair.local)


def test_documents_arrive_in_the_order_in_which_they_came(pair: Pair) -> None:
    sent = [_read(pair.local, f"{name}.txt", f"words of {name}") for name in "cab"]
    pair.move_all()
    with pair.main.begin(SERVICE_ACTOR) as tx:
        rows = select(schema.chunks.c.document_id).where(schema.chunks.c.chunk_index == 0)
        assert list(tx.connection.scalars(rows.order_by(schema.chunks.c.row_id))) == sent


def test_an_unfinished_job_goes_on_from_its_pages_on_the_main_database(pair: Pair) -> None:
    from tests.support.store_cases import page

    document_id = submit(pair.local, "long.txt").document.document_id
    job = pair.local.claim_job("node.1")
    assert job is not None
    with pair.local.begin(worker_for(LOCAL_ACTOR.user_id), write=True) as tx:
        contents.write_page(tx, document_id, 1, page(1, "half of it"))
        jobs.retry_later(tx, job.job_id, worker_id="node.1", run_after=job.created_at, error=None)
    pair.replay.copy(settled_only=True)
    assert is_empty(pair.main)
    pair.move_all()
    taken = pair.main.claim_job("node.2")
    assert taken is not None
    assert taken.job_id == job.job_id
    with pair.main.begin(worker_for(LOCAL_ACTOR.user_id)) as tx:
        assert [page.text for page in contents.pages_written(tx, document_id, taken.generation)] == ["half of it"]


def test_searches_and_jobs_of_no_document_arrive_once(pair: Pair) -> None:
    with pair.local.begin(LOCAL_ACTOR, write=True) as tx:
        for number in range(3):
            searches.record(tx, query_text=f"q{number}", query_embedding=unit(1), results_found=1, metadata={})
        jobs.add(tx, type="backfill_image_vectors")
    pair.replay.copy(settled_only=True)
    pair.move_all()
    with pair.main.begin(LOCAL_ACTOR) as tx:
        assert [entry.query_text for entry in searches.list_page(tx, 10, None).data] == ["q2", "q1", "q0"]
    assert counts(pair.main)["jobs"] == 1
    assert is_empty(pair.local)


def test_conflict_same_content_same_options_keeps_the_reading_that_was_there(pair: Pair) -> None:
    there = _read(pair.main, "same.txt", "as Postgres read it")
    here = _read(pair.local, "same.txt", "as SQLite read it", metadata={"year": 2025})
    job = job_of(pair.local, here)
    pair.move_all()
    assert resolved(pair.main, here) == there
    assert _texts(pair.main, there) == ["as Postgres read it 0", "as Postgres read it 1"]
    assert _shown(pair.main, there).metadata == {"year": 2025}
    with pair.main.begin(LOCAL_ACTOR) as tx:
        moved = jobs.get(tx, job.job_id)
    assert moved is not None
    assert (moved.status, moved.document_id) == ("completed", there)
    assert counts(pair.main)["documents_metadata"] == 1
    assert is_empty(pair.local)
    again = submit(pair.main, "same.txt", options={"chunk_size": 500})
    assert again.job is not None
    assert again.job.generation > moved.generation


def test_conflict_same_content_other_options_shows_the_reading_from_here(pair: Pair) -> None:
    there = _read(pair.main, "same.txt", "as Postgres read it")
    here = _read(pair.local, "same.txt", "as SQLite read it", options={"chunk_size": 500})
    pair.move_all()
    assert resolved(pair.main, here) == there
    assert _texts(pair.main, there) == ["as SQLite read it 0", "as SQLite read it 1"]
    assert _shown(pair.main, there).options == {"chunk_size": 500}
    assert counts(pair.main)["documents_metadata"] == 1


def test_conflict_same_content_unread_there_is_done_by_the_reading_from_here(pair: Pair) -> None:
    there = submit(pair.main, "same.txt").document.document_id
    claimed = pair.main.claim_job("node.1")
    assert claimed is not None
    _read(pair.local, "same.txt", "as SQLite read it")
    pair.move_all()
    assert _texts(pair.main, there) == ["as SQLite read it 0", "as SQLite read it 1"]
    assert _shown(pair.main, there).status == "completed"
    with pair.main.begin(worker_for(LOCAL_ACTOR.user_id), write=True) as tx:
        done = jobs.get(tx, claimed.job_id)
        assert done is not None
        assert done.status == "completed"
        assert jobs.heartbeat(tx, claimed.job_id, worker_id="node.1") == "lost"


def test_conflict_same_content_under_way_there_with_other_options_is_told_to_stop(pair: Pair) -> None:
    there = submit(pair.main, "same.txt").document.document_id
    claimed = pair.main.claim_job("node.1")
    assert claimed is not None
    _read(pair.local, "same.txt", "as SQLite read it", options={"chunk_size": 500})
    pair.move_all()
    assert _texts(pair.main, there) == ["as SQLite read it 0", "as SQLite read it 1"]
    with pair.main.begin(worker_for(LOCAL_ACTOR.user_id), write=True) as tx:
        assert jobs.heartbeat(tx, claimed.job_id, worker_id="node.1") != "go_on"
        ended = jobs.get(tx, claimed.job_id)
    assert ended is not None
    assert ended.status != "completed"


def test_conflict_same_content_whose_job_here_has_still_to_run_is_queued_there(pair: Pair) -> None:
    there = _read(pair.main, "same.txt", "as Postgres read it")
    waiting = submit(pair.local, "same.txt", options={"chunk_size": 500})
    assert waiting.job is not None
    pair.move_all()
    assert resolved(pair.main, waiting.document.document_id) == there
    assert _texts(pair.main, there) == ["as Postgres read it 0", "as Postgres read it 1"]
    finish(pair.main, there, "read after the move")
    with pair.main.begin(LOCAL_ACTOR) as tx:
        done = jobs.get(tx, waiting.job.job_id)
    assert done is not None
    assert (done.status, done.document_id) == ("completed", there)
    assert _texts(pair.main, there) == ["read after the move 0", "read after the move 1"]
    assert counts(pair.main)["documents_metadata"] == 1
    assert is_empty(pair.local)


def test_moving_a_larger_document_needs_no_more_memory(pair: Pair) -> None:
    peaks = []
    for size in (250, 500):
        document_id = submit(pair.local, f"{size}.txt").document.document_id
        taken = pair.local.claim_job("node.1")
        assert taken is not None
        with pair.local.begin(worker_for(LOCAL_ACTOR.user_id), write=True) as tx:
            parts = [chunk(number, f"words {number}", vector=unit(number % 700)) for number in range(size)]
            contents.write_chunks(tx, document_id, 1, parts)
            generations.publish(tx, document_id, 1, summary(size))
            jobs.finish(tx, taken.job_id, worker_id="node.1", status="completed")
        del parts
        tracemalloc.start()
        try:
            pair.replay.copy(settled_only=True)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert counts(pair.main)["document_embeddings"] == 750
    assert peaks[1] < 1.2 * peaks[0], peaks


def test_conflict_same_content_that_changed_here_after_it_was_sent_is_merged_anew(pair: Pair) -> None:
    there = _read(pair.main, "same.txt", "as Postgres read it")
    here = _read(pair.local, "same.txt", "first reading", options={"chunk_size": 500})
    pair.replay.copy(settled_only=False)
    submit(pair.local, "same.txt", options={"chunk_size": 700})
    finish(pair.local, here, "second reading")
    pair.move_all()
    assert _texts(pair.main, there) == ["second reading 0", "second reading 1"]
    assert counts(pair.main)["documents_metadata"] == 1
    assert is_empty(pair.local)


def test_conflict_owner_gone_drops_the_document(pair: Pair) -> None:
    _read(pair.local, "theirs.txt", actor=OTHER_ACTOR)
    kept = _read(pair.local, "ours.txt")
    with pair.main.begin(SERVICE_ACTOR, write=True) as tx:
        tx.connection.execute(delete(schema.users).where(schema.users.c.user_id == OTHER_ACTOR.user_id))
    pair.move_all()
    assert counts(pair.main)["documents_metadata"] == 1
    assert _shown(pair.main, kept) is not None
    assert is_empty(pair.local)
    assert pair.happened == {"replayed": 1, "replay_dropped": 1}


def test_conflict_deleted_here_after_it_was_sent_is_deleted_there(pair: Pair) -> None:
    document_id = _read(pair.local, "a.txt")
    pair.replay.copy(settled_only=True)
    with pair.local.begin(LOCAL_ACTOR, write=True) as tx:
        documents.delete(tx, document_id)
    pair.move_all()
    assert is_empty(pair.main)


def test_conflict_deleted_there_after_it_had_arrived_stays_deleted(pair: Pair) -> None:
    document_id = _read(pair.local, "a.txt")
    pair.replay.copy(settled_only=True)
    with pair.main.begin(LOCAL_ACTOR, write=True) as tx:
        documents.delete(tx, document_id)
    pair.move_all()
    assert is_empty(pair.main)
    assert is_empty(pair.local)


def test_conflict_changed_here_after_it_was_sent_is_sent_again(pair: Pair) -> None:
    document_id = _read(pair.local, "a.txt")
    pair.replay.copy(settled_only=True)
    with pair.local.begin(LOCAL_ACTOR, write=True) as tx:
        documents.update(tx, document_id, title="A better title")
    pair.move_all()
    assert _shown(pair.main, document_id).title == "A better title"
    assert counts(pair.main)["document_embeddings"] == 2


def test_conflict_what_cannot_be_stored_there_stays_here_and_keeps_nothing_else_waiting(pair: Pair) -> None:
    bad = _read(pair.local, "bad.txt")
    good = _read(pair.local, "good.txt", "good words")
    with pair.local.begin(SERVICE_ACTOR, write=True) as tx:
        jobs_of_bad = schema.jobs.c.document_id == bad
        tx.connection.execute(update(schema.jobs).where(jobs_of_bad).values(pages_done=2**40))
    pair.move_all()
    assert _shown(pair.main, good) is not None
    assert _shown(pair.main, bad) is None
    assert _shown(pair.local, bad) is not None
    assert pair.happened == {"replayed": 1, "replay_refused": 1}
    with pair.local.begin(SERVICE_ACTOR) as tx:
        assert not journal.holds_copies(tx.connection)
    with pair.local.begin(SERVICE_ACTOR, write=True) as tx:
        tx.connection.execute(update(schema.jobs).where(schema.jobs.c.document_id == bad).values(pages_done=1))
    pair.move_all()
    assert _shown(pair.main, bad) is not None
    assert is_empty(pair.local)


def _archive(store: Store, words: str, members: tuple[str, ...]) -> tuple[str, list[str]]:
    """An archive that was read, with members that were read; their ids."""
    parent_id = submit(store, "box.zip", file_type="zip").document.document_id
    finish(store, parent_id, words)
    with store.begin(worker_for(LOCAL_ACTOR.user_id), write=True) as tx:
        parent = documents.get(tx, parent_id)
        assert parent is not None
        ids = [
            children.add(
                tx,
                parent,
                filename=name,
                file_type="text",
                media_type="text/plain",
                file_size=3,
                sha256=f"{number:064x}",
                options={},
            )
            for number, name in enumerate(members)
        ]
        children.queue(tx, parent_id, 1, ids, {})
    finish(store, ids[-1], words)
    return parent_id, ids


def test_an_archive_arrives_with_what_lies_in_it(pair: Pair) -> None:
    parent_id, ids = _archive(pair.local, "in the box", ("a.txt", "b.txt"))
    pair.move_all()
    with pair.main.begin(LOCAL_ACTOR) as tx:
        assert list(documents.children(tx, parent_id)) == ids
    assert all(_texts(pair.main, child) for child in ids)
    assert is_empty(pair.local)


def test_conflict_same_archive_gives_its_members_the_ids_that_were_there(pair: Pair) -> None:
    there, inside_there = _archive(pair.main, "as Postgres read it", ("a.txt",))
    here, inside_here = _archive(pair.local, "as SQLite read it", ("a.txt", "b.txt"))
    pair.move_all()
    assert resolved(pair.main, here) == there
    assert resolved(pair.main, inside_here[0]) == inside_there[0]
    assert resolved(pair.main, inside_here[1]) == there
    assert counts(pair.main)["documents_metadata"] == 2
    assert is_empty(pair.local)


def test_a_running_job_keeps_the_node_from_being_switched(pair: Pair) -> None:
    from database.errors import StoreBusy

    submit(pair.local, "a.txt")
    assert pair.local.claim_job("node.1") is not None
    with pytest.raises(StoreBusy):
        pair.replay.switch()
    with pair.local.begin(SERVICE_ACTOR) as tx:
        assert journal.serving(tx.connection) == "local"
        assert [tree.is_running for tree in read_upload_trees(tx.connection)] == [True]
