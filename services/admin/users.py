"""Adds, lists, disables, enables and deletes users, and sets passwords."""

from __future__ import annotations

from collections.abc import Sequence

from database.accounts import accounts
from database.accounts import sessions as account_sessions
from database.accounts.records import UserRecord
from database.records import LOCAL_USER_ID, SERVICE_ACTOR, Actor, DocumentFilter, worker_for
from services.accounts import local
from services.accounts.availability import changing, require_database
from services.accounts.emails import normal_email
from services.accounts.principal import is_user_id
from services.documents import documents
from services.errors import Forbidden, NotFound
from services.runtime import Runtime

_PAGE = 200


def add_user(
    runtime: Runtime,
    email: str,
    password: str,
    *,
    display_name: str = "",
    is_offline: bool = False,
    user_id: str | None = None,
) -> str:
    """Adds an account; returns its user's id. Raises Conflict and InvalidOption."""
    return local.add_account(
        runtime.store,
        runtime.accounts.hasher,
        email,
        password,
        display_name=display_name,
        is_offline=is_offline,
        user_id=user_id,
    )


def list_users(runtime: Runtime) -> Sequence[UserRecord]:
    """Every user, by id."""
    found: list[UserRecord] = []
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        while True:
            page = accounts.list_users(tx, after=found[-1].user_id if found else None, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found


def find_user(runtime: Runtime, name: str) -> str:
    """The id of the user with this id or e-mail address.

    Raises NotFound (`user_not_found`) and InvalidOption.
    """
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        if is_user_id(name):
            found = name if accounts.is_known(tx, name) else None
        else:
            account = accounts.by_email(tx, normal_email(name))
            found = None if account is None else account.user_id
    if found is None:
        raise NotFound(f"There is no user {name[:64]!r}. See `docatlas users list`.", code="user_not_found")
    return found


def disable_user(runtime: Runtime, name: str) -> str:
    """Disables the user and ends every session; returns the id.

    Without accounts the local user is there all the same: only the account that was given to them can be disabled.
    Raises NotFound and Forbidden.
    """
    require_database(runtime.store)
    user_id = find_user(runtime, name)
    with changing(runtime.store, worker_for(user_id)) as tx:
        if accounts.get(tx, user_id) is None:
            _not_local(user_id)
        accounts.disable(tx, user_id)
        account_sessions.end_all(tx, user_id)
    runtime.accounts.gate.forget(user_id)
    return user_id


def enable_user(runtime: Runtime, name: str) -> str:
    """Lets a disabled user in again; returns the id. Raises NotFound."""
    require_database(runtime.store)
    user_id = find_user(runtime, name)
    with changing(runtime.store, worker_for(user_id)) as tx:
        accounts.enable(tx, user_id)
    return user_id


def set_password(runtime: Runtime, name: str, password: str) -> str:
    """Sets the password of a local account and ends its sessions; returns the id.

    Raises NotFound and InvalidOption.
    """
    user_id = find_user(runtime, name)
    local.set_password(runtime.store, runtime.accounts.hasher, user_id, password)
    return user_id


def remove_user(runtime: Runtime, user_id: str) -> int:
    """Deletes the user with every document, file, session and key of theirs.

    Returns how many documents there were. The user is kept out first, so that nothing new arrives meanwhile; called
    again, it goes on where it was ended. Raises NotFound and Forbidden.
    """
    disable_user(runtime, _not_local(user_id))
    owner, removed = Actor(user_id), 0
    while True:
        page = documents.list_documents(runtime, owner, only=DocumentFilter(), limit=_PAGE)
        for document in page.data:
            documents.delete_document(runtime, owner, document.document_id)
            removed += 1
        if page.next_cursor is None:
            break
    with changing(runtime.store, worker_for(user_id)) as tx:
        accounts.delete_user(tx, user_id)
    return removed


def _not_local(user_id: str) -> str:
    if user_id == LOCAL_USER_ID:
        raise Forbidden("This is the user of a server without accounts, who stays.", code="local_user")
    return user_id
