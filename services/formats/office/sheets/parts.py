"""Reads a workbook's shared strings, styles and list of sheets."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from services.errors import TooLarge
from services.formats.kit.xml import Element
from services.formats.office.markup import attribute, children, first, is_on, local, whole_number
from services.formats.office.package import OfficePackage
from services.formats.office.sheets.layout import clean
from services.formats.office.sheets.number_formats import BUILT_IN

MAX_CELL_CHARS = 32_767
"""Of one cell. Source: Excel specifications and limits."""

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_MAX_FORMATS = 65_536
"""Cell formats of a workbook; Excel allows 65,490."""


class SharedStrings:
    """The strings that cells share, as one run of UTF-8: a million short ones take a tenth of a list's memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q")
        self._recent: dict[int, str] = {}

    def append(self, text: str) -> None:
        """Adds the next string."""
        self._bytes += text.encode("utf-8", "replace")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends)

    def get(self, index: int) -> str:
        """String number `index`; empty where there is none."""
        known = self._recent.get(index)
        if known is not None:
            return known
        if not 0 <= index < len(self._ends):
            return ""
        start = self._ends[index - 1] if index else 0
        text = self._bytes[start : self._ends[index]].decode("utf-8")
        if len(self._recent) >= 4096:
            self._recent.clear()
        self._recent[index] = text
        return text


def read_shared_strings(package: OfficePackage, part: str, max_bytes: int, strings: SharedStrings) -> None:
    """Adds the strings of `part`, which is streamed, to `strings`: of a damaged part those before the damage.

    Raises what `OfficePackage.elements` does, and TooLarge.
    """
    size = 0
    for item in package.elements(part, "si"):
        text = string_item(item)
        size += len(text)
        if size > max_bytes:
            raise TooLarge(
                f"The workbook's strings have more than {max_bytes:,} characters. Split it.", code="archive_too_large"
            )
        strings.append(text)
        forget(item)


def string_item(item: Element) -> str:
    """The text of a shared or inline string, its runs joined.

    Hints for pronunciation are left out.
    """
    parts: list[str] = []
    for piece in item:
        name = local(piece)
        if name == "t":
            parts.append(piece.text or "")
        elif name == "r":
            parts.extend(inner.text or "" for inner in piece if local(inner) == "t")
    return cell_text("".join(parts))


def cell_text(text: str) -> str:
    """`text` of a cell with its escapes resolved, cut where Excel would not have let it grow longer."""
    if "_x" in text:
        text = _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), text)
    return clean(text)[:MAX_CELL_CHARS]


def forget(element: Element) -> None:
    """Frees a streamed element and what stands before it."""
    element.clear(keep_tail=False)
    parent = element.getparent()
    if parent is not None:
        del parent[:-1]


@dataclass(frozen=True, slots=True)
class SheetEntry:
    """A sheet as the workbook lists it."""

    name: str
    part: str
    """Empty where the workbook does not say which part it is."""
    hidden: bool
    is_chart: bool


def list_sheets(package: OfficePackage, main: str, workbook: Element) -> list[SheetEntry]:
    """The sheets in the workbook's order."""
    relations = package.relations(main)
    found: list[SheetEntry] = []
    for item in children(first(workbook, "sheets")):
        if local(item) != "sheet":
            continue
        relation = relations.get(attribute(item, "r:id"))
        usual = "" if relations else f"xl/worksheets/sheet{len(found) + 1}.xml"
        found.append(
            SheetEntry(
                name=clean(item.get("name") or "")[:255],
                part=relation.target if relation is not None else usual,
                hidden=(item.get("state") or "visible") in ("hidden", "veryHidden"),
                is_chart=relation is not None and relation.kind == "chartsheet",
            )
        )
    return found


def counts_from_1904(workbook: Element) -> bool:
    """True where the workbook's days count from 1904."""
    properties = first(workbook, "workbookPr")
    return properties is not None and is_on(properties.get("date1904"))


def read_cell_formats(styles: Element | None) -> Sequence[str]:
    """The number format's code of each cell style, by the style's number."""
    codes = dict(BUILT_IN)
    for item in children(first(styles, "numFmts")):
        codes[whole_number(item.get("numFmtId"), -1)] = item.get("formatCode") or "General"
    cells = children(first(styles, "cellXfs"))[:_MAX_FORMATS]
    return [codes.get(whole_number(item.get("numFmtId")), "General") for item in cells]
