"""The store that works on while Postgres does not: who answers, what is kept where, and how it goes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select

from database import schema
from database.documents import documents
from database.errors import StoreUnavailable
from database.fallback import journal
from database.fallback.store import FallbackStore
from database.fallback.upload_trees import read_upload_trees
from database.jobs import jobs
from database.opening import open_store
from database.postgres.store import PostgresStore
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, JobRecord, worker_for
from tests.support.fallback_cases import Access, counts, eventually, finish, is_empty, open_fallback, open_main
from tests.support.postgres_server import DatabaseUrls
from tests.support.store_cases import EVERYTHING, OTHER_ACTOR, SPACE, submit, unit


@pytest.fixture
def access(postgres: DatabaseUrls) -> Iterator[Access]:
    allowed = Access(postgres)
    yield allowed
    allowed.give_back()


@pytest.fixture
def store(postgres: DatabaseUrls, tmp_path: Path) -> Iterator[FallbackStore]:
    """A store in a process that may move what waits."""
    opened = open_fallback(postgres, tmp_path / "fallback")
    opened.replay_while(lambda: True)
    yield opened
    opened.close()


def _is_closed(store: FallbackStore) -> bool:
    return store.state().breaker == "closed" and not any(store.state().waiting.values())


def _home(store: FallbackStore, job: JobRecord) -> str:
    """The kind of the database that the job's transactions go to."""
    with store.pinned(job), store.begin(SERVICE_ACTOR) as tx:
        return tx.connection.dialect.name


def test_a_transaction_that_finds_the_database_gone_goes_to_this_node_at_once(
    store: FallbackStore, access: Access
) -> None:
    submit(store, "before.txt")
    with store.begin(LOCAL_ACTOR) as tx:
        assert not tx.is_partial
    access.take_away()
    with store.recorded_answers() as answered:
        document = submit(store, "away.txt").document
    assert answered.local
    state = store.state()
    assert (state.breaker, state.waiting["documents"]) == ("open", 1)
    assert state.since is not None
    assert store.is_partial
    assert store.kind == "sqlite"
    with store.begin(LOCAL_ACTOR) as tx:
        assert tx.is_partial
        shown = documents.list_page(tx, only=EVERYTHING, limit=10, cursor=None).data
    assert [entry.document_id for entry in shown] == [document.document_id]


def test_an_owner_that_this_node_has_never_seen_can_write_here(store: FallbackStore, access: Access) -> None:
    access.take_away()
    document = submit(store, "theirs.txt", actor=OTHER_ACTOR).document
    with store.begin(LOCAL_ACTOR) as tx:
        assert documents.get(tx, document.document_id) is None


def test_what_was_read_here_is_found_here_and_afterwards_there(
    store: FallbackStore, access: Access, postgres: DatabaseUrls
) -> None:
    access.take_away()
    document_id = submit(store, "away.txt").document.document_id
    finish(store, document_id, "harbour dues")
    assert [hit.document_id for hit in store.search_keywords(LOCAL_ACTOR, "harbour", k=1, only=EVERYTHING)]
    access.give_back()
    eventually(lambda: _is_closed(store))
    main = open_main(postgres)
    try:
        found = main.search_vectors(LOCAL_ACTOR, unit(0), space=SPACE, kind="text", k=1, only=EVERYTHING)
        assert found.hits[0].document_id == document_id
        assert counts(main)["documents_metadata"] == 1
    finally:
        main.close()
    with store.recorded_answers() as answered, store.begin(LOCAL_ACTOR) as tx:
        assert documents.get(tx, document_id) is not None
        assert not tx.is_partial
    assert not answered.local
    assert store.state().counters["replayed"] == 1


def test_it_comes_up_without_the_database_and_goes_over_to_it(
    postgres: DatabaseUrls, access: Access, tmp_path: Path
) -> None:
    made_ready: list[bool] = []
    access.take_away()
    store = open_fallback(postgres, tmp_path / "fallback", prepare=lambda _: made_ready.append(True))
    store.replay_while(lambda: True)
    try:
        submit(store, "a.txt")
        assert not made_ready
        access.give_back()
        eventually(lambda: _is_closed(store))
        assert made_ready == [True]
    finally:
        store.close()


def test_a_database_that_is_not_ready_keeps_it_on_this_node_and_says_why(
    postgres: DatabaseUrls, access: Access, tmp_path: Path
) -> None:
    from database.errors import MigrationError

    def prepare(_: PostgresStore) -> None:
        raise MigrationError("3 migrations are missing")

    access.take_away()
    store = open_fallback(postgres, tmp_path / "fallback", prepare=prepare)
    try:
        access.give_back()
        eventually(lambda: store.state().detail == "3 migrations are missing")
        assert store.state().breaker == "open"
    finally:
        store.close()


def test_copies_of_an_earlier_process_are_moved_before_the_database_is_served(
    postgres: DatabaseUrls, access: Access, tmp_path: Path
) -> None:
    access.take_away()
    store = open_fallback(postgres, tmp_path / "fallback")
    document_id = submit(store, "a.txt").document.document_id
    store.close()
    access.give_back()
    store = open_fallback(postgres, tmp_path / "fallback")
    try:
        assert store.state().breaker == "half_open"
        with store.begin(LOCAL_ACTOR) as tx:
            assert documents.get(tx, document_id) is not None
        store.replay_while(lambda: True)
        eventually(lambda: _is_closed(store))
        with store.begin(LOCAL_ACTOR) as tx:
            assert documents.get(tx, document_id) is not None
    finally:
        store.close()


def test_a_second_process_on_the_folder_moves_nothing_and_follows_the_first(
    store: FallbackStore, postgres: DatabaseUrls, access: Access, tmp_path: Path
) -> None:
    second = open_fallback(postgres, tmp_path / "fallback")
    try:
        access.take_away()
        ids = [submit(each, f"{number}.txt").document.document_id for number, each in enumerate((store, second))]
        for each in (store, second):
            with each.begin(LOCAL_ACTOR) as tx:
                assert all(documents.get(tx, document_id) for document_id in ids)
        access.give_back()
        eventually(lambda: _is_closed(store) and _is_closed(second))
        assert "replays" not in second.state().counters
        for each in (store, second):
            with each.begin(LOCAL_ACTOR) as tx:
                assert all(documents.get(tx, document_id) for document_id in ids)
    finally:
        second.close()


def test_what_only_a_second_process_took_is_moved_by_the_one_in_charge(
    store: FallbackStore, postgres: DatabaseUrls, tmp_path: Path
) -> None:
    local = open_store(tmp_path / "fallback")
    try:
        with local.begin(SERVICE_ACTOR, write=True) as tx:
            journal.serve(tx.connection, "local")
        document_id = submit(local, "only-there.txt").document.document_id
        eventually(lambda: is_empty(local))
    finally:
        local.close()
    with store.begin(LOCAL_ACTOR) as tx:
        assert documents.get(tx, document_id) is not None


def test_a_job_of_the_database_stops_when_that_is_gone_and_goes_on_there(store: FallbackStore, access: Access) -> None:
    submit(store, "a.txt")
    job = store.claim_job("node.1")
    assert job is not None
    assert _home(store, job) == "postgresql"
    with store.pinned(job) as must_stop:
        assert not must_stop()
        access.take_away()
        eventually(must_stop)
        with pytest.raises(StoreUnavailable), store.begin(worker_for(job.user_id), write=True) as tx:
            jobs.heartbeat(tx, job.job_id, worker_id="node.1")
    assert store.claim_job("node.1") is None
    access.give_back()
    eventually(lambda: _is_closed(store))
    with store.pinned(job), store.begin(SERVICE_ACTOR, write=True) as tx:
        jobs.retry_later(tx, job.job_id, worker_id="node.1", run_after=job.created_at, error=None)
    again = store.claim_job("node.1")
    assert again is not None
    assert (again.job_id, _home(store, again)) == (job.job_id, "postgresql")


def test_a_job_of_this_node_is_told_to_let_go_and_is_not_lost(
    store: FallbackStore, postgres: DatabaseUrls, access: Access
) -> None:
    access.take_away()
    submit(store, "a.txt")
    job = store.claim_job("node.1")
    assert job is not None
    assert _home(store, job) == "sqlite"
    with store.pinned(job) as must_stop:
        access.give_back()
        eventually(must_stop)
        assert store.claim_job("node.1") is None
        with store.begin(worker_for(job.user_id), write=True) as tx:
            jobs.retry_later(tx, job.job_id, worker_id="node.1", run_after=job.created_at, error=None)
    eventually(lambda: _is_closed(store))
    again = store.claim_job("node.1")
    assert again is not None
    assert (again.job_id, _home(store, again)) == (job.job_id, "postgresql")


def test_no_file_may_be_removed_while_not_everybody_can_be_asked(store: FallbackStore, access: Access) -> None:
    with store.all_references() as transactions:
        assert {tx.connection.dialect.name for tx in transactions} == {"postgresql", "sqlite"}
    access.take_away()
    submit(store, "a.txt")
    with store.all_references() as transactions:
        assert not transactions


def test_writers_wait_for_the_switch_and_then_write_to_the_database(store: FallbackStore, access: Access) -> None:
    access.take_away()
    for number in range(5):
        submit(store, f"{number}.txt")
    stop = threading.Event()
    written: list[str] = []

    def write_on() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            written.append(submit(store, f"on-{number}.txt").document.document_id)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        access.give_back()
        eventually(lambda: store.state().breaker == "closed")
        there = len(written)
        eventually(lambda: len(written) > there + 3)
    finally:
        stop.set()
        writer.join()
    eventually(lambda: _is_closed(store))
    with store.begin(SERVICE_ACTOR) as tx:
        stored = set(tx.connection.scalars(select(schema.documents.c.document_id)))
    assert set(written) <= stored
    assert len(stored) == len(written) + 5


def test_many_transactions_that_lose_the_database_at_once_all_end(store: FallbackStore, access: Access) -> None:
    ended: list[str] = []

    def hold() -> None:
        try:
            with store.begin(LOCAL_ACTOR) as tx:
                ready.wait()
                access_gone.wait()
                tx.connection.execute(select(schema.documents.c.document_id))
            ended.append("answered")
        except StoreUnavailable:
            ended.append("told")

    ready, access_gone = threading.Barrier(4), threading.Event()
    with ExitStack() as stack:
        threads = [threading.Thread(target=hold) for _ in range(3)]
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        ready.wait()
        access.take_away()
        access_gone.set()
    assert ended == ["told"] * 3


def test_what_was_refused_is_offered_again_at_the_next_start_and_nothing_is_moved_for_nothing(
    postgres: DatabaseUrls, access: Access, tmp_path: Path
) -> None:
    access.take_away()
    store = open_fallback(postgres, tmp_path / "fallback")
    document_id = submit(store, "a.txt").document.document_id
    store.close()
    access.give_back()
    local = open_store(tmp_path / "fallback")
    try:
        with local.begin(SERVICE_ACTOR, write=True) as tx:
            tree = read_upload_trees(tx.connection)[0]
            journal.note(tx.connection, journal.Entry(document_id, tree.user_id, tree.stamp, "refused"))
            journal.serve(tx.connection, "main")
    finally:
        local.close()
    store = open_fallback(postgres, tmp_path / "fallback")
    store.replay_while(lambda: True)
    try:
        eventually(lambda: _is_closed(store))
        with store.begin(LOCAL_ACTOR) as tx:
            assert documents.get(tx, document_id) is not None
        probed = store._probes_done
        eventually(lambda: store._probes_done > probed + 3)
        assert store.state().counters["replays"] == 1
    finally:
        store.close()
