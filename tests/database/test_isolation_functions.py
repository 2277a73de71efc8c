"""Every function of the database with another owner's ids: as with ids of nobody, and nothing of the other's changes.

On Postgres once more with `Transaction.owns` true for every row, as if each condition on the owner had been forgotten.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import ColumnElement, Table, text, true
from sqlalchemy.exc import DBAPIError

import database
import database.accounts
import database.blobs
import database.documents
import database.jobs
from database import change_counter as changes
from database.accounts import accounts, api_keys, users
from database.accounts import sessions as account_sessions
from database.documents import children, contents, documents, generations, images, searches
from database.documents import document_aliases as aliases
from database.errors import RowRefused
from database.ids import new_id
from database.jobs import claims, jobs, waiting
from database.records import SERVICE_ACTOR, Actor, DocumentFilter, DocumentRecord, JobRecord
from database.store import Store, Transaction
from tests.support.databases import Databases, Kind
from tests.support.isolation_cases import STRANGER, VICTIM, Held, hold
from tests.support.store_cases import EVERYTHING, SPACE, chunk, digest, image, page, prepare, summary, unit

LATER = "2099-01-01T00:00:00.000000Z"


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody's ids and records, as a caller who should not have them would pass them."""

    held: Held
    document: DocumentRecord
    job: JobRecord

    @property
    def id(self) -> str:
        return self.held.document_id

    @property
    def user_id(self) -> str:
        return self.held.actor.user_id


class _Forgetful(Transaction):
    """A transaction whose functions forget to ask for the owner."""

    __slots__ = ()

    def owns(self, table: Table) -> ColumnElement[bool]:
        return true()

    def writes_for(self, user_id: str) -> None:
        return None


Call = Callable[[Transaction, Target], object]
_FILE = {"file_type": "text", "media_type": "text/plain", "file_size": 1, "options": {}}

CALLS: Mapping[str, Call] = {
    "sessions.add": lambda tx, t: account_sessions.add(
        tx, t.user_id, digest("stolen"), family_id=new_id(), expires_at=LATER
    ),
    "sessions.get": lambda tx, t: account_sessions.get(tx, digest("victim token")),
    "sessions.mark_used": lambda tx, t: account_sessions.mark_used(tx, digest("victim token"), "x"),
    "sessions.end_family": lambda tx, t: account_sessions.end_family(tx, t.user_id, new_id()),
    "sessions.end_all": lambda tx, t: account_sessions.end_all(tx, t.user_id),
    "accounts.add": lambda tx, t: accounts.add(tx, t.user_id, "stolen@example.org", "x"),
    "accounts.by_email": lambda tx, t: accounts.by_email(tx, "victim@example.org"),
    "accounts.get": lambda tx, t: accounts.get(tx, t.user_id),
    "accounts.set_password": lambda tx, t: accounts.set_password(tx, t.user_id, "stolen"),
    "accounts.rehash": lambda tx, t: accounts.rehash(tx, t.user_id, "$argon2id$x", "stolen"),
    "accounts.is_known": lambda tx, t: accounts.is_known(tx, t.user_id),
    "accounts.block_of": lambda tx, t: accounts.block_of(tx, t.user_id),
    "accounts.disable": lambda tx, t: accounts.disable(tx, t.user_id),
    "accounts.enable": lambda tx, t: accounts.enable(tx, t.user_id),
    "accounts.delete_user": lambda tx, t: accounts.delete_user(tx, t.user_id),
    "accounts.list_users": lambda tx, t: accounts.list_users(tx, after=None, limit=9),
    "accounts.storage_use": lambda tx, t: accounts.storage_use(tx),
    "accounts.holds_content": lambda tx, t: accounts.holds_content(tx, t.held.sha256),
    "document_aliases.add": lambda tx, t: aliases.add(tx, t.user_id, {new_id(): t.id}),
    "document_aliases.resolve": lambda tx, t: aliases.resolve(tx, t.held.alias_id),
    "document_aliases.remove": lambda tx, t: aliases.remove(tx, [t.held.alias_id]),
    "api_keys.add": lambda tx, t: bool(
        api_keys.add(tx, name="x", prefix="x", key_hash=digest(new_id()), scopes=[], expires_at=None)
    ),
    "api_keys.count": lambda tx, t: api_keys.count(tx),
    "api_keys.get": lambda tx, t: api_keys.get(tx, t.held.key_id),
    "api_keys.by_hash": lambda tx, t: api_keys.by_hash(tx, digest("victim key")),
    "api_keys.list_page": lambda tx, t: api_keys.list_page(tx, limit=9, cursor=None),
    "api_keys.delete_key": lambda tx, t: api_keys.delete_key(tx, t.held.key_id),
    "api_keys.mark_used": lambda tx, t: api_keys.mark_used(tx, t.held.key_id),
    "change_counter.mark_changed": lambda tx, t: changes.mark_changed(tx, t.id, t.user_id),
    "children.lineage": lambda tx, t: children.lineage(tx, t.held.child_id),
    "children.count_inside": lambda tx, t: children.count_inside(tx, t.id),
    "children.find": lambda tx, t: children.find(tx, t.id, digest("victim child"), "victim child"),
    "children.add": lambda tx, t: children.add(tx, t.document, filename="x", sha256=digest("x"), **_FILE),  # type: ignore[arg-type]
    "children.queue": lambda tx, t: children.queue(tx, t.id, 9, [t.held.child_id], {}),
    "children.discard_unqueued": lambda tx, t: children.discard_unqueued(tx, t.id),
    "children.discard_abandoned": lambda tx, t: children.discard_abandoned(tx),
    "children.cancel_inside": lambda tx, t: children.cancel_inside(tx, t.id),
    "children.unfinished_inside": lambda tx, t: children.unfinished_inside(tx, t.id),
    "children.family": lambda tx, t: children.family(tx, t.id),
    "contents.write_page": lambda tx, t: contents.write_page(tx, t.id, 1, page(1, "stolen")),
    "contents.pages_written": lambda tx, t: list(contents.pages_written(tx, t.id, 1)),
    "contents.write_chunks": lambda tx, t: contents.write_chunks(tx, t.id, 1, [chunk(0, "stolen")]),
    "contents.chunk_hashes": lambda tx, t: contents.chunk_hashes(tx, t.id, 1),
    "contents.chunks_without_vector": lambda tx, t: contents.chunks_without_vector(tx, t.id, 1, "another", 9),
    "contents.write_chunk_vectors": lambda tx, t: contents.write_chunk_vectors(tx, t.id, 1, SPACE, {0: unit(9)}),
    "contents.cached_vectors": lambda tx, t: contents.cached_vectors(tx, SPACE, [digest("victim only passage 0")]),
    "contents.read_pages": lambda tx, t: list(contents.read_pages(tx, t.id, with_layout=True)),
    "contents.read_page": lambda tx, t: contents.read_page(tx, t.id, 1),
    "contents.list_chunks": lambda tx, t: contents.list_chunks(tx, t.id, limit=9, cursor=None),
    "contents.get_chunks": lambda tx, t: contents.get_chunks(tx, [t.held.chunk_id]),
    "contents.chunk_vectors": lambda tx, t: contents.chunk_vectors(tx, [t.held.chunk_id]),
    "contents.chunks_on_page": lambda tx, t: contents.chunks_on_page(tx, t.id, 1, 9),
    "contents.owner_of": lambda tx, t: contents.owner_of(tx, t.id),
    "documents.submit_upload": lambda tx, t: (
        documents.submit_upload(
            tx,
            filename="x",
            sha256=t.held.sha256,
            metadata={},
            **_FILE,  # type: ignore[arg-type]
        ).outcome
    ),
    "documents.resubmit": lambda tx, t: documents.resubmit(tx, t.id, {}),
    "documents.get": lambda tx, t: documents.get(tx, t.id),
    "documents.get_many": lambda tx, t: documents.get_many(tx, [t.id, t.held.child_id]),
    "documents.list_page": lambda tx, t: [
        documents.list_page(tx, only=only, parent_id=parent, name_contains=name, limit=9, cursor=None)
        for only in (DocumentFilter(document_ids=[t.id]), EVERYTHING)
        for parent, name in ((t.id, None), (None, "victim"))
    ],
    "documents.children": lambda tx, t: documents.children(tx, t.id),
    "documents.update": lambda tx, t: documents.update(tx, t.id, title="stolen", metadata={"stolen": True}),
    "documents.delete": lambda tx, t: documents.delete(tx, t.id),
    "documents.active_job": lambda tx, t: documents.active_job(tx, t.id),
    "documents.latest_job": lambda tx, t: documents.latest_job(tx, t.id),
    "documents.referenced_blobs": lambda tx, t: documents.referenced_blobs(tx) - {t.held.sha256},
    "documents.unreferenced": lambda tx, t: documents.unreferenced(tx, [t.held.sha256]) == [t.held.sha256],
    "documents.insert_document": lambda tx, t: documents.insert_document(
        tx, user_id=t.user_id, parent_id=None, filename="x", sha256=digest("x"), metadata={}, title="", **_FILE
    ),
    "generations.publish": lambda tx, t: generations.publish(tx, t.id, 1, summary(0)),
    "generations.drop_other_generations": lambda tx, t: generations.drop_other_generations(tx, t.id, 9),
    "generations.discard_generation": lambda tx, t: generations.discard_generation(tx, t.id, 2),
    "generations.drop_stale_generations": lambda tx, t: generations.drop_stale_generations(tx),
    "images.write_image": lambda tx, t: images.write_image(tx, t.id, 1, image(0, "stolen")),
    "images.list_images": lambda tx, t: images.list_images(tx, t.id),
    "images.get_image": lambda tx, t: images.get_image(tx, t.held.image_id),
    "images.get_images": lambda tx, t: images.get_images(tx, [t.held.image_id]),
    "images.image_vectors": lambda tx, t: images.image_vectors(tx, [t.held.image_id]),
    "images.images_without_vector": lambda tx, t: images.images_without_vector(tx, "another", 9),
    "images.count_images_without_vector": lambda tx, t: images.count_images_without_vector(tx, "another"),
    "images.set_image_vectors": lambda tx, t: images.set_image_vectors(tx, "another", {t.held.image_id: unit(9)}),
    "images.images_written": lambda tx, t: images.images_written(tx, t.id, 1),
    "jobs.count_by_status": lambda tx, t: jobs.count_by_status(tx),
    "jobs.show_status": lambda tx, t: jobs.show_status(tx, t.job, "failed"),
    "jobs.add": lambda tx, t: jobs.add(tx, type="ingest", document_id=t.id),
    "jobs.add_for_document": lambda tx, t: jobs.add_for_document(tx, t.id, t.user_id, {}),
    "jobs.add_first": lambda tx, t: jobs.add_first(tx, [(t.held.child_id, t.user_id)], {}),
    "jobs.supersede": lambda tx, t: jobs.supersede(tx, str(t.job.document_id)),
    "jobs.unfinished_ids": lambda tx, t: jobs.unfinished_ids(tx, str(t.job.document_id)),
    "jobs.has_pending_documents": lambda tx, t: jobs.has_pending_documents(tx, DocumentFilter(document_ids=[t.id])),
    "jobs.get": lambda tx, t: jobs.get(tx, t.held.job_id),
    "jobs.get_many": lambda tx, t: jobs.get_many(tx, [t.held.job_id]),
    "jobs.newest_of": lambda tx, t: jobs.newest_of(tx, str(t.job.document_id), ()),
    "jobs.latest_of": lambda tx, t: jobs.latest_of(tx, [str(t.job.document_id)]),
    "jobs.list_page": lambda tx, t: jobs.list_page(tx, document_id=t.job.document_id, limit=9, cursor=None),
    "jobs.queue_position": lambda tx, t: jobs.queue_position(tx, t.job),
    "jobs.heartbeat": lambda tx, t: jobs.heartbeat(tx, t.held.job_id, worker_id="w"),
    "jobs.finish": lambda tx, t: jobs.finish(tx, t.held.job_id, worker_id="w", status="failed"),
    "jobs.retry_later": lambda tx, t: jobs.retry_later(tx, t.held.job_id, worker_id="w", run_after=LATER, error=None),
    "jobs.request_cancel": lambda tx, t: jobs.request_cancel(tx, t.held.job_id),
    "jobs.stop": lambda tx, t: jobs.stop(tx, t.job),
    "jobs.cancel_queued": lambda tx, t: jobs.cancel_queued(tx, [t.held.job_id]),
    "jobs.retry": lambda tx, t: jobs.retry(tx, t.held.job_id),
    "claims.claim": lambda tx, t: claims.claim(tx, t.held.job_id, "thief.1"),
    "claims.oldest_claimable": lambda tx, t: (
        (found := claims.oldest_claimable(tx)) is not None and found.user_id != STRANGER.user_id
    ),
    "claims.orphans": lambda tx, t: claims.orphans(tx, "thief.1", silent_since=LATER),
    "claims.requeue_orphans": lambda tx, t: claims.requeue_orphans(tx, "thief.1", silent_since=LATER),
    "searches.record": lambda tx, t: bool(
        searches.record(tx, query_text="x", query_embedding=None, results_found=0, metadata={})
    ),
    "searches.list_page": lambda tx, t: searches.list_page(tx, 9, None),
    "users.ensure": lambda tx, t: users.ensure(tx, t.user_id),
    "waiting.begin_to_wait": lambda tx, t: waiting.begin_to_wait(
        tx, t.held.job_id, worker_id="w", warnings=[], pages_done=1, children=1
    ),
    "waiting.parent_of": lambda tx, t: waiting.parent_of(tx, t.held.child_id),
    "waiting.settle": lambda tx, t: waiting.settle(tx, t.id),
    "waiting.count": lambda tx, t: waiting.count(tx),
    "waiting.settle_all": lambda tx, t: waiting.settle_all(tx),
}

NOT_CALLED = {
    "change_counter.read_counter": "numbers of SQLite's index in memory, of an owner whom no request names",
}
OF_THE_SERVICE = {
    name for name in CALLS if name.split(".")[0] in ("sessions", "users") or name.startswith("accounts.")
} - {"accounts.storage_use", "accounts.holds_content"} | {
    "document_aliases.add",
    "api_keys.by_hash",
    "documents.referenced_blobs",
    "documents.unreferenced",
    "jobs.queue_position",
}
"""What looks at all owners on purpose, or is given an owner by the service: SQLite has nothing that could refuse it.

On Postgres an owner who calls it is refused, or gets an answer about own rows."""


def functions() -> set[str]:
    """`module.name` of everything in `database` that works on a transaction, whatever module it lies in."""
    found: set[str] = set()
    rooms = (database, database.accounts, database.blobs, database.documents, database.jobs)
    modules = [f"{room.__name__}.{module.name}" for room in rooms for module in pkgutil.iter_modules(room.__path__)]
    for module in modules:
        loaded = importlib.import_module(module)
        for name, member in vars(loaded).items():
            if not inspect.isfunction(member) or member.__module__ != loaded.__name__ or name.startswith("_"):
                continue
            first = next(iter(inspect.signature(member).parameters.values()), None)
            if first is not None and first.annotation in ("Transaction", Transaction):
                found.add(f"{module.rpartition('.')[2]}.{name}")
    return found


def test_every_function_on_a_transaction_has_a_call() -> None:
    assert functions() == set(CALLS) | set(NOT_CALLED)
    assert not set(CALLS) & set(NOT_CALLED)


@pytest.fixture(scope="module")
def shared(module_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Target]]:
    store = module_databases.open(tmp_path_factory.mktemp("functions"))
    prepare(store)
    held = hold(store, VICTIM, "victim")
    hold(store, STRANGER, "stranger")
    with store.begin(VICTIM) as tx:
        document, job = documents.get(tx, held.document_id), jobs.get(tx, held.job_id)
    assert document is not None
    assert job is not None
    yield store, Target(held, document, job)
    store.close()


@pytest.mark.parametrize("name", sorted(CALLS))
def test_ids_of_another_are_ids_of_nobody(shared: tuple[Store, Target], store_kind: Kind, name: str) -> None:
    if store_kind == "sqlite" and name in OF_THE_SERVICE:
        assert name not in ("documents.get", "jobs.get")
        return
    store, victim = shared
    before = rows_of_victim(store)
    absent = outcome(store, Transaction, CALLS[name], nobody(victim), keep=False)
    foreign = outcome(store, Transaction, CALLS[name], victim)
    if name not in ("documents.unreferenced", "users.ensure"):
        assert foreign == absent
    assert tells_nothing(foreign, victim)
    assert rows_of_victim(store) == before


@pytest.mark.parametrize("name", sorted(CALLS))
def test_postgres_refuses_where_the_owner_was_forgotten(
    shared: tuple[Store, Target], store_kind: Kind, name: str
) -> None:
    store, victim = shared
    before = rows_of_victim(store)
    if store_kind == "sqlite":
        # Nothing stands behind the condition there. It shows that this test would notice.
        if name == "documents.get":
            assert not tells_nothing(outcome(store, _Forgetful, CALLS[name], victim), victim)
        return
    assert tells_nothing(outcome(store, _Forgetful, CALLS[name], victim), victim)
    assert rows_of_victim(store) == before


class _UndoneError(Exception):
    pass


def outcome(store: Store, kind: type[Transaction], call: Call, target: Target, *, keep: bool = True) -> str:
    """What the stranger gets: the value, or what refused it."""
    try:
        with store.begin(STRANGER, write=True) as tx:
            value = repr(call(kind(tx.actor, tx.connection), target))
            if not keep:
                raise _UndoneError
            return f"value {value}"
    except _UndoneError:
        return f"value {value}"
    except LookupError:
        return "there is none"
    except DBAPIError as error:
        return f"refused by the database: {type(error.orig).__name__}"
    except RowRefused:
        return "refused by the database: IntegrityError"


def tells_nothing(told: str, victim: Target) -> bool:
    """True where nothing of the victim's is in it."""
    secrets = [getattr(victim.held, name) for name in Held.__slots__ if name != "actor"]
    secrets += [VICTIM.user_id, digest("victim child"), digest("victim")]
    return not any(secret in told for secret in secrets)


def nobody(victim: Target) -> Target:
    """The same kinds of ids and records, that exist nowhere."""
    user = Actor(new_id())
    names = ("document_id", "child_id", "chunk_id", "image_id", "job_id", "search_id", "key_id", "alias_id")
    held = replace(victim.held, actor=user, sha256=digest(new_id()), **{name: new_id() for name in names})
    return Target(
        held,
        replace(victim.document, document_id=held.document_id, user_id=user.user_id),
        replace(victim.job, job_id=held.job_id, document_id=new_id(), user_id=user.user_id),
    )


def rows_of_victim(store: Store) -> list[str]:
    """Everything that is stored of the victim's."""
    with store.begin(SERVICE_ACTOR) as tx:
        return [
            repr(row)
            for table in _TABLES
            for row in tx.connection.execute(
                text(f"SELECT * FROM {table} WHERE user_id = :owner ORDER BY {_order(table)}"),
                {"owner": VICTIM.user_id},
            )
        ]


_TABLES = (
    *("users", "documents_metadata", "document_pages", "document_images", "document_embeddings", "jobs"),
    *("similarity_searches", "local_accounts", "refresh_tokens", "blocked_users", "api_keys", "document_aliases"),
)


def _order(table: str) -> str:
    keys = {"jobs": "job_id", "similarity_searches": "search_id", "api_keys": "key_id", "document_aliases": "alias_id"}
    return keys.get(table, "document_id" if table.startswith("document") else "user_id")
