"""Numbers of spreadsheets as their number format shows them: the format codes of Excel, read once and applied often.

Source: ECMA-376 part 1, 18.8.30 and 18.8.31. No maintained library renders these codes: openpyxl, python-calamine and
xlrd only tell whether a code is one of dates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from functools import lru_cache
from types import MappingProxyType

from services.formats.office.sheets.dates import ISO_DATE, ISO_DATE_TIME, ISO_TIME, show_date

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
    14: ISO_DATE,
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: ISO_DATE_TIME,
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
    **dict.fromkeys((*range(27, 32), 36, *range(50, 55), 57, 58), ISO_DATE),
    **dict.fromkeys((32, 33, 34, 35, 55, 56), ISO_TIME),
}
BUILT_IN: Mapping[int, str] = MappingProxyType(_BUILT_IN_CODES)
"""Codes that a file only numbers. Those that Excel shows by the settings of the reader's computer are ISO 8601 here,
which is never mistaken: 14, 22 and the East Asian ones. Source: ECMA-376 part 1, 18.8.30."""

MAX_CODE_CHARS = 1000
"""Of one code; Excel itself allows 255."""

_MAX_PLACES = 60
_INTEGERS_IN_FULL = 1e15
"""Excel keeps 15 digits. General shows but 11 of them; account and article numbers would be lost by that."""

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

    @property
    def is_date(self) -> bool:
        """True where numbers are shown as days or times."""
        return bool(self.sections[0].kinds & {"date", "elapsed"})

    def show(self, value: float, *, from_1904: bool = False) -> str:
        """`value` as the format shows it, without padding; `from_1904` counts days from 1904 instead of 1900."""
        section, signed = self._section_of(value)
        if not section.tokens:
            return ""
        if section.kinds & {"date", "elapsed"}:
            shown = show_date(section.tokens, value, from_1904=from_1904)
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
    """`value` as the format General shows it in a wide column; integers in full up to 15 digits."""
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
    """What stands before the decimal point, behind it, and from the exponent on; None for what the code lacks."""
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
    """A whole number and a fraction, such as `2 3/8`; None where the code has a slash for another reason."""
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
