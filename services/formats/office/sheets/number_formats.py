"""Shows numbers and dates as the format codes of Excel do.

A code is read once and applied often.

A code is read once and applied often.

Source: ECMA-376 part 1, 18.8.30 and 18.8.31. No maintained library renders these codes: openpyxl, python-calamine and
xlrd only tell whether a code is one of dates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from functools import lru_cache
from types import MappingProxyType

_ISO_DATE = "yyyy-mm-dd"
_ISO_TIME = "hh:mm:ss"
_ISO_DATE_TIME = "yyyy-mm-dd hh:mm"

_BUILT_IN_CODES = {
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    5: '"$"#,##0_);("$"#,##0)',
    6: '"$"#,##0_);[Red]("$"#,##0)',
    7: '"$"#,##0.00_);("$"#,##0.00)',
    8: '"$"#,##0.00_);[Red]("$"#,##0.00)',
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: _ISO_DATE,
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: _ISO_DATE_TIME,
    37: "#,##0_);(#,##0)",
    38: "#,##0_);[Red](#,##0)",
    39: "#,##0.00_);(#,##0.00)",
    40: "#,##0.00_);[Red](#,##0.00)",
    41: '_(* #,##0_);_(* (#,##0);_(* "-"_);_(@_)',
    42: '_("$"* #,##0_);_("$"* (#,##0);_("$"* "-"_);_(@_)',
    43: '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)',
    44: '_("$"* #,##0.00_);_("$"* (#,##0.00);_("$"* "-"??_);_(@_)',
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    49: "@",
    **dict.fromkeys((*range(27, 32), 36, *range(50, 55), 57, 58), _ISO_DATE),
    **dict.fromkeys((32, 33, 34, 35, 55, 56), _ISO_TIME),
}
BUILT_IN: Mapping[int, str] = MappingProxyType(_BUILT_IN_CODES)
"""Codes that a file only numbers. Those that Excel shows by the settings of the reader's computer are ISO 8601 here,
which is never mistaken: 14, 22 and the East Asian ones. Source: ECMA-376 part 1, 18.8.30."""

MAX_CODE_CHARS = 1000
"""Of one code; Excel itself allows 255."""

_MAX_PLACES = 60
_INTEGERS_IN_FULL = 1e15
"""Excel keeps 15 digits. General shows but 11 of them; account and article numbers would be lost by that."""

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

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|_(?P<pad>.)|\*(?P<fill>.)|\[(?P<bracket>[^\]]*)\]|(?P<general>General)'
    r"|(?P<noon>AM/PM|A/P)|(?P<exponent>E[+-])|(?P<date>y+|m+|d+|h+|s+|e+|g+|b+)|(?P<digit>[0#?])|(?P<char>.)",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?\d{1,20}(?:\.\d{1,20})?)")

Token = tuple[str, str]
"""(kind, text); kinds: literal, digit, point, comma, percent, exponent, slash, at, general, date, elapsed, noon."""


@dataclass(frozen=True, slots=True)
class Section:
    """One of the up to four parts of a code, parted by semicolons."""

    tokens: tuple[Token, ...]
    condition: tuple[str, float] | None = None
    kinds: frozenset[str] = field(default=frozenset())

    def holds(self, value: float) -> bool:
        """True when the section's own condition is met."""
        assert self.condition is not None
        sign, limit = self.condition
        return {
            "<": value < limit,
            ">": value > limit,
            "<=": value <= limit,
            ">=": value >= limit,
            "=": value == limit,
            "<>": value != limit,
        }[sign]


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A code that was read; `show` and `show_text` apply it."""

    sections: tuple[Section, ...]

    def show(self, value: float, *, from_1904: bool = False) -> str:
        """`value` as the format shows it, without padding.

        `from_1904` counts days from 1904 instead of 1900.
        """
        section, signed = self._section_of(value)
        if not section.tokens:
            return ""
        if section.kinds & {"date", "elapsed"}:
            shown = _show_date(section.tokens, value, from_1904=from_1904)
            return general(value) if shown is None else shown
        try:
            shown = _show_number(section, value if signed else abs(value))
        except (InvalidOperation, OverflowError, ValueError):
            return general(value)
        return shown.strip()

    def show_text(self, text: str) -> str:
        """`text` with what the format puts around it; a format that hides text does not."""
        section = self.sections[3] if len(self.sections) > 3 else self.sections[-1]
        if "at" not in section.kinds or len(section.tokens) == 1:
            return text
        return "".join(text if kind == "at" else shown for kind, shown in section.tokens).strip()

    def _section_of(self, value: float) -> tuple[Section, bool]:
        """The section for `value`, and whether a minus sign has to be shown."""
        numeric = self.sections[:3]
        if len(self.sections) < 4 and len(numeric) > 1 and "at" in numeric[-1].kinds:
            numeric = numeric[:-1]  # the last section is for text where it says so
        if any(section.condition for section in numeric):
            for section in numeric:
                if section.condition is None or section.holds(value):
                    return section, True
            return numeric[-1], True
        if len(numeric) > 1 and value < 0:
            return numeric[1], False
        if len(numeric) > 2 and value == 0:
            return numeric[2], False
        return numeric[0], True


@lru_cache(maxsize=1024)
def compile_format(code: str) -> NumberFormat:
    """The format that `code` spells; a code that is too long counts as General."""
    sections: list[Section] = []
    tokens: list[Token] = []
    condition: tuple[str, float] | None = None
    system_date = ""
    matches = list(_TOKEN.finditer(code if len(code) <= MAX_CODE_CHARS else "General"))
    for match in [*matches, None]:
        kind = match.lastgroup if match is not None else "end"
        text = match.group(kind) if match is not None and kind else ""
        if kind == "end" or (kind == "char" and text == ";"):
            if system_date:
                tokens = list(_SYSTEM_DATES[system_date])
            sections.append(Section(tuple(tokens), condition, frozenset(kind for kind, _ in tokens)))
            tokens, condition, system_date = [], None, ""
        elif kind == "bracket":
            found = _CONDITION.fullmatch(text)
            if found:
                condition = (found.group(1), float(found.group(2)))
            elif text.upper() in ("$-F800", "$-F400"):
                system_date = text.upper()
            elif text.startswith("$"):
                tokens.append(("literal", text[1:].partition("-")[0]))
            elif re.fullmatch(r"h+|m+|s+", text, re.IGNORECASE):
                tokens.append(("elapsed", text.lower()))
        elif kind == "fill":
            continue
        elif kind == "pad":
            tokens.append(("literal", " "))
        elif kind in ("quoted", "escaped"):
            tokens.append(("literal", text))
        elif kind == "char":
            tokens.append((_CHARACTERS.get(text, "literal"), text))
        elif kind is not None:
            tokens.append((kind, text.lower() if kind == "date" else text))
    return NumberFormat(tuple(sections))


_SYSTEM_DATES: Mapping[str, Sequence[Token]] = {
    "$-F800": [("date", "yyyy"), ("literal", "-"), ("date", "mm"), ("literal", "-"), ("date", "dd")],
    "$-F400": [("date", "hh"), ("literal", ":"), ("date", "mm"), ("literal", ":"), ("date", "ss")],
}
"""The long date and the time as the reader's computer is set. Source: [MS-OI29500] 2.1.728."""

_CHARACTERS = {".": "point", ",": "comma", "%": "percent", "/": "slash", "@": "at"}


def general(value: float) -> str:
    """`value` as the format General shows it in a wide column.

    Integers in full up to 15 digits.
    """
    if value != value or value in (float("inf"), float("-inf")):
        return "#NUM!"
    if value == int(value) and abs(value) < _INTEGERS_IN_FULL:
        return str(int(value))
    if 1e-9 <= abs(value) < 1e11:
        whole = len(str(int(abs(value))))
        shown = f"{value:.{max(0, 10 - whole)}f}".rstrip("0").rstrip(".")
        if abs(value) >= 1e-4 or float(shown) == value:
            return shown
    mantissa, _, exponent = f"{value:.5E}".partition("E")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}E{exponent[0]}{exponent[1:].lstrip('0').zfill(2)}"


def _show_number(section: Section, value: float) -> str:
    tokens = section.tokens
    if "general" in section.kinds:
        return "".join(general(value) if kind == "general" else text for kind, text in tokens)
    if "digit" not in section.kinds:
        sign = "-" if value < 0 and "at" not in section.kinds else ""
        return sign + "".join(general(value) if kind == "at" else text for kind, text in tokens)
    number = Decimal(repr(float(value))) * 100 ** sum(kind == "percent" for kind, _ in tokens)
    if "slash" in section.kinds:
        shown = _show_fraction(tokens, number)
        if shown is not None:
            return shown
    whole, places, power = _parts_of(tokens)
    with localcontext() as context:
        context.prec = 400
        if power is not None:
            return _show_power(whole, places, power, number)
        number /= Decimal(1000) ** _scaling_commas(places or whole)
        return _sign(number, places) + _show_digits(whole, places, abs(number))


def _parts_of(tokens: Sequence[Token]) -> tuple[list[Token], list[Token] | None, list[Token] | None]:
    """What stands before the decimal point, behind it, and from the exponent on.

    None for what the code lacks.
    """
    parts: list[list[Token]] = [[]]
    places_at = power_at = 0
    for token in tokens:
        if token[0] == "point" and not places_at and not power_at:
            parts.append([])
            places_at = len(parts) - 1
            continue
        if token[0] == "exponent" and not power_at:
            parts.append([])
            power_at = len(parts) - 1
        parts[-1].append(token)
    return parts[0], parts[places_at] if places_at else None, parts[power_at] if power_at else None


def _scaling_commas(tokens: Sequence[Token]) -> int:
    """Commas directly behind the last digit divide by a thousand each."""
    last = max((at for at, (kind, _) in enumerate(tokens) if kind == "digit"), default=-1)
    count = 0
    for kind, _ in tokens[last + 1 :]:
        if kind != "comma":
            break
        count += 1
    return count if last >= 0 else 0


def _rounded(number: Decimal, places: Sequence[Token] | None) -> Decimal:
    count = min(_MAX_PLACES, sum(kind == "digit" for kind, _ in places or ()))
    return number.quantize(Decimal(1).scaleb(-count), ROUND_HALF_UP)


def _sign(number: Decimal, places: Sequence[Token] | None) -> str:
    return "-" if _rounded(number, places) < 0 else ""


def _show_digits(whole: Sequence[Token], places: Sequence[Token] | None, number: Decimal) -> str:
    """`number`, not negative, with its digits laid into the placeholders of `whole` and `places`."""
    digits, _, fraction = format(_rounded(number, places), "f").partition(".")
    shown = _show_whole(whole, digits.lstrip("0"))
    return shown if places is None else f"{shown}.{_show_places(places, fraction)}"


def _show_whole(tokens: Sequence[Token], digits: str) -> str:
    marks = [at for at, (kind, _) in enumerate(tokens) if kind == "digit"]
    if not marks:
        return digits + "".join(text for kind, text in tokens if kind != "comma")
    grouped = any(kind == "comma" and marks[0] < at < marks[-1] for at, (kind, _) in enumerate(tokens))
    backwards: list[str] = []
    left, count = len(digits), 0
    for at in range(len(tokens) - 1, -1, -1):
        kind, text = tokens[at]
        if kind == "comma":
            continue
        if kind != "digit":
            backwards.append(text[::-1])
            continue
        for _ in range(max(1, left) if at == marks[0] else 1):
            if left:
                left -= 1
                digit = digits[left]
            else:
                digit = {"0": "0", "?": " "}.get(text, "")
            if digit:
                if grouped and count and count % 3 == 0 and digit != " ":
                    backwards.append(",")
                backwards.append(digit)
                count += 1
    return "".join(backwards)[::-1]


def _show_places(tokens: Sequence[Token], digits: str) -> str:
    shown: list[str] = []
    kept = len(digits.rstrip("0"))
    at = 0
    for kind, text in tokens:
        if kind == "digit":
            if at < kept or text == "0":
                shown.append(digits[at] if at < len(digits) else "0")
            elif text == "?":
                shown.append(" ")
            at += 1
        elif kind not in ("comma", "point"):
            shown.append(text)
    return "".join(shown)


def _show_power(whole: Sequence[Token], places: Sequence[Token] | None, power: Sequence[Token], number: Decimal) -> str:
    step = max(1, sum(kind == "digit" for kind, _ in whole))
    exponent = number.adjusted() if number else 0
    exponent -= exponent % step
    mantissa = number.scaleb(-exponent)
    if step == 1 and abs(_rounded(mantissa, places)) >= 10:
        exponent += 1
        mantissa = number.scaleb(-exponent)
    sign = "-" if exponent < 0 else "+" if power[0][1].endswith("+") else ""
    shown = _sign(mantissa, places) + _show_digits(whole, places, abs(mantissa))
    return f"{shown}E{sign}{_show_whole(power[1:], str(abs(exponent)).lstrip('0'))}"


def _show_fraction(tokens: Sequence[Token], number: Decimal) -> str | None:
    """A whole number and a fraction, such as `2 3/8`.

    None where the code has a slash for another reason.
    """
    from fractions import Fraction

    slash = next(at for at, (kind, _) in enumerate(tokens) if kind == "slash")
    below = "".join(text for kind, text in tokens[slash + 1 :] if kind in ("digit", "literal")).strip()
    above = [at for at in range(slash) if tokens[at][0] == "digit"]
    if not above or not below:
        return None
    fixed = int(below) if below.isdecimal() and len(below) < 6 and int(below) else 0
    if not fixed and not set(below) <= {"?", "#", "0"}:
        return None
    value = abs(number)
    has_whole = any(tokens[at][0] == "literal" for at in range(above[0], above[-1]))
    whole = int(value) if has_whole else 0
    rest = Fraction(value) - whole
    part = Fraction(round(rest * fixed), fixed) if fixed else rest.limit_denominator(10 ** min(len(below), 5) - 1)
    if has_whole and part == 1:
        whole, part = whole + 1, Fraction(0)
    top, bottom = (int(part * fixed), fixed) if fixed else (part.numerator, part.denominator)
    sign = "-" if number < 0 and (whole or top) else ""
    if not top:
        return f"{sign}{whole}"
    return f"{sign}{whole} {top}/{bottom}" if whole else f"{sign}{top}/{bottom}"


def _show_date(tokens: Sequence[Token], serial: float, *, from_1904: bool) -> str | None:
    """The day and time that `serial` counts, as the format's `tokens` show it.

    None where Excel has no such day.
    """
    moment = _moment_of(tokens, serial, from_1904=from_1904)
    if moment is None:
        return None
    shown = "-" if serial < 0 else ""
    names = [text for kind, text in tokens if kind in ("date", "elapsed")]
    at = 0
    fraction_shown = False
    for position, (kind, text) in enumerate(tokens):
        if kind == "elapsed":
            shown += moment.elapsed(text)
            at += 1
        elif kind == "date":
            shown += moment.part(text, minutes=len(text) < 3 and _means_minutes(names, at))
            at += 1
        elif kind == "noon":
            shown += moment.half_day(text)
        elif kind == "point" and position + 1 < len(tokens) and tokens[position + 1] == ("digit", "0"):
            shown += moment.fraction()
            fraction_shown = True
        elif kind != "at" and not (kind == "digit" and fraction_shown):
            shown += text
    return shown.strip()


def _moment_of(tokens: Sequence[Token], serial: float, *, from_1904: bool) -> _Moment | None:
    """The day and time, rounded to what `tokens` show of a second.

    None where Excel has no such day.
    """
    is_elapsed = any(kind == "elapsed" for kind, _ in tokens)
    if not -_LAST_DAY <= serial <= _LAST_DAY + 1 or (serial < 0 and not is_elapsed):
        return None
    ticks = round(abs(serial) * _MS_PER_DAY)
    decimals = min(3, _second_decimals(tokens))
    if any(text.startswith("s") for kind, text in tokens if kind in ("date", "elapsed")):
        unit = 10 ** (3 - decimals)
        ticks = (ticks + unit // 2) // unit * unit
    days, ms = divmod(ticks, _MS_PER_DAY)
    day = _day_of(days + (_DAYS_1904 if from_1904 else 0))
    if day is None:
        return None
    return _Moment(*day, ms, ticks, decimals, half_days=any(kind == "noon" for kind, _ in tokens))


def _means_minutes(names: Sequence[str], at: int) -> bool:
    """True where the `m` at place `at` of the parts of a format stands behind hours or before seconds."""
    before, behind = names[at - 1 : at] if at else (), names[at + 1 : at + 2]
    return names[at][0] == "m" and (any(n[0] == "h" for n in before) or any(n[0] == "s" for n in behind))


def _second_decimals(tokens: Sequence[Token]) -> int:
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
        self, year: int, month: int, day: int, weekday: int, ms: int, ticks: int, decimals: int, *, half_days: bool
    ) -> None:
        self._date = (year, month, day, weekday)
        self._ms = ms
        self._decimals = decimals
        self._ticks = ticks
        self._half_days = half_days
        seconds = ms // 1000
        self._time = (seconds // 3600, seconds // 60 % 60, seconds % 60)

    def elapsed(self, name: str) -> str:
        """Hours, minutes or seconds since the start, beyond a day or an hour."""
        return str(self._ticks // {"h": 3_600_000, "m": 60_000, "s": 1000}[name[0]]).zfill(len(name))

    def half_day(self, name: str) -> str:
        """AM or PM, or the first letter of it."""
        return ("PM" if self._ms >= _MS_PER_DAY // 2 else "AM")[: 2 if len(name) > 3 else 1]

    def fraction(self) -> str:
        """The point and the decimals of the seconds."""
        return "." + f"{self._ms % 1000:03}"[: self._decimals]

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
