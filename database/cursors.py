"""Opaque cursors of keyset pagination."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime

from database.columns import to_json
from database.ids import parse_time

MAX_CURSOR_CHARS = 1000


def encode_cursor(keys: Sequence[str | int]) -> str:
    """The cursor that stands behind a row with these sort keys."""
    return base64.urlsafe_b64encode(to_json(list(keys)).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, kinds: Sequence[type]) -> list[str | int]:
    """The sort keys in `cursor`, one of each of `kinds`.

    Of kind `datetime` is a text in the store's way of writing. Raises ValueError when it is not a cursor of such a
    list.
    """
    wrong = ValueError("the cursor is malformed: pass `next_cursor` of the page before, unchanged")
    if len(cursor) > MAX_CURSOR_CHARS:
        raise wrong
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        keys = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise wrong from error
    if not isinstance(keys, list) or len(keys) != len(kinds):
        raise wrong
    if not all(_is_of(key, kind) for key, kind in zip(keys, kinds, strict=True)):
        raise wrong
    if any(isinstance(key, int) and abs(key) >= 2**63 for key in keys):
        raise wrong
    return keys


def _is_of(key: object, kind: type) -> bool:
    if kind is not datetime:
        return type(key) is kind
    try:
        return isinstance(key, str) and parse_time(key) == key
    except ValueError:
        return False
