"""New ids, and the one way in which times are written."""

from __future__ import annotations

from datetime import UTC, datetime

import uuid_utils


def new_id() -> str:
    """A new UUIDv7 as a string; later ones sort after earlier ones."""
    return str(uuid_utils.uuid7())


def now() -> str:
    """The time as RFC 3339 in UTC with microseconds.

    As text these sort as the times do.
    """
    return format_time(datetime.now(UTC))


def format_time(moment: datetime) -> str:
    """`moment` in the store's way of writing; a moment without a zone is taken as UTC."""
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    # Not by strftime, which writes the year 1 as `1`.
    return f"{zoned.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def parse_time(text: str) -> str:
    """`text`, a date or an ISO 8601 time, in the store's way of writing.

    Raises ValueError when it is neither.
    """
    try:
        return format_time(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:80]!r} is not a date or time, such as 2024-05-31 or 2024-05-31T08:00:00Z") from error
