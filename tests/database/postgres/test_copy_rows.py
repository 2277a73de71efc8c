"""COPY in binary: what it stores is what an insert stores, and where it is not allowed rows are inserted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import false, insert, select
from sqlalchemy.exc import ProgrammingError

from database import schema
from database.documents import contents, generations, images
from database.errors import RowRefused
from database.ids import new_id
from database.postgres.copy import copy_rows, replace_rows, vector_bytes
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, LOCAL_USER_ID, SERVICE_ACTOR
from database.store import Store
from tests.support.postgres_server import DatabaseUrls
from tests.support.store_cases import SPACE, chunk, image, page, submit, summary, unit, write_generation

ODD = "a\x00b \ud800 \U0001f600 \\N \\. \t\n'\"é"


@pytest.fixture
def on_postgres(postgres: DatabaseUrls) -> Iterator[PostgresStore]:
    store = PostgresStore(PostgresOptions(postgres.server_url))
    yield store
    store.close()


@pytest.fixture
def without_bypass(postgres: DatabaseUrls) -> Iterator[None]:
    """The workers' role is subject to row level security, as where an operator may not give it the right to pass."""
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute("ALTER ROLE service_role NOBYPASSRLS")
        try:
            yield
        finally:
            admin.execute("ALTER ROLE service_role BYPASSRLS")


def row(document_id: str, index: int, **given: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "chunk_id": new_id(),
        "document_id": document_id,
        "user_id": LOCAL_USER_ID,
        "generation": 1,
        "chunk_index": index,
        "first_page": 1,
        "last_page": 2,
        "content_hash": ODD,
        "space": SPACE,
        "created_at": "2026-11-21T10:11:12.345678Z",
        "chunk_text": ODD,
        "prefix": "",
        "spans": [{"page": 1, "boxes": [[0.5, 1e-9, -3, 2**40]], "text": ODD}],
        "metadata": {"é": None, "n": 1.25, ODD: [True]},
        "embedding": unit(index),
    }
    return {**values, **given}


def stored(store: Store, table: Any, order: str) -> list[Mapping[str, Any]]:
    columns = [column for column in table.c if column.name not in ("row_id", "chunk_id", "image_id", order)]
    with store.begin(SERVICE_ACTOR) as tx:
        return [dict(found) for found in tx.connection.execute(select(*columns).order_by(table.c[order])).mappings()]


def same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return all(
        np.array_equal(left[name], right[name]) if isinstance(left[name], np.ndarray) else left[name] == right[name]
        for name in left
    )


@pytest.mark.parametrize("given", [{}, {"space": None, "embedding": None}], ids=["with vector", "without"])
def test_a_copied_row_is_the_row_that_an_insert_stores(on_postgres: PostgresStore, given: dict[str, Any]) -> None:
    document_id = submit(on_postgres).document.document_id
    one = row(document_id, 0, **given)
    with on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        tx.connection.execute(insert(schema.chunks).values(one))
        again = {**one, "chunk_id": new_id(), "chunk_index": 1}
        assert copy_rows(tx.connection, schema.chunks, iter([again])) == 1
    inserted, copied = stored(on_postgres, schema.chunks, "chunk_index")
    assert same(inserted, copied)


def test_pages_and_documents_can_be_copied_too(on_postgres: PostgresStore) -> None:
    document_id = submit(on_postgres).document.document_id
    with on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        contents.write_page(tx, document_id, 1, page(1, ODD))
        for table, changed in (
            (schema.pages, {"page_number": 2}),
            (schema.documents, {"document_id": new_id(), "sha256": "f" * 64}),
        ):
            one = dict(tx.connection.execute(select(table)).mappings().one())
            copy_rows(tx.connection, table, [{**one, **changed}])
            first, second = tx.connection.execute(select(table)).mappings().all()
            assert {**first, **changed} == dict(second)


def test_nothing_to_copy_is_no_error(on_postgres: PostgresStore) -> None:
    with on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        assert copy_rows(tx.connection, schema.chunks, []) == 0


def test_a_bad_row_leaves_nothing_and_the_connection_works(on_postgres: PostgresStore) -> None:
    document_id = submit(on_postgres).document.document_id

    def rows() -> Iterator[dict[str, Any]]:
        yield row(document_id, 0)
        yield row(document_id, 1, embedding=unit(1) * 2)

    with pytest.raises(ValueError, match="unit length"), on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        copy_rows(tx.connection, schema.chunks, rows())
    with pytest.raises(RowRefused), on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        copy_rows(tx.connection, schema.chunks, [row(document_id, 0), row(document_id, 0)])
    assert stored(on_postgres, schema.chunks, "chunk_index") == []


def test_a_vector_in_binary_is_what_pgvector_reads(on_postgres: PostgresStore) -> None:
    assert vector_bytes(unit(1))[:4] == b"\x03\x00\x00\x00"
    assert len(vector_bytes(unit(1))) == 4 + 4 * 768
    document_id = submit(on_postgres).document.document_id
    with on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        copy_rows(tx.connection, schema.chunks, [row(document_id, 0)])
        assert np.array_equal(tx.connection.execute(select(schema.chunks.c.embedding)).scalar_one(), unit(0))


def written_twice(store: Store) -> None:
    document_id = submit(store).document.document_id
    first = [chunk(n, f"first {n}", vector=unit(n)) for n in range(5)]
    write_generation(store, document_id, 1, first, publish=False)
    second = [chunk(n, f"second {n}") for n in range(3, 8)]
    last = replace(second[0], chunk_text="of two the later")
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        contents.write_chunks(tx, document_id, 1, [*second, last])
        contents.write_chunk_vectors(tx, document_id, 1, SPACE, {4: unit(40), 6: unit(60), 99: unit(99)})
        contents.write_chunk_vectors(tx, document_id, 2, SPACE, {1: unit(9)})
        assert generations.publish(tx, document_id, 1, summary(8))
    with store.begin(LOCAL_ACTOR) as tx:
        found = contents.list_chunks(tx, document_id, limit=20, cursor=None).data
        vectors = contents.chunk_vectors(tx, [record.chunk_id for record in found])
    texts = [record.chunk_text for record in found]
    assert texts == ["first 0", "first 1", "first 2", "of two the later", *(f"second {n}" for n in range(4, 8))]
    assert [record.chunk_id for record in found[:3]] == [record.chunk_id for record in first[:3]]
    seeds = {0: 0, 1: 1, 2: 2, 4: 40, 6: 60}
    assert {record.chunk_index for record in found if record.chunk_id in vectors} == set(seeds)
    for record in found:
        if record.chunk_index in seeds:
            assert np.array_equal(vectors[record.chunk_id], unit(seeds[record.chunk_index]))


def test_chunks_written_again_replace_those_with_their_number(store: Store) -> None:
    written_twice(store)


@pytest.mark.usefixtures("without_bypass")
def test_a_worker_that_may_not_copy_inserts(on_postgres: PostgresStore) -> None:
    with on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        assert not replace_rows(tx.connection, schema.chunks, [], false())
    written_twice(on_postgres)


def test_workers_copy_where_they_may(on_postgres: PostgresStore) -> None:
    with on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        assert replace_rows(tx.connection, schema.chunks, [], false())
    refused = pytest.raises(ProgrammingError, match="permission denied")
    with refused, on_postgres.begin(LOCAL_ACTOR, write=True) as tx:
        replace_rows(tx.connection, schema.chunks, [], false())


def test_picture_vectors_go_to_their_pictures_in_one_call(store: Store) -> None:
    document_id = submit(store).document.document_id
    pictures = [image(n, f"picture {n}") for n in range(4)]
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        for picture in pictures:
            images.write_image(tx, document_id, 1, picture)
        assert generations.publish(tx, document_id, 1, summary(0, image_count=4))
        given = {picture.image_id: unit(n) for n, picture in enumerate(pictures[:3])}
        images.set_image_vectors(tx, "clip", {**given, new_id(): unit(9), "no id": unit(9)})
    with store.begin(LOCAL_ACTOR) as tx:
        found = images.image_vectors(tx, [picture.image_id for picture in pictures])
        assert [record.image_id for record in images.images_without_vector(tx, "clip", 9)] == [pictures[3].image_id]
    assert set(found) == set(given)
    assert all(np.array_equal(found[id], vector) for id, vector in given.items())
