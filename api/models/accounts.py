"""Accounts, sessions and API keys over the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from api.models.base import EXAMPLE_REFRESH_TOKEN, EXAMPLE_TIME, Answer, Asked, PlainText
from database.accounts.records import ApiKeyRecord
from services.accounts.emails import MAX_EMAIL_CHARS
from services.accounts.passwords import MAX_CHARS, MIN_CHARS
from services.accounts.principal import SCOPES, Scope, ordered

EXAMPLE_USER_ID = "019aa5d0-1c2b-7a64-b1f3-2d9e8c7b6a50"
EXAMPLE_KEY_ID = "019aa5d1-77aa-7c02-8e15-6f3b2a1c0d9e"
_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMTlhYTVkMCJ9.c2lnbmF0dXJl"
_SECRET = "dak_3nZ8qWvT5yRkLmXbC2hJ7gPdSfA9uEoIiQ1xVwN6tYc"
_SESSION: dict[str, Any] = {
    "object": "session",
    "access_token": _TOKEN,
    "token_type": "bearer",
    "expires_in": 900,
    "refresh_token": EXAMPLE_REFRESH_TOKEN,
    "user": {"id": EXAMPLE_USER_ID, "email": "ada@example.org"},
}
_KEY: dict[str, Any] = {
    "id": EXAMPLE_KEY_ID,
    "object": "api_key",
    "name": "nightly import",
    "prefix": "dak_3nZ8qWvT",
    "scopes": ["read", "write"],
    "created_at": EXAMPLE_TIME,
    "expires_at": "2099-12-31T00:00:00.000000Z",
    "last_used_at": None,
}

Email = Annotated[
    str, Field(min_length=3, max_length=MAX_EMAIL_CHARS + 64, description="E-mail address; case does not matter")
]
Secret = Annotated[str, Field(min_length=1, max_length=4096, repr=False)]
NewPassword = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4096,
        repr=False,
        description=f"{MIN_CHARS} to {MAX_CHARS} characters; common passwords are refused",
    ),
]


class RegisterRequest(Asked):
    """A new account."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"email": "ada@example.org", "password": "correct horse battery staple", "display_name": "Ada"}
        },
        hide_input_in_errors=True,
    )

    email: Email
    password: NewPassword
    display_name: PlainText = Field("", max_length=200, description="Name to show; may be empty")


class LoginRequest(Asked):
    """Who wants to come in."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"email": "ada@example.org", "password": "correct horse battery staple"}},
        hide_input_in_errors=True,
    )

    email: Email
    password: Secret = Field(description="The password")


class RefreshRequest(Asked):
    """The session to continue."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"refresh_token": EXAMPLE_REFRESH_TOKEN}}, hide_input_in_errors=True
    )

    refresh_token: Secret = Field(description="The refresh token of the last login or refresh; each works once")


class PasswordChange(Asked):
    """The old password and the new one."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "current_password": "correct horse battery staple",
                "new_password": "four words that nobody joined",
            }
        },
        hide_input_in_errors=True,
    )

    current_password: Secret = Field(description="The password until now")
    new_password: NewPassword


class AccountName(Answer):
    """An account, by its names."""

    id: str = Field(description="UUID of the user")
    email: str = Field(description="E-mail address of the account")


class SessionAnswer(Answer):
    """Tokens. Send the access token as `Authorization: Bearer`, and use each refresh token once."""

    model_config = ConfigDict(json_schema_extra={"example": _SESSION})

    object: Literal["session"] = Field("session", description="Always `session`")
    access_token: str = Field(repr=False, description="Send it as `Authorization: Bearer ...`")
    token_type: Literal["bearer"] = Field("bearer", description="Always `bearer`")
    expires_in: int = Field(description="Seconds until the access token expires")
    refresh_token: str = Field(repr=False, description="Send it to POST /v1/auth/refresh for new tokens; it works once")
    user: AccountName = Field(description="Who logged in")


class RegisterAnswer(Answer):
    """A new account; its session is null where the address has to be confirmed first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"object": "registration", "confirmation_required": False, "session": _SESSION}}
    )

    object: Literal["registration"] = Field("registration", description="Always `registration`")
    confirmation_required: bool = Field(
        description="True when Supabase sent a mail with a link that has to be opened first"
    )
    session: SessionAnswer | None = Field(
        description="The first session; null where the address has to be confirmed first"
    )


class LimitModel(Answer):
    """How much of something is used; the limit is null where there is none."""

    used: int | None = Field(description="How much is used; null where it is not counted")
    limit: int | None = Field(description="The quota; null where there is none")


class MeAnswer(Answer):
    """Who asks, and what they may."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": EXAMPLE_USER_ID,
                "object": "user",
                "email": "ada@example.org",
                "authenticated_by": "local",
                "scopes": ["read", "write", "admin"],
                "quotas": {
                    "documents": {"used": 12, "limit": 1000},
                    "bytes": {"used": 48_120_331, "limit": 10_000_000_000},
                    "requests_per_minute": {"used": None, "limit": 600},
                },
            }
        }
    )

    id: str = Field(description="UUID of the user")
    object: Literal["user"] = Field("user", description="Always `user`")
    email: str | None = Field(description="E-mail address; null without accounts")
    authenticated_by: Literal["nobody", "local", "supabase", "api_key"] = Field(
        description="`nobody`: the server has no accounts. Else the kind of token or key"
    )
    scopes: list[Scope] = Field(description="What the token or key may do")
    quotas: dict[str, LimitModel] = Field(description="`documents`, `bytes` and `requests_per_minute`")


def _each_once(scopes: list[Scope]) -> list[Scope]:
    return ordered(scopes)


class ApiKeyRequest(Asked):
    """A new API key."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"name": "nightly import", "scopes": ["read", "write"], "expires_at": "2099-12-31"}
        }
    )

    name: PlainText = Field(min_length=1, max_length=200, description="What the key is for, in your words")
    scopes: Annotated[list[Scope], AfterValidator(_each_once)] = Field(
        min_length=1, max_length=len(SCOPES), description="At most those of the key that asks"
    )
    expires_at: str | None = Field(None, max_length=64, description="A date or RFC 3339 time; never, where left out")


class ApiKeyModel(Answer):
    """An API key without its secret."""

    model_config = ConfigDict(json_schema_extra={"example": _KEY})

    id: str = Field(description="UUID of the key")
    object: Literal["api_key"] = Field("api_key", description="Always `api_key`")
    name: str = Field(description="What the key is for")
    prefix: str = Field(description="The first characters of the secret")
    scopes: list[Scope] = Field(description="What the key may do: `read`, `write`, `admin`")
    created_at: str = Field(description="Time when it was made (RFC 3339, UTC)")
    expires_at: str | None = Field(description="Time from which it is refused; null for never")
    last_used_at: str | None = Field(description="To within ten minutes")


class NewApiKeyAnswer(ApiKeyModel):
    """An API key with its secret, which is told this once."""

    model_config = ConfigDict(json_schema_extra={"example": {**_KEY, "secret": _SECRET}})

    secret: str = Field(repr=False, description="Keep it: it is not stored and cannot be shown again")


def api_key_members(record: ApiKeyRecord) -> dict[str, Any]:
    """The members of an ApiKeyModel."""
    return {
        "id": record.key_id,
        "name": record.name,
        "prefix": record.prefix,
        "scopes": ordered(record.scopes),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_used_at": record.last_used_at,
    }
