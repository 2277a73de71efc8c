"""Accounts while another store stands in for the database that has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from database.accounts import accounts
from database.accounts import mirror as account_mirror
from database.ids import new_id
from database.opening import open_store
from database.records import SERVICE_ACTOR, Actor, worker_for
from database.store import Store, Transaction
from services.accounts.api_keys import create_key
from services.accounts.attempts import LoginAttempts
from services.accounts.gate import FRESH_S, Gate
from services.accounts.local import LocalAccounts, add_account, set_password
from services.accounts.principal import Principal
from services.accounts.sessions import Sessions
from services.accounts.tokens import AccessTokens
from services.errors import TransientError, Unauthenticated
from tests.support.account_cases import PASSWORD, CountingHasher

HASHER = CountingHasher()


class Standing:
    """Two real stores, of which the second one answers while `is_partial`."""

    def __init__(self, main: Store, local: Store) -> None:
        self._main, self._local = main, local
        self.is_partial = False

    @contextmanager
    def begin(self, actor: Actor, *, write: bool = False) -> Iterator[Transaction]:
        with (self._local if self.is_partial else self._main).begin(actor, write=write) as tx:
            yield replace(tx, is_partial=self.is_partial)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._main, name)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "local")
    opened.upgrade()
    yield opened
    opened.close()


@pytest.fixture
def standing(store: Store, local: Store) -> Any:
    return Standing(store, local)


@pytest.fixture
def people(standing: Any, tokens: AccessTokens) -> LocalAccounts:
    return LocalAccounts(standing, HASHER, tokens, Sessions(standing, 3600), LoginAttempts())


def refused(error: pytest.ExceptionInfo[TransientError]) -> bool:
    return error.value.code == "database_unavailable"


def test_an_account_that_cannot_be_seen_is_not_called_unknown(standing: Any, people: LocalAccounts) -> None:
    add_account(standing, HASHER, "ada@example.org", PASSWORD)
    session = people.login("ada@example.org", PASSWORD, address="")
    standing.is_partial = True
    with pytest.raises(TransientError) as login:
        people.login("ada@example.org", PASSWORD, address="")
    with pytest.raises(TransientError) as refresh:
        people.refresh(session.refresh_token)
    assert refused(login)
    assert refused(refresh)
    standing.is_partial = False
    assert people.refresh(session.refresh_token).user_id == session.user_id
    with pytest.raises(Unauthenticated):
        people.refresh("drt_unknown")


def test_nothing_of_accounts_is_written_on_one_node_only(standing: Any, local: Store, people: LocalAccounts) -> None:
    user_id = add_account(standing, HASHER, "ada@example.org", PASSWORD)
    standing.is_partial = True
    principal = Principal(user_id, "local")
    for change in (
        lambda: add_account(standing, HASHER, "bob@example.org", PASSWORD),
        lambda: set_password(standing, HASHER, user_id, PASSWORD + "!"),
        lambda: create_key(standing, principal, name="k", scopes=["read"], expires_at=None),
        lambda: people.change_password(principal, PASSWORD, PASSWORD + "!", address=""),
    ):
        with pytest.raises(TransientError) as caught:
            change()
        assert refused(caught)
    with local.begin(SERVICE_ACTOR) as tx:
        assert accounts.by_email(tx, "bob@example.org") is None


def test_a_key_that_was_known_is_let_in_and_another_one_cannot_be_judged(standing: Any, tokens: AccessTokens) -> None:
    clock = iter(float(10 * number * FRESH_S) for number in range(100))
    gate = Gate(standing, local_tokens=tokens, supabase_tokens=None, requests_per_minute=0, clock=lambda: next(clock))
    owner = Principal(add_account(standing, HASHER, "ada@example.org", PASSWORD), "local")
    known, other = (create_key(standing, owner, name="k", scopes=["read"], expires_at=None).secret for _ in range(2))
    gate.look_up(known)
    standing.is_partial = True
    assert gate.look_up(known).user_id == owner.user_id
    with pytest.raises(TransientError) as caught:
        gate.look_up(other)
    assert refused(caught)
    assert gate.look_up(tokens.issue(owner.user_id, new_id())).user_id == owner.user_id


def test_marked_accounts_are_copied_and_log_in_where_the_database_is_away(
    standing: Any, store: Store, local: Store, people: LocalAccounts
) -> None:
    ada = add_account(store, HASHER, "ada@example.org", PASSWORD, is_offline=True, display_name="Ada")
    add_account(store, HASHER, "bob@example.org", PASSWORD)
    assert account_mirror.mirror(store, local)
    assert not account_mirror.mirror(store, local)
    standing.is_partial = True
    session = people.login("ada@example.org", PASSWORD, address="", offline_only=True)
    assert session.user_id == ada
    assert people.refresh(session.refresh_token, keeps_end=True).user_id == ada
    with local.begin(SERVICE_ACTOR) as tx:
        assert accounts.by_email(tx, "bob@example.org") is None


def test_copies_follow_new_passwords_blocks_and_addresses_that_move(store: Store, local: Store) -> None:
    ada, bob = (add_account(store, HASHER, f"{name}@example.org", PASSWORD, is_offline=True) for name in ("ada", "bob"))
    account_mirror.mirror(store, local)
    set_password(store, HASHER, ada, "another horse entirely")
    with store.begin(worker_for(bob), write=True) as tx:
        accounts.delete_user(tx, bob)
    carol = add_account(store, HASHER, "bob@example.org", PASSWORD, is_offline=True)
    assert account_mirror.mirror(store, local)
    with local.begin(SERVICE_ACTOR) as tx:
        copy = accounts.by_email(tx, "ada@example.org")
        moved = accounts.by_email(tx, "bob@example.org")
        assert accounts.get(tx, bob) is None
    assert copy is not None
    assert HASHER.verify(copy.password_hash, "another horse entirely")
    assert moved is not None
    assert moved.user_id == carol
    with store.begin(worker_for(ada), write=True) as tx:
        accounts.disable(tx, ada)
    assert account_mirror.mirror(store, local)
    with local.begin(SERVICE_ACTOR) as tx:
        assert accounts.get(tx, ada) is None
