"""Checks the access tokens that Supabase issued."""

from __future__ import annotations

from typing import Any

import jwt
from pydantic import SecretStr

from services.accounts.jwks import KeySet
from services.accounts.principal import Principal, is_user_id
from services.accounts.tokens import expired_token, invalid_token

AUDIENCE = ROLE = "authenticated"
_LEEWAY_S = 10
"""By which Supabase's clock and ours may differ."""


class SupabaseTokens:
    """Verifies access tokens that Supabase issued. Thread-safe.

    By the project's public keys, or by its legacy secret where one is given. Which key is used follows from the
    algorithm, and each key verifies one algorithm only: a public key never serves as the secret of HS256.
    Source: RFC 8725, sections 2.1 and 3.1.
    """

    def __init__(self, issuer: str, keys: KeySet, legacy_secret: SecretStr | None) -> None:
        self._issuer, self._keys, self._legacy_secret = issuer, keys, legacy_secret

    def verify(self, token: str) -> Principal:
        """The principal of the token.

        Raises Unauthenticated, and TransientError where the keys cannot be fetched.
        """
        claims = self._claims(token)
        user_id, session_id, email = claims["sub"], claims.get("session_id"), claims.get("email")
        if claims.get("role") != ROLE or not is_user_id(user_id):
            raise invalid_token()
        return Principal(
            user_id,
            "supabase",
            session_id=session_id if isinstance(session_id, str) else None,
            email=email if isinstance(email, str) else None,
            expires_at=float(claims["exp"]),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        key, algorithm = self._key_for(token)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=AUDIENCE,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise expired_token() from error
        except jwt.PyJWTError as error:
            raise invalid_token() from error
        return claims

    def _key_for(self, token: str) -> tuple[Any, str]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise invalid_token() from error
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm == "HS256":
            secret = None if self._legacy_secret is None else self._legacy_secret.get_secret_value()
            if not secret:
                raise invalid_token()
            return secret, "HS256"
        if algorithm not in ("ES256", "RS256") or not isinstance(key_id, str):
            raise invalid_token()
        found = self._keys.find(key_id)
        if found is None or found.algorithm != algorithm:
            raise invalid_token()
        return found.key, found.algorithm
