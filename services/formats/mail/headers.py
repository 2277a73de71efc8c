"""Reads headers of mails from strangers.

Without the standard library's grammar of addresses, which raises on real ones.

That grammar is recursive and raises on what real mails hold. Source: bugs.python.org 33972, 37461, 41206.
"""

from __future__ import annotations

import binascii
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from typing import Any

from services.formats.kit.decoding import clean_text, decode_text

MAX_HEADER_CHARS = 20_000
"""Of one header; more is cut off. Source: RFC 5322, 2.1.1 allows 998 a line; a To: of two hundred people fits."""

_SEVEN_BITS = ("iso-2022", "hz", "utf-7")


def header(message: Message[Any, Any], name: str) -> str:
    """The decoded text of the first header of that name; empty without one."""
    wanted = name.lower()
    for found, value in message.raw_items():
        if found.lower() == wanted:
            return decode_words(str(value)[:MAX_HEADER_CHARS])
    return ""


def decode_words(raw: str) -> str:
    """`raw` with its encoded words (RFC 2047) read, and bytes above 127 in whatever encoding they are in."""
    if "=?" not in raw:
        return _unescaped(raw)
    try:
        # In Latin-1 every byte above 127 is one character, which the library hands back as that byte.
        found = decode_header(raw if raw.isascii() else raw.encode("utf-8", "surrogateescape").decode("latin-1"))
    except (HeaderParseError, binascii.Error, ValueError):
        return _unescaped(raw)
    parts = [part if isinstance(part, str) else decode_bytes(part, charset or "") for part, charset in found]
    return clean_text("".join(parts))


def decode_bytes(data: bytes, charset: str) -> str:
    """Text in `charset`, or in what it is in where that does not fit."""
    if charset.lower().startswith(_SEVEN_BITS):
        try:
            return clean_text(data.decode(charset, "replace"))
        except (LookupError, ValueError):
            return decode_text(data)[0]
    return decode_text(data, charset)[0]


def _unescaped(raw: str) -> str:
    return decode_text(raw.encode("utf-8", "surrogateescape"))[0]
