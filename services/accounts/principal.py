"""Who sends a request, and what they may do."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, TypeGuard

from database.records import LOCAL_ACTOR, Actor
from services.errors import Forbidden

Scope = Literal["read", "write", "admin"]
"""`read` looks at documents and searches; `write` changes documents and jobs; `admin` changes keys and the account.

None of them includes another.
"""
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
ALL_SCOPES: frozenset[Scope] = frozenset(SCOPES)

_USER_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_user_id(value: object) -> TypeGuard[str]:
    """True for a UUID in its canonical form.

    Another spelling of one would make a second owner of the same user.
    """
    return isinstance(value, str) and _USER_ID.fullmatch(value) is not None


Kind = Literal["nobody", "local", "supabase", "api_key", "signed_url"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request, and with which scopes.

    With the kind `nobody` it is the one user of a server without accounts.
    """

    user_id: str
    kind: Kind
    scopes: frozenset[Scope] = ALL_SCOPES
    session_id: str | None = None
    """The session that an access token belongs to."""
    key_id: str | None = None
    email: str | None = field(default=None, repr=False)
    """What a token of Supabase's says."""
    expires_at: float | None = None
    """Unix time at which what was shown is no longer valid; None: never."""

    @property
    def actor(self) -> Actor:
        """On whose behalf the store is asked."""
        return Actor(self.user_id)

    def require(self, scope: Scope) -> None:
        """Returns when the scope is held. Raises Forbidden (`scope_missing`)."""
        if scope not in self.scopes:
            raise Forbidden(
                f"This needs the scope `{scope}`, and the API key has {_listed(self.scopes)}. Use another key.",
                code="scope_missing",
                facts={"scope": scope},
            )


NOBODY = Principal(LOCAL_ACTOR.user_id, "nobody")
"""Without accounts everybody is the one local user."""


def ordered(scopes: Collection[str]) -> list[Scope]:
    """The scopes in their usual order, each once."""
    return [scope for scope in SCOPES if scope in scopes]


def _listed(scopes: Collection[Scope]) -> str:
    return ", ".join(f"`{scope}`" for scope in ordered(scopes)) or "none"
