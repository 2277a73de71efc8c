"""Documents and their contents: submissions, generations, deletion, lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from database.documents import contents, documents, generations, images, searches
from database.jobs import jobs
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, Condition, DocumentFilter
from database.store import Store
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
    write_generation,
)

pytestmark = pytest.mark.store_contract


def texts(store: Store, document_id: str) -> list[str]:
    with store.begin(LOCAL_ACTOR) as tx:
        listed = contents.list_chunks(tx, document_id, limit=100, cursor=None)
        return [record.chunk_text for record in listed.data]


def count(store: Store, table: str) -> int:
    with store.begin(SERVICE_ACTOR) as tx:
        found: int = tx.connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
        return found


def test_same_bytes_with_the_same_options_are_a_duplicate(store: Store) -> None:
    first, second = submit(store), submit(store)
    assert (first.outcome, second.outcome) == ("created", "duplicate")
    assert second.document == first.document
    assert second.job == first.job


def test_same_bytes_with_other_options_are_a_new_job_of_the_same_document(store: Store) -> None:
    first = submit(store)
    assert first.job is not None
    second = submit(store, options={"chunk_size": 500}, metadata={"year": 2024})
    assert second.outcome == "updated"
    assert second.job is not None
    assert second.document.document_id == first.document.document_id
    assert (second.document.options, second.document.metadata) == ({"chunk_size": 500}, {"year": 2024})
    assert second.superseded == [first.job.job_id]
    assert second.job.generation == 2


def test_same_bytes_are_read_again_after_a_failure(store: Store) -> None:
    first = submit(store)
    job = store.claim_job("w")
    assert job is not None
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        jobs.finish(tx, job.job_id, worker_id="w", status="failed", error={"code": "unreadable"})
    again = submit(store)
    assert (again.outcome, again.document.status) == ("updated", "queued")
    assert again.document.document_id == first.document.document_id


def test_readers_see_one_generation_until_the_next_is_published(store: Store) -> None:
    document_id = submit(store).document.document_id
    write_generation(store, document_id, 1, [chunk(0, "apples", vector=unit(1)), chunk(1, "pears", vector=unit(2))])
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, document_id, {})
    new = [chunk(0, "plums", vector=unit(3))]
    write_generation(store, document_id, 2, new, publish=False)
    assert texts(store, document_id) == ["apples", "pears"]
    assert store.search_keywords(LOCAL_ACTOR, "plums", k=5, only=EVERYTHING) == []
    nearest = store.search_vectors(LOCAL_ACTOR, unit(3), space=SPACE, kind="text", k=9, only=EVERYTHING).hits
    assert new[0].chunk_id not in [hit.id for hit in nearest]
    with store.begin(LOCAL_ACTOR) as tx:
        pages = list(contents.read_pages(tx, document_id))
        assert contents.get_chunks(tx, [new[0].chunk_id]) == {}
        assert contents.chunk_vectors(tx, [new[0].chunk_id]) == {}
    assert [record.text for record in pages] == ["generation 1"]
    with store.begin(LOCAL_ACTOR) as reading:
        before = contents.list_chunks(reading, document_id, limit=9, cursor=None)
        with store.begin(SERVICE_ACTOR, write=True) as tx:
            assert generations.publish(tx, document_id, 2, summary(1))
        after = contents.list_chunks(reading, document_id, limit=9, cursor=None)
        assert before == after
    assert texts(store, document_id) == ["plums"]
    nearest = store.search_vectors(LOCAL_ACTOR, unit(1), space=SPACE, kind="text", k=9, only=EVERYTHING).hits
    assert [hit.id for hit in nearest] == [new[0].chunk_id]
    assert store.search_keywords(LOCAL_ACTOR, "apples pears", k=5, only=EVERYTHING) == []


def test_old_generations_are_dropped_in_pieces_and_the_visible_one_stays(store: Store) -> None:
    document_id = submit(store).document.document_id
    write_generation(store, document_id, 1, [chunk(n, f"old {n}") for n in range(25)])
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, document_id, {})
    write_generation(store, document_id, 2, [chunk(n, f"new {n}") for n in range(3)])
    dropped = []
    while True:
        with store.begin(SERVICE_ACTOR, write=True) as tx:
            dropped.append(generations.drop_other_generations(tx, document_id, 2, limit=10))
        if dropped[-1] == 0:
            break
    assert dropped == [10, 10, 6, 0]
    assert texts(store, document_id) == ["new 0", "new 1", "new 2"]
    assert count(store, "document_embeddings") == 3
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        generations.discard_generation(tx, document_id, 2)
    assert count(store, "document_embeddings") == 3


def test_a_generation_written_twice_is_there_once(store: Store) -> None:
    document_id = submit(store).document.document_id
    first = [chunk(n, f"try {n}", vector=unit(n)) for n in range(4)]
    write_generation(store, document_id, 1, first, publish=False)
    second = [chunk(n, f"again {n}", vector=unit(n)) for n in range(3)]
    write_generation(store, document_id, 1, second)
    assert texts(store, document_id) == ["again 0", "again 1", "again 2"]
    assert store.search_keywords(LOCAL_ACTOR, "try", k=5, only=EVERYTHING) == []
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        assert len(list(contents.pages_written(tx, document_id, 1))) == 1
        assert generations.publish(tx, document_id, 1, summary(3))


def test_a_generation_that_lacks_chunks_is_not_published(store: Store) -> None:
    document_id = submit(store).document.document_id
    with pytest.raises(ValueError, match="1 of 2 chunks"), store.begin(SERVICE_ACTOR, write=True) as tx:  # noqa: PT012
        contents.write_chunks(tx, document_id, 1, [chunk(0, "only")])
        generations.publish(tx, document_id, 1, summary(2))


def test_a_job_that_was_replaced_cannot_publish(store: Store) -> None:
    document_id = submit(store).document.document_id
    submit(store, options={"chunk_size": 500})
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        assert not generations.publish(tx, document_id, 1, summary(0))


@pytest.mark.parametrize(
    ("vector", "space"),
    [
        (unit(1)[:100], SPACE),
        (unit(1) * 2, SPACE),
        (np.full(768, np.nan, np.float32), SPACE),
        (unit(1), ""),
        (None, SPACE),
    ],
    ids=["narrow", "long", "nan", "no space", "no vector"],
)
def test_a_wrong_vector_is_refused(store: Store, vector: Any, space: str) -> None:
    document_id = submit(store).document.document_id
    record = replace(chunk(0, "x", vector=unit(1)), embedding=vector, space=space)
    with pytest.raises(ValueError), store.begin(SERVICE_ACTOR, write=True) as tx:  # noqa: PT011
        contents.write_chunks(tx, document_id, 1, [record])
    assert count(store, "document_embeddings") == 0


def test_vectors_are_found_again_by_content(store: Store) -> None:
    document_id = submit(store).document.document_id
    write_generation(store, document_id, 1, [chunk(0, "known", vector=unit(7))], publish=False)
    with store.begin(LOCAL_ACTOR) as tx:
        found = contents.cached_vectors(tx, SPACE, [digest("known"), digest("unknown")])
        assert list(found) == [digest("known")]
        assert np.array_equal(found[digest("known")], unit(7))
        assert contents.cached_vectors(tx, "other-space", [digest("known")]) == {}


def test_deleting_a_document_leaves_no_row_of_it(store: Store) -> None:
    document_id, _ = add_document(store, "a.txt", [unit(1), unit(2)])
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        images.write_image(tx, document_id, 1, image(0))
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        gone = documents.delete(tx, document_id)
        assert documents.delete(tx, document_id) is None
    assert gone is not None
    assert sorted(gone) == sorted([digest("a.txt"), digest("picture")])
    for table in ("documents_metadata", "document_pages", "document_images", "document_embeddings", "jobs"):
        assert count(store, table) == 0, table
    assert store.search_keywords(LOCAL_ACTOR, "passage", k=5, only=EVERYTHING) == []
    assert store.search_vectors(LOCAL_ACTOR, unit(1), space=SPACE, kind="text", k=5, only=EVERYTHING).hits == []


def test_a_file_that_another_document_uses_is_not_given_up(store: Store) -> None:
    one, _ = add_document(store, "a.txt", [])
    two, _ = add_document(store, "b.txt", [], actor=OTHER_ACTOR)
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        images.write_image(tx, one, 1, image(0, "shared"))
        images.write_image(tx, one, 1, image(1, "b.txt"))
        images.write_image(tx, two, 1, image(0, "shared"))
        assert documents.referenced_blobs(tx) == {digest(name) for name in ("a.txt", "b.txt", "shared")}
        assert documents.unreferenced(tx, documents.delete(tx, one) or ()) == [digest("a.txt")]
        assert documents.delete(tx, two) == sorted([digest("b.txt"), digest("shared")])


def test_pictures_of_dropped_generations_are_given_up(store: Store) -> None:
    document_id, _ = add_document(store, "a.txt", [])
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        images.write_image(tx, document_id, 1, image(0, "only old"))
        images.write_image(tx, document_id, 1, image(1, "both"))
        documents.resubmit(tx, document_id, {})
        images.write_image(tx, document_id, 2, image(0, "both"))
        assert generations.publish(tx, document_id, 2, summary(0, image_count=1))
        pictures = [digest("only old"), digest("both")]
        assert documents.unreferenced(tx, pictures) == []
        generations.drop_other_generations(tx, document_id, 2)
        assert documents.unreferenced(tx, pictures) == [digest("only old")]


def test_pending_image_vectors_are_filled_in_and_the_warning_goes(store: Store) -> None:
    document_id = submit(store).document.document_id
    pictures = [image(0, "one"), image(1, "two")]
    pending = {"code": images.VECTORS_PENDING, "message": "later", "page": None}
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        for picture in pictures:
            images.write_image(tx, document_id, 1, picture)
        facts = summary(0, image_count=2, status="completed_with_errors", warnings=[pending])
        assert generations.publish(tx, document_id, 1, facts)
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        assert images.count_images_without_vector(tx, "clip") == 2
        waiting = images.images_without_vector(tx, "clip", 1)
        assert [record.image_id for record in waiting] == [pictures[0].image_id]
        assert [record.image_id for record in images.images_without_vector(tx, "clip", 9, after=waiting[0].image_id)]
        images.set_image_vectors(tx, "clip", {pictures[0].image_id: unit(1), "gone": unit(2)})
        document = documents.get(tx, document_id)
        assert document is not None
        assert document.warnings == [pending]
        images.set_image_vectors(tx, "clip", {pictures[1].image_id: unit(2)})
        document = documents.get(tx, document_id)
        assert document is not None
        assert (document.warnings, document.status) == ([], "completed")
        assert images.count_images_without_vector(tx, "clip") == 0
        assert images.count_images_without_vector(tx, "newer clip") == 2
    hits = store.search_vectors(LOCAL_ACTOR, unit(2), space="clip", kind="image", k=1, only=EVERYTHING).hits
    assert [hit.id for hit in hits] == [pictures[1].image_id]
    with store.begin(LOCAL_ACTOR) as tx:
        assert [record.space for record in images.list_images(tx, document_id)] == ["clip", "clip"]
        assert {record.caption for record in images.list_images(tx, document_id)} == {"Figure 1"}


def test_a_picture_written_again_keeps_its_vector_where_the_file_is_the_same(store: Store) -> None:
    document_id = submit(store).document.document_id
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        for ordinal, content in enumerate(("same", "first")):
            images.write_image(tx, document_id, 1, first := image(ordinal, content))
            images.set_image_vectors(tx, "clip", {first.image_id: unit(ordinal)})
        again = [image(0, "same"), image(1, "second")]
        for picture in again:
            images.write_image(tx, document_id, 1, picture)
        generations.publish(tx, document_id, 1, summary(0, image_count=2))
        stored = images.list_images(tx, document_id)
    assert [(record.image_id, record.space) for record in stored] == [
        (again[0].image_id, "clip"),
        (again[1].image_id, None),
    ]


def test_pages_come_back_as_they_were_written(store: Store) -> None:
    document_id = submit(store).document.document_id
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        for number in (3, 1, 2):
            contents.write_page(tx, document_id, 1, page(number, f"text {number} \U0001f600"))
        generations.publish(tx, document_id, 1, summary(0, page_count=3))
    with store.begin(LOCAL_ACTOR) as tx:
        assert [p.number for p in contents.read_pages(tx, document_id)] == [1, 2, 3]
        assert list(contents.read_pages(tx, document_id, with_layout=True))[1] == page(2, "text 2 \U0001f600")
        assert contents.read_page(tx, document_id, 2) == page(2, "text 2 \U0001f600")
        assert contents.read_page(tx, document_id, 4) is None


def test_chunks_on_a_page_are_those_with_a_span_there(store: Store) -> None:
    document_id = submit(store).document.document_id
    both: list[dict[str, Any]] = [{"page": n, "char_start": 0, "char_end": 1, "boxes": []} for n in (1, 3)]
    records = [chunk(0, "a", page=1), chunk(1, "b", page=2), replace(chunk(2, "c"), spans=both)]
    write_generation(store, document_id, 1, records)
    with store.begin(LOCAL_ACTOR) as tx:
        found = {n: [c.chunk_text for c in contents.chunks_on_page(tx, document_id, n, 9)] for n in (1, 2, 3)}
        assert found == {1: ["a", "c"], 2: ["b"], 3: ["c"]}
        assert len(contents.chunks_on_page(tx, document_id, 1, 1)) == 1


def test_documents_are_listed_newest_first_by_cursor(store: Store) -> None:
    names = [f"Größe {n}.txt" for n in range(5)]
    for number, name in enumerate(names):
        submit(store, name, file_type="text" if number % 2 else "pdf", metadata={"n": number})
    walked: list[str] = []
    cursor: str | None = None
    with store.begin(LOCAL_ACTOR) as tx:
        while True:
            listed = documents.list_page(tx, only=EVERYTHING, limit=2, cursor=cursor)
            walked.extend(document.filename for document in listed.data)
            cursor = listed.next_cursor
            if cursor is None:
                break
        assert walked == names[::-1]

        def listed_names(**given: Any) -> list[str]:
            values = {"only": EVERYTHING, "limit": 9, "cursor": None, **given}
            return [document.filename for document in documents.list_page(tx, **values).data]

        assert listed_names(name_contains="GRÖßE 3") == [names[3]]
        assert listed_names(name_contains="%") == []
        assert listed_names(file_type=["pdf"]) == [names[4], names[2], names[0]]
        assert listed_names(status=["failed"]) == []
        assert len(listed_names(created_after="2020-01-01T00:00:00+02:00")) == 5
        assert listed_names(created_after="2999-01-01") == []
        assert listed_names(only=DocumentFilter(conditions=[Condition("metadata.n", "$gte", 3)])) == names[:2:-1]
        for wrong in ("", "x", "W10", "WzFd", "a" * 5000, "é"):
            with pytest.raises(ValueError, match="cursor"):
                documents.list_page(tx, only=EVERYTHING, limit=2, cursor=wrong)


def test_chunks_are_listed_in_order_by_cursor(store: Store) -> None:
    document_id, ids = add_document(store, "a.txt", [unit(n) for n in range(5)])
    with store.begin(LOCAL_ACTOR) as tx:
        first = contents.list_chunks(tx, document_id, limit=3, cursor=None)
        second = contents.list_chunks(tx, document_id, limit=3, cursor=first.next_cursor)
        vectors = contents.chunk_vectors(tx, ids)
    assert [record.chunk_id for record in [*first.data, *second.data]] == ids
    assert second.next_cursor is None
    assert all(np.array_equal(vectors[chunk_id], unit(n)) for n, chunk_id in enumerate(ids))


def test_searches_are_recorded_and_listed_newest_first(store: Store) -> None:
    with store.begin(LOCAL_ACTOR, write=True) as tx:
        for number in range(3):
            searches.record(tx, query_text=f"q{number}", query_embedding=unit(1), results_found=number, metadata={})
        searches.record(tx, query_text="\ud800\x00", query_embedding=None, results_found=0, metadata={"a": "\ud800"})
    with store.begin(LOCAL_ACTOR) as tx:
        first = searches.list_page(tx, 3, None)
        second = searches.list_page(tx, 3, first.next_cursor)
    assert [entry.query_text for entry in [*first.data, *second.data]] == ["\ufffd\ufffd", "q2", "q1", "q0"]
