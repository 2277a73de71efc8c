"""E-mail addresses as names of accounts."""

from __future__ import annotations

import re
import unicodedata

from services.errors import FieldError, InvalidOption

MAX_EMAIL_CHARS = 254
"""Source: RFC 5321, section 4.5.3.1.3: a path has at most 256 octets, two of them the angle brackets."""

# One @ with something on both sides and no space or control character: whether such an address takes mail, only mail
# can tell.
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f<>,;\"]+@[^\s@\x00-\x1f\x7f<>,;\"]+")


def normal_email(text: str) -> str:
    """`text` in the form that accounts are found by: trimmed, case and Unicode folded.

    The same for `normal_email(text)` itself. The part before the @ could be told apart by case (RFC 5321, section 2.4);
    no provider of today does.
    Raises InvalidOption.
    """
    email = _folded(text.strip())
    if len(email) > MAX_EMAIL_CHARS or _EMAIL.fullmatch(email) is None or not _is_text(email):
        raise InvalidOption(
            "The e-mail address cannot be used. Write it as name@example.org.",
            code="invalid_request",
            errors=(FieldError("/email", "is no e-mail address"),),
        )
    return email


def _folded(text: str) -> str:
    """`text` folded, so that texts that differ in case and form only are equal.

    Folding undoes a normal form, so both are done twice.
    Source: Unicode 16.0, section 3.13, D146 (compatibility caseless matching).
    """
    once = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", text).casefold())
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", once.casefold()))


def _is_text(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
