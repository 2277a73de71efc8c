"""Search on Postgres: the planner's rule, the plans under row level security, and the functions for REST."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pytest

from database.documents import documents, generations, images
from database.ids import new_id
from database.postgres.copy import copy_rows
from database.postgres.engine import PostgresOptions
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, LOCAL_USER_ID, SERVICE_ACTOR, Condition, DocumentFilter, Vector, VectorMatches
from database.schema import chunks as chunk_table
from database.schema import documents as document_table
from database.store import Store
from tests.support.postgres_server import DatabaseUrls, PostgresServer
from tests.support.store_cases import (
    EVERYTHING,
    OTHER_ACTOR,
    SPACE,
    add_document,
    chunk,
    image,
    prepare,
    submit,
    summary,
    unit,
    write_generation,
)

HNSW = "document_embeddings_hnsw"
DOCUMENTS, PER_DOCUMENT = 1000, 10
BUILD = (
    "CREATE INDEX document_embeddings_hnsw ON public.document_embeddings "
    "USING hnsw ((embedding::extensions.halfvec(768)) extensions.halfvec_cosine_ops)"
)
EXPLAINED = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_level": "notice",
    "auto_explain.log_nested_statements": "on",
}


@dataclass(frozen=True)
class Filled:
    """10,000 vectors of one owner, in documents of ten whose `metadata.n` counts from 0; the index is built."""

    urls: DatabaseUrls
    store: PostgresStore
    vectors: Vector
    ids: Sequence[str]


@pytest.fixture(scope="module")
def filled(postgres_server: PostgresServer) -> Iterator[Filled]:
    urls = postgres_server.new_database()
    generator = np.random.default_rng(4)
    centres = generator.standard_normal((50, 768))[generator.integers(0, 50, DOCUMENTS * PER_DOCUMENT)]
    vectors = (centres + 0.8 * generator.standard_normal(centres.shape)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with psycopg.connect(urls.admin_url, autocommit=True) as admin:
        for name, value in EXPLAINED.items():
            admin.execute(f"ALTER DATABASE {urls.name} SET {name} = '{value}'".encode())
        admin.execute(f"DROP INDEX public.{HNSW}".encode())
        store = PostgresStore(PostgresOptions(urls.server_url), exact_rows=2000)
        first = submit(store).document
        ids = [new_id() for _ in vectors]
        with store.begin(SERVICE_ACTOR, write=True) as tx:
            template = dict(tx.connection.execute(document_table.select()).mappings().one())
            names = [first.document_id, *(new_id() for _ in range(DOCUMENTS - 1))]
            given = {"generation": 1, "last_generation": 1, "total_chunks": PER_DOCUMENT, "status": "completed"}
            more = [
                {**template, **given, "document_id": name, "sha256": f"{n:064x}", "metadata": {"n": n}}
                for n, name in enumerate(names)
            ]
            tx.connection.execute(document_table.delete())
            copy_rows(tx.connection, document_table, more)
            rows = (
                {
                    "chunk_id": ids[n],
                    "document_id": names[n // PER_DOCUMENT],
                    "user_id": LOCAL_USER_ID,
                    "generation": 1,
                    "chunk_index": n % PER_DOCUMENT,
                    "first_page": 1,
                    "last_page": 1,
                    "content_hash": str(n),
                    "space": SPACE,
                    "created_at": template["created_at"],
                    "chunk_text": f"passage w{n} {'even' if n % 2 == 0 else 'odd'}",
                    "prefix": "",
                    "spans": [],
                    "metadata": {},
                    "embedding": vector,
                }
                for n, vector in enumerate(vectors)
            )
            assert copy_rows(tx.connection, chunk_table, rows) == len(vectors)
        admin.execute(BUILD.encode())
        admin.execute(b"VACUUM ANALYZE")
    yield Filled(urls, store, vectors, ids)
    store.close()
    postgres_server.drop(urls)


@pytest.fixture
def on_postgres(postgres: DatabaseUrls) -> Iterator[PostgresStore]:
    """An empty store with two owners that takes the index however few rows there are."""
    store = PostgresStore(PostgresOptions(postgres.server_url), exact_rows=0)
    prepare_owners(store)
    yield store
    store.close()


def prepare_owners(store: Store) -> None:
    class Migrated:
        """`prepare` without the migrations, which the database has."""

        begin = staticmethod(store.begin)

        @staticmethod
        def upgrade() -> Sequence[str]:
            return []

    prepare(Migrated())  # type: ignore[arg-type]


@pytest.fixture
def plans(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """A function for the plans of all statements since it was last called, as the server reports them."""
    caplog.set_level(logging.INFO, "sqlalchemy.dialects.postgresql")

    def taken() -> str:
        said = "\n".join(record.getMessage() for record in caplog.records if "plan:" in record.getMessage())
        caplog.clear()
        return said

    return taken


def below(n: int) -> DocumentFilter:
    return DocumentFilter(conditions=[Condition("metadata.n", "$lte", n - 1)])


def search(
    store: Store, query: Vector, *, k: int = 10, only: DocumentFilter = EVERYTHING, exact: bool = False, **given: Any
) -> VectorMatches:
    wanted: dict[str, Any] = {"actor": LOCAL_ACTOR, "space": SPACE, "kind": "text", **given}
    return store.search_vectors(query=query, k=k, only=only, exact=exact, **wanted)


def best(filled: Filled, query: Vector, k: int, rows: int | None = None) -> list[str]:
    scores = filled.vectors[:rows] @ query
    return [filled.ids[n] for n in np.argsort(-scores, kind="stable")[:k]]


def recall(found: VectorMatches, expected: Sequence[str]) -> float:
    return len({hit.id for hit in found.hits} & set(expected)) / len(expected)


def test_many_rows_are_searched_by_the_index_under_the_policies(filled: Filled, plans: Callable[[], str]) -> None:
    shares = []
    for seed in range(8):
        query = filled.vectors[37 * seed] + 0.5 * unit(seed)
        plans()
        found = search(filled.store, query)
        said = plans()
        assert not found.is_exact
        assert f"Index Scan using {HNSW}" in said
        scores = [hit.score for hit in found.hits]
        assert scores == sorted(scores, reverse=True)
        shares.append(recall(found, best(filled, query, 10)))
    assert np.mean(shares) >= 0.95


@pytest.mark.parametrize("k", [10, 200, 400])
def test_the_index_fills_k_under_a_filter_that_lets_many_through(filled: Filled, k: int) -> None:
    query = filled.vectors[5] + 0.5 * unit(5)
    found = search(filled.store, query, k=k, only=below(300))
    assert len(found.hits) == k
    assert not found.is_exact
    assert recall(found, best(filled, query, k, 3000)) >= 0.9


@pytest.mark.parametrize("kept", [1, 10, 100], ids=["0.1 %", "1 %", "10 %"])
def test_a_selective_filter_is_answered_exactly_without_the_index(
    filled: Filled, plans: Callable[[], str], kept: int
) -> None:
    plans()
    found = search(filled.store, unit(kept), only=below(kept))
    said = plans()
    assert found.is_exact
    assert [hit.id for hit in found.hits] == best(filled, unit(kept), 10, kept * PER_DOCUMENT)
    assert "document_embeddings" in said
    assert HNSW not in said


def test_exact_search_on_request_does_not_use_the_index(filled: Filled, plans: Callable[[], str]) -> None:
    plans()
    found = search(filled.store, unit(3), k=50, exact=True)
    assert HNSW not in plans()
    assert found.is_exact
    assert [hit.id for hit in found.hits] == best(filled, unit(3), 50)


def test_keywords_are_found_by_the_index_under_the_policies(filled: Filled, plans: Callable[[], str]) -> None:
    plans()
    hits = filled.store.search_keywords(LOCAL_ACTOR, "w1234 even", k=5, only=EVERYTHING)
    said = plans()
    assert hits[0].id == filled.ids[1234]
    assert len(hits) == 5
    assert hits[0].score > hits[1].score
    assert "Bitmap Index Scan on document_embeddings_keywords" in said
    assert filled.store.search_keywords(OTHER_ACTOR, "w1234 even", k=5, only=EVERYTHING) == []


def test_common_words_rank_only_what_has_a_rare_one_where_that_fills_k(filled: Filled) -> None:
    asked = "passage even w10 w11 w12"
    few = filled.store.search_keywords(LOCAL_ACTOR, asked, k=1, only=EVERYTHING)
    assert few[0].id in {filled.ids[10], filled.ids[12]}
    many = filled.store.search_keywords(LOCAL_ACTOR, asked, k=20, only=EVERYTHING)
    assert {hit.id for hit in many[:3]} == {filled.ids[10], filled.ids[11], filled.ids[12]}
    assert len(many) == 20


def test_an_index_that_finds_too_few_is_followed_by_the_exact_answer(on_postgres: PostgresStore) -> None:
    document_id = submit(on_postgres).document.document_id
    rare = [chunk(n, "rare", vector=unit(n), space="rare") for n in range(5)]
    write_generation(on_postgres, document_id, 1, [*rare, *(chunk(n, "x", vector=unit(n)) for n in range(5, 60))])
    found = search(on_postgres, unit(2), space="rare")
    assert found.is_exact
    assert found.hits[0].id == rare[2].chunk_id
    assert {hit.id for hit in found.hits} == {record.chunk_id for record in rare}


def test_rows_of_others_and_of_hidden_readings_in_the_index_cost_no_hit(on_postgres: PostgresStore) -> None:
    query = unit(0)
    near = [query + 0.3 * unit(100 + n) for n in range(150)]
    near = [vector / np.linalg.norm(vector) for vector in near]
    add_document(on_postgres, "others", near, actor=OTHER_ACTOR)
    mine, _ = add_document(on_postgres, "mine", near)
    doomed, _ = add_document(on_postgres, "doomed", near)
    with on_postgres.begin(LOCAL_ACTOR, write=True) as tx:
        documents.resubmit(tx, mine, {})
        documents.delete(tx, doomed)
    shown = [chunk(n, f"{n}", vector=unit(1000 + n)) for n in range(30)]
    write_generation(on_postgres, mine, 2, shown)
    found = search(on_postgres, query, k=20)
    assert len(found.hits) == 20
    assert {hit.id for hit in found.hits} <= {record.chunk_id for record in shown}
    with on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        while generations.drop_other_generations(tx, mine, 2):
            pass
    assert [hit.id for hit in search(on_postgres, query, k=20).hits] == [hit.id for hit in found.hits]


def test_what_a_search_sets_ends_with_it(filled: Filled) -> None:
    search(filled.store, unit(1))
    with filled.store.begin(LOCAL_ACTOR) as tx:
        row = tx.connection.exec_driver_sql(
            "SELECT current_setting('enable_sort'), current_setting('hnsw.ef_search')"
        ).one()
    assert tuple(row) == ("on", "40")


# The functions for clients that come over Supabase's REST.


def asked(urls: DatabaseUrls, role: str, user_id: str | None, statement: str, *given: Any) -> list[tuple[Any, ...]]:
    """What the statement answers to a client with these claims, as PostgREST would run it."""
    claims = {"role": role, **({"sub": user_id} if user_id else {})}
    with psycopg.connect(urls.admin_url) as connection:
        connection.execute(
            "SELECT set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
            (role, json.dumps(claims)),
        )
        return connection.execute(statement.encode(), given).fetchall()


def as_text(vector: Vector) -> str:
    return "[" + ",".join(map(str, vector.tolist())) + "]"


SIMILAR = "SELECT * FROM public.search_similar_embeddings(%s::extensions.vector, %s, %s)"
SIMILAR_IMAGES = "SELECT * FROM public.search_similar_images(%s::extensions.vector, %s, %s)"


def test_similar_embeddings_are_the_callers_own_and_shown(on_postgres: PostgresStore, postgres: DatabaseUrls) -> None:
    mine, _ = add_document(on_postgres, "mine", [unit(n) for n in range(5)], metadata={"year": 2020})
    other, _ = add_document(on_postgres, "other", [unit(n) for n in range(3)], actor=OTHER_ACTOR)
    write_generation(on_postgres, mine, 2, [chunk(0, "hidden", vector=unit(1))], publish=False)
    query = as_text(unit(1))
    rows = asked(postgres, "authenticated", LOCAL_USER_ID, SIMILAR, query, -1, 10)
    assert [str(row[0]) for row in rows] == [mine] * 5
    assert rows[0][1] == "mine passage 1"
    assert rows[0][2] == pytest.approx(1.0, abs=1e-6)
    assert [row[2] for row in rows] == sorted((row[2] for row in rows), reverse=True)
    assert rows[0][3]["year"] == 2020
    assert rows[0][3]["filename"] == "mine"
    others = asked(postgres, "authenticated", OTHER_ACTOR.user_id, SIMILAR, query, -1, 10)
    assert {str(row[0]) for row in others} == {other}
    assert len(asked(postgres, "service_role", None, SIMILAR, query, -1, 10)) == 8
    assert asked(postgres, "authenticated", None, SIMILAR, query, -1, 10) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        asked(postgres, "anon", None, SIMILAR, query, -1, 10)


@pytest.mark.parametrize(
    ("vector", "threshold", "count", "found"),
    [
        (unit(1), 0.9, 10, 1),
        (unit(1), None, 10, 5),
        (unit(1), -1, 2, 2),
        (unit(1), -1, 0, 0),
        (unit(1), -1, -3, 0),
        (unit(1), -1, None, 0),
        (unit(1), -1, 2**31 - 1, 5),
        (unit(1), 1.5, 10, 0),
        (np.zeros(768, np.float32), -1, 10, 0),
        (None, -1, 10, 0),
    ],
)
def test_similar_embeddings_take_any_argument(
    on_postgres: PostgresStore,
    postgres: DatabaseUrls,
    vector: Vector | None,
    threshold: float | None,
    count: int | None,
    found: int,
) -> None:
    add_document(on_postgres, "mine", [unit(n) for n in range(5)])
    query = None if vector is None else as_text(vector)
    assert len(asked(postgres, "authenticated", LOCAL_USER_ID, SIMILAR, query, threshold, count)) == found


def test_similar_embeddings_of_many_rows_come_by_the_index(filled: Filled) -> None:
    said: list[str] = []
    query = filled.vectors[9] + 0.5 * unit(9)
    with psycopg.connect(filled.urls.admin_url) as connection:
        connection.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
        connection.execute(
            "SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
            (json.dumps({"role": "authenticated", "sub": LOCAL_USER_ID}),),
        )
        said.clear()
        rows = connection.execute(SIMILAR.encode(), (as_text(query), -1, 20)).fetchall()
        after = connection.execute("SELECT current_setting('enable_sort')").fetchone()
    assert any(f"Index Scan using {HNSW}" in plan for plan in said)
    assert after == ("on",)
    wanted = {f"passage w{filled.ids.index(id)}" for id in best(filled, query, 20)}
    assert len(wanted & {row[1].rsplit(" ", 1)[0] for row in rows}) >= 18


def test_similar_pictures_are_the_callers_own(on_postgres: PostgresStore, postgres: DatabaseUrls) -> None:
    document_id = submit(on_postgres).document.document_id
    pictures = [image(n, f"picture {n}") for n in range(3)]
    with on_postgres.begin(SERVICE_ACTOR, write=True) as tx:
        for picture in pictures:
            images.write_image(tx, document_id, 1, picture)
        assert generations.publish(tx, document_id, 1, summary(0, image_count=3))
        images.set_image_vectors(tx, "clip", {picture.image_id: unit(n) for n, picture in enumerate(pictures)})
    rows = asked(postgres, "authenticated", LOCAL_USER_ID, SIMILAR_IMAGES, as_text(unit(2)), -1, 2)
    assert str(rows[0][1]) == pictures[2].image_id
    assert rows[0][3] == pytest.approx(1.0, abs=1e-6)
    assert len(rows) == 2
    assert asked(postgres, "authenticated", OTHER_ACTOR.user_id, SIMILAR_IMAGES, as_text(unit(2)), -1, 2) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        asked(postgres, "anon", None, SIMILAR_IMAGES, as_text(unit(2)), -1, 2)
