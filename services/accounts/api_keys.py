"""Makes, lists, revokes and looks up API keys."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from database.accounts import api_keys
from database.accounts.records import ApiKeyRecord
from database.ids import now, parse_time
from database.records import Actor, ListPage, worker_for
from database.store import Store, Transaction
from services.accounts.availability import changing, check_absence, require_database
from services.accounts.principal import Principal, Scope, ordered
from services.accounts.sessions import hash_of
from services.errors import Conflict, FieldError, Forbidden, InvalidOption, NotFound, Unauthenticated
from services.filters import refusing_bad_queries

PREFIX = "dak_"
VISIBLE_CHARS = 12
"""Of a key that its owner goes on seeing: 48 bits of 256, enough to know it by and none to guess the rest from."""
MAX_KEYS = 100
"""Of one user."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; `secret` is told this once."""

    record: ApiKeyRecord
    secret: str = field(repr=False)


def create_key(
    store: Store, principal: Principal, *, name: str, scopes: Sequence[Scope], expires_at: str | None
) -> NewKey:
    """Makes a key for the principal; returns its record and its secret.

    A key that asks for another one gets no scope that it lacks itself, and no later end.
    Raises Forbidden (`scope_missing`), InvalidOption and Conflict (`too_many_keys`).
    """
    require_database(store)
    for scope in scopes:
        principal.require(scope)
    expiry = _expiry(principal, expires_at)
    secret = PREFIX + secrets.token_urlsafe(32)
    with changing(store, worker_for(principal.user_id)) as tx:
        if api_keys.count(tx) >= MAX_KEYS:
            raise Conflict(f"There are {MAX_KEYS} keys, and no more are kept. Revoke one first.", code="too_many_keys")
        record = api_keys.add(
            tx,
            name=name,
            prefix=secret[:VISIBLE_CHARS],
            key_hash=hash_of(secret),
            scopes=ordered(scopes),
            expires_at=expiry,
        )
    return NewKey(record, secret)


def list_keys(store: Store, actor: Actor, *, limit: int, cursor: str | None) -> ListPage[ApiKeyRecord]:
    """The actor's keys, newest first. Raises InvalidOption for a malformed cursor."""
    with store.begin(actor) as tx, refusing_bad_queries():
        return api_keys.list_page(tx, limit=limit, cursor=cursor)


def get_key(store: Store, actor: Actor, key_id: str) -> ApiKeyRecord:
    """The key. Raises NotFound."""
    with store.begin(actor) as tx:
        found = api_keys.get(tx, key_id)
    if found is None:
        check_absence(tx)
        raise _no_key(key_id)
    return found


def revoke_key(store: Store, actor: Actor, key_id: str) -> None:
    """Deletes the key. Raises NotFound."""
    require_database(store)
    with changing(store, worker_for(actor.user_id)) as tx:
        if not api_keys.delete_key(tx, key_id):
            raise _no_key(key_id)


def find_key(tx: Transaction, secret: str) -> ApiKeyRecord:
    """Returns the key with this secret, in a transaction of the service.

    Raises Unauthenticated (`invalid_api_key`, `api_key_expired`).
    """
    wanted = hash_of(secret)
    found = api_keys.by_hash(tx, wanted)
    if found is None or not hmac.compare_digest(found[1], wanted):
        raise Unauthenticated("The API key is not known, or was revoked. Make a new one.", code="invalid_api_key")
    record = found[0]
    if record.expires_at is not None and record.expires_at <= now():
        raise Unauthenticated("The API key has expired. Make a new one.", code="api_key_expired")
    return record


def principal_of(record: ApiKeyRecord) -> Principal:
    """The principal that a request with this key acts as."""
    ends = None if record.expires_at is None else datetime.fromisoformat(record.expires_at).timestamp()
    return Principal(
        record.user_id, "api_key", scopes=frozenset(ordered(record.scopes)), key_id=record.key_id, expires_at=ends
    )


def _expiry(principal: Principal, wanted: str | None) -> str | None:
    limit = None
    if principal.kind == "api_key" and principal.expires_at is not None:
        limit = datetime.fromtimestamp(principal.expires_at, UTC)
    if wanted is None:
        return None if limit is None else parse_time(limit.isoformat())
    try:
        moment = parse_time(wanted)
    except ValueError as error:
        raise _bad_expiry("is no date or time, such as 2027-01-31") from error
    if moment <= now():
        raise _bad_expiry("lies in the past")
    if limit is not None and moment > parse_time(limit.isoformat()):
        raise Forbidden("A key cannot outlive the key that makes it.", code="expiry_too_late")
    return moment


def _bad_expiry(message: str) -> InvalidOption:
    return InvalidOption(
        f"`expires_at` {message}.", code="invalid_request", errors=(FieldError("/expires_at", message),)
    )


def _no_key(key_id: str) -> NotFound:
    return NotFound(f"There is no API key {key_id[:64]!r}.", code="api_key_not_found")
