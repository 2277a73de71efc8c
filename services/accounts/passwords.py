"""Which passwords are accepted, and how they are hashed and checked."""

from __future__ import annotations

import base64
import secrets
import unicodedata
from typing import Protocol

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from services.errors import FieldError, InvalidOption

MIN_CHARS, MAX_CHARS = 8, 1024
"""Source: NIST SP 800-63B-4, section 3.1.1.2: at least 8 (15 where nothing else is asked for is advised), and at least
64 have to be allowed; 1024 bounds the work of hashing."""

TIME_COST, MEMORY_KIB, PARALLELISM = 3, 64 * 1024, 4
"""Source: RFC 9106, section 4, the second recommended option of argon2id. 0.10 s on one request, two cores."""

# Source: the passwords of eight and more characters among the thirty most used of the lists of 2019 to 2024 (NordPass,
# SplashData, NCSC). NIST SP 800-63B-4, section 3.1.1.2, asks for such a list; it is short because attempts are limited.
_COMMON_TEXT = """
12345678 123456789 1234567890 12345678910 0123456789 0987654321 987654321 87654321 password password1 password12
password123 passw0rd p@ssw0rd p@ssword pa$$word qwertyuiop qwerty12 qwerty123 qwerty1234 1q2w3e4r 1q2w3e4r5t 1qaz2wsx
q1w2e3r4 q1w2e3r4t5 asdfghjkl zxcvbnm1 iloveyou iloveyou1 sunshine princess football baseball welcome1 welcome123
abcd1234 abc12345 a1b2c3d4 aa123456 aa12345678 11111111 00000000 88888888 12341234 11223344 12344321 superman trustno1
letmein1 starwars whatever computer michelle jennifer changeme administrator admin123 docatlas1 docatlas123 docatlas
"""
_COMMON = frozenset(_COMMON_TEXT.split())


class PasswordHasher(Protocol):
    """Hashes passwords; every call costs about the same, and much. Thread-safe."""

    def hash(self, password: str) -> str:
        """A salted hash in the PHC string format."""
        ...

    def verify(self, password_hash: str | None, password: str) -> bool:
        """True where the password is the one that was hashed.

        With None the same work is done, and the answer is False.
        """
        ...

    def is_outdated(self, password_hash: str) -> bool:
        """True where the hash was made with other parameters than today's."""
        ...


class Argon2Hasher:
    """argon2id; see PasswordHasher."""

    def __init__(
        self, *, time_cost: int = TIME_COST, memory_kib: int = MEMORY_KIB, parallelism: int = PARALLELISM
    ) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism)
        # Verified where there is no account, so that the time of an answer does not tell: to check a password against
        # random bytes takes the work of checking it against a hash.
        salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
        self._nobodys = f"$argon2id$v=19$m={memory_kib},t={time_cost},p={parallelism}${salt}${digest}"

    def hash(self, password: str) -> str:
        return self._hasher.hash(_normal(password))

    def verify(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._nobodys, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        return self._hasher.check_needs_rehash(password_hash)


def check_password(password: str, *, email: str, at: str = "/password") -> None:
    """Returns when the password may be used.

    Raises InvalidOption (`weak_password`) that says what is wrong with it.
    """
    message = _fault(password, email)
    if message:
        raise InvalidOption(
            f"The password cannot be used: it {message}. Choose a longer one, such as four words that do not belong "
            "together.",
            code="weak_password",
            errors=(FieldError(at, message),),
        )


def _fault(password: str, email: str) -> str:
    normal = _normal(password)
    if len(normal) < MIN_CHARS:
        return f"has fewer than {MIN_CHARS} characters"
    if len(password) > MAX_CHARS or len(normal) > MAX_CHARS:
        return f"has more than {MAX_CHARS} characters"
    if any("\ud800" <= char <= "\udfff" for char in normal):
        return "holds half of a surrogate pair, which is no text"
    folded = normal.casefold()
    if folded in _COMMON or len(set(folded)) == 1:
        return "is among those that are tried first"
    if folded in (email, email.partition("@")[0]):
        return "is part of the e-mail address"
    return ""


def _normal(password: str) -> str:
    """Source: NIST SP 800-63B-4, section 3.1.1.2: NFKC or NFKD before hashing."""
    return unicodedata.normalize("NFKC", password)
