"""Access tokens of local accounts: short-lived JWTs that this server signs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jwt
from pydantic import SecretStr

from database.ids import new_id
from services.accounts.principal import Principal, is_user_id
from services.errors import Unauthenticated

ISSUER = AUDIENCE = "docatlas"
_ALGORITHM = "HS256"
"""The only one that is accepted. Source: RFC 8725, section 3.1."""
_LEEWAY_S = 5
"""By which clocks of two nodes may differ."""
_TYPE = "at+jwt"
"""Source: RFC 9068, section 2.1."""


@dataclass(frozen=True, slots=True)
class AccessTokens:
    """Issues and verifies access tokens.

    Any node with the same secret verifies what another one issued.
    """

    secret: SecretStr
    lifetime_s: int

    def issue(self, user_id: str, session_id: str) -> str:
        """A token that is valid from now on."""
        issued_at = int(time.time())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "iat": issued_at,
            "exp": issued_at + self.lifetime_s,
            "jti": new_id(),
            "sid": session_id,
        }
        return jwt.encode(claims, self.secret.get_secret_value(), algorithm=_ALGORITHM, headers={"typ": _TYPE})

    def verify(self, token: str) -> Principal:
        """The principal of the token.

        Raises Unauthenticated (`token_expired`, `invalid_token`).
        """
        try:
            found = jwt.decode_complete(
                token,
                self.secret.get_secret_value(),
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "sid", "jti"], "strict_aud": True},
            )
        except jwt.ExpiredSignatureError as error:
            raise expired_token() from error
        except jwt.InvalidTokenError as error:
            raise invalid_token() from error
        claims = found["payload"]
        if found["header"].get("typ") != _TYPE or not is_user_id(claims["sub"]) or not is_user_id(claims["sid"]):
            raise invalid_token()
        return Principal(claims["sub"], "local", session_id=claims["sid"], expires_at=float(claims["exp"]))


def issuer_of(token: str) -> str | None:
    """The issuer that the token names, unverified; None where it is no JWT."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError:
        return None
    return issuer if isinstance(issuer, str) else None


def invalid_token() -> Unauthenticated:
    return Unauthenticated("The token is not valid here. Log in again.", code="invalid_token")


def expired_token() -> Unauthenticated:
    return Unauthenticated("The token has expired. Use the refresh token, or log in again.", code="token_expired")
