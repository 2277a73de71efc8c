"""Turns the token or API key of a request into a principal, and counts requests."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from database.accounts import accounts, api_keys, users
from database.accounts.records import ApiKeyRecord
from database.errors import StoreError
from database.records import SERVICE_ACTOR, worker_for
from database.store import Store, Transaction
from services.accounts.api_keys import PREFIX, find_key, principal_of
from services.accounts.availability import check_absence, database_unavailable
from services.accounts.buckets import Allowance, Buckets
from services.accounts.principal import Principal
from services.accounts.supabase_tokens import SupabaseTokens
from services.accounts.tokens import ISSUER, AccessTokens, invalid_token, issuer_of
from services.errors import RateLimited, Retry, TransientError, Unauthenticated

_log = logging.getLogger(__name__)

FRESH_S = 5.0
"""For how long what was found out about a credential is believed: a disabled account, or a key that another node
revoked, is out after this many seconds at the latest. Five requests a second of one user then ask the database once in
25."""
USABLE_S = 900.0
"""For how long an API key that was known is let in while the database does not answer: as long as an access token,
which needs no database, is valid by default."""
MAX_REMEMBERED = 20_000
"""Credentials; about 10 MB."""
USE_NOTED_EVERY = timedelta(minutes=10)
"""`last_used_at` is this coarse, so that reading does not mean writing."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about a credential; times in seconds of the gate's clock."""

    principal: Principal
    fresh_until: float
    usable_until: float


class Gate:
    """Finds the principal of a token or an API key. Thread-safe.

    `recall` is for the event loop: it only looks into memory. `look_up` verifies signatures and asks the database.
    """

    def __init__(
        self,
        store: Store,
        *,
        local_tokens: AccessTokens | None,
        supabase_tokens: SupabaseTokens | None,
        requests_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clock = store, clock
        self._local_tokens, self._supabase_tokens = local_tokens, supabase_tokens
        self._requests = Buckets(requests_per_minute, 60.0) if requests_per_minute else None
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._forgotten = 0
        """How often something was forgotten: what was read from the database before is not believed after."""

    def recall(self, credential: str) -> Principal | None:
        """The principal, where it was looked up a moment ago; else None."""
        known = self._remembered(credential)
        if known is None or known.fresh_until <= self._clock() or _is_over(known.principal):
            return None
        return known.principal

    def look_up(self, credential: str) -> Principal:
        """The principal of the token or key, verified.

        Raises Unauthenticated, and TransientError where neither memory nor the database knows it.
        """
        if credential.startswith(PREFIX):
            return self._key_holder(credential)
        principal = self._token_holder(credential)
        seen = self._forgotten
        try:
            self._admit(principal.user_id)
        except StoreError as error:
            # A token that was issued goes on being good while nobody can say that its owner is out.
            _log.warning("whether a user is blocked could not be looked up: %s", error)
        self._remember(credential, principal, usable_s=0.0, seen=seen)
        return principal

    def admit_signed(self, principal: Principal) -> None:
        """Returns when the user who signed an address is still there.

        The database is asked each time: addresses of a disabled or deleted user are worth nothing at once. Raises
        Unauthenticated.
        """
        try:
            with self._store.begin(SERVICE_ACTOR) as tx:
                _refuse_blocked(accounts.block_of(tx, principal.user_id))
        except StoreError as error:
            _log.warning("whether a user is blocked could not be looked up: %s", error)

    def count_request(self, principal: Principal) -> Allowance | None:
        """Counts one request of the user; None where they are not limited.

        Signed addresses are counted apart: whoever was sent one cannot use up its owner's own requests.
        """
        if self._requests is None:
            return None
        is_signed = principal.kind == "signed_url"
        return self._requests.take(f"signed {principal.user_id}" if is_signed else principal.user_id)

    @property
    def requests_per_minute(self) -> int:
        return 0 if self._requests is None else self._requests.capacity

    def forget(self, user_id: str) -> None:
        """Forgets every credential of the user.

        What is being looked up at this moment is not remembered either.
        """
        with self._lock:
            self._forgotten += 1
            for digest in [d for d, known in self._known.items() if known.principal.user_id == user_id]:
                del self._known[digest]

    def refusal_of(self, user_id: str) -> Unauthenticated | None:
        """The error for a disabled or deleted user, who is then forgotten; else None."""
        with self._store.begin(SERVICE_ACTOR) as tx:
            reason = accounts.block_of(tx, user_id)
        try:
            _refuse_blocked(reason)
        except Unauthenticated as refusal:
            self.forget(user_id)
            return refusal
        return None

    def _token_holder(self, token: str) -> Principal:
        """The principal of an access token.

        The issuer that the token names decides who verifies it: this server or Supabase's keys; each then checks that
        name.
        """
        if self._local_tokens is not None and (self._supabase_tokens is None or issuer_of(token) == ISSUER):
            return self._local_tokens.verify(token)
        if self._supabase_tokens is not None:
            return self._supabase_tokens.verify(token)
        raise invalid_token()

    def _key_holder(self, secret: str) -> Principal:
        seen = self._forgotten
        try:
            with self._store.begin(SERVICE_ACTOR) as tx:
                record = _found_key(tx, secret)
                _refuse_blocked(accounts.block_of(tx, record.user_id))
        except (StoreError, TransientError) as error:
            known = self._remembered(secret)
            if known is None or known.usable_until <= self._clock() or _is_over(known.principal):
                raise database_unavailable() from error
            self._set(secret, replace(known, fresh_until=self._clock() + FRESH_S), seen)
            return known.principal
        except Unauthenticated:
            self._drop(secret)
            raise
        self._note_use(record)
        principal = principal_of(record)
        self._remember(secret, principal, usable_s=USABLE_S, seen=seen)
        return principal

    def _admit(self, user_id: str) -> None:
        """Adds the owner's row where a token of theirs is seen for the first time.

        Raises Unauthenticated for a disabled or deleted user.
        """
        with self._store.begin(SERVICE_ACTOR) as tx:
            _refuse_blocked(accounts.block_of(tx, user_id))
            is_known = accounts.is_known(tx, user_id)
        if not is_known:
            with self._store.begin(worker_for(user_id), write=True) as tx:
                # Once more: the owner may have been deleted since.
                _refuse_blocked(accounts.block_of(tx, user_id))
                users.ensure(tx, user_id)

    def _note_use(self, record: ApiKeyRecord) -> None:
        if record.last_used_at is not None:
            used = datetime.fromisoformat(record.last_used_at)
            if used > datetime.now(UTC) - USE_NOTED_EVERY:
                return
        try:
            with self._store.begin(worker_for(record.user_id), write=True) as tx:
                api_keys.mark_used(tx, record.key_id)
        except StoreError as error:
            _log.warning("the use of the API key %s could not be noted: %s", record.key_id, error)

    def _remembered(self, credential: str) -> _Known | None:
        with self._lock:
            return self._known.get(_digest(credential))

    def _remember(self, credential: str, principal: Principal, *, usable_s: float, seen: int) -> None:
        moment = self._clock()
        self._set(credential, _Known(principal, moment + FRESH_S, moment + usable_s), seen)

    def _set(self, credential: str, known: _Known, seen: int) -> None:
        """Remembers the credential, unless something was forgotten since `seen`.

        A key may have been revoked after it was read.
        """
        digest = _digest(credential)
        with self._lock:
            if self._forgotten != seen:
                return
            self._known[digest] = known
            self._known.move_to_end(digest)
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)

    def _drop(self, credential: str) -> None:
        with self._lock:
            self._known.pop(_digest(credential), None)


def _found_key(tx: Transaction, secret: str) -> ApiKeyRecord:
    try:
        return find_key(tx, secret)
    except Unauthenticated:
        check_absence(tx)
        raise


def too_many_requests(allowance: Allowance) -> RateLimited:
    """The error for a request over the quota."""
    return RateLimited(
        f"You have sent too many requests in a minute. Try again in {allowance.retry_after_s} seconds.",
        retry=Retry(float(allowance.retry_after_s)),
    )


def _digest(credential: str) -> bytes:
    """SHA-256 of the credential: memory holds no secret either."""
    return hashlib.sha256(credential.encode("utf-8", "replace")).digest()


def _is_over(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= time.time()


def _refuse_blocked(reason: str | None) -> None:
    if reason == "disabled":
        raise Unauthenticated("The account is disabled. Ask the operator.", code="account_disabled")
    if reason is not None:
        raise Unauthenticated("The account was deleted.", code="account_deleted")
