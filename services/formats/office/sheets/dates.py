"""Dates, times and durations of spreadsheets: serial numbers of days, shown by the codes of number formats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

ISO_DATE = "yyyy-mm-dd"
ISO_TIME = "hh:mm:ss"
ISO_DATE_TIME = "yyyy-mm-dd hh:mm"

_LAST_DAY = 2_958_465
"""31 December 9999. Source: ECMA-376 part 1, 18.17.4.1."""

_DAYS_1904 = 1462
"""Between the two ways to count. Source: ECMA-376 part 1, 18.17.4.1."""

_MS_PER_DAY = 86_400_000
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def show_date(tokens: Sequence[tuple[str, str]], serial: float, *, from_1904: bool) -> str | None:
    """The day and time that `serial` counts, as the format's `tokens` show it; None where Excel has no such day."""
    elapsed = any(kind == "elapsed" for kind, _ in tokens)
    if not -_LAST_DAY <= serial <= _LAST_DAY + 1 or (serial < 0 and not elapsed):
        return None
    ticks = round(abs(serial) * _MS_PER_DAY)
    decimals = _second_decimals(tokens)
    if any(text.startswith("s") for kind, text in tokens if kind in ("date", "elapsed")):
        unit = 10 ** (3 - min(3, decimals))
        ticks = (ticks + unit // 2) // unit * unit
    days, ms = divmod(ticks, _MS_PER_DAY)
    day = _day_of(days + (_DAYS_1904 if from_1904 else 0))
    if day is None:
        return None
    moment = _Moment(*day, ms, ticks, decimals, any(kind == "noon" for kind, _ in tokens))
    shown = "-" if serial < 0 else ""
    names = [text for kind, text in tokens if kind in ("date", "elapsed")]
    at = 0
    fraction_shown = False
    for position, (kind, text) in enumerate(tokens):
        if kind in ("date", "elapsed"):
            minutes = text[0] == "m" and (
                (at > 0 and names[at - 1][0] == "h") or (at + 1 < len(names) and names[at + 1][0] == "s")
            )
            shown += moment.elapsed(text) if kind == "elapsed" else moment.part(text, minutes=minutes and len(text) < 3)
            at += 1
        elif kind == "noon":
            shown += ("PM" if ms >= _MS_PER_DAY // 2 else "AM")[: 2 if len(text) > 3 else 1]
        elif kind == "point" and position + 1 < len(tokens) and tokens[position + 1] == ("digit", "0"):
            shown += "." + f"{ms % 1000:03}"[: min(3, decimals)]
            fraction_shown = True
        elif kind == "digit" and fraction_shown:
            continue
        elif kind != "at":
            shown += text
    return shown.strip()


def _second_decimals(tokens: Sequence[tuple[str, str]]) -> int:
    count, counting = 0, False
    for kind, text in tokens:
        if kind == "point":
            counting = True
        elif counting and kind == "digit" and text == "0":
            count += 1
        else:
            counting = False
    return count


def _day_of(days: int) -> tuple[int, int, int, int] | None:
    """(year, month, day, weekday from Monday) of a day counted from 1900.

    Day 60 is 29 February 1900, which Excel has and the calendar has not. Source: ECMA-376 part 1, 18.17.4.1.
    """
    if not 0 <= days <= _LAST_DAY:
        return None
    if days == 60:
        return 1900, 2, 29, 2
    if days == 0:
        return 1900, 1, 0, 5
    found = date(1899, 12, 31 if days < 60 else 30) + timedelta(days=days)
    return found.year, found.month, found.day, found.weekday() if days > 60 else (found.weekday() - 1) % 7


class _Moment:
    """A day and a time of it, from which the parts of a format are taken."""

    def __init__(
        self, year: int, month: int, day: int, weekday: int, ms: int, ticks: int, decimals: int, half_days: bool
    ) -> None:
        self._date = (year, month, day, weekday)
        self._ticks = ticks
        self._half_days = half_days
        seconds = ms // 1000
        self._time = (seconds // 3600, seconds // 60 % 60, seconds % 60)

    def elapsed(self, name: str) -> str:
        """Hours, minutes or seconds since the start, beyond a day or an hour."""
        return str(self._ticks // {"h": 3_600_000, "m": 60_000, "s": 1000}[name[0]]).zfill(len(name))

    def part(self, name: str, *, minutes: bool) -> str:
        year, month, day, weekday = self._date
        hour, minute, second = self._time
        letter, width = name[0], min(len(name), 2)
        if letter == "y":
            return f"{year % 100:02}" if len(name) <= 2 else f"{year:04}"
        if letter == "e":
            return f"{year:04}"
        if letter == "b":
            return f"{(year + 543) % 100:02}" if len(name) <= 2 else f"{year + 543:04}"
        if letter == "m" and minutes:
            return str(minute).zfill(width)
        if letter == "m":
            word = _MONTHS[month - 1]
            return {3: word[:3], 5: word[0]}.get(len(name), word) if len(name) > 2 else str(month).zfill(width)
        if letter == "d":
            word = _WEEKDAYS[weekday]
            return (word[:3] if len(name) == 3 else word) if len(name) > 2 else str(day).zfill(width)
        if letter == "h":
            return str((hour % 12 or 12) if self._half_days else hour).zfill(width)
        return str(second).zfill(width) if letter == "s" else ""
