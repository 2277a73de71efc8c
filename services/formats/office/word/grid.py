"""Where the rows and cells of a WordprocessingML table lie, the lengths it uses, and how deep it may nest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from services.errors import UnreadableDocument
from services.formats.kit.page_builder import one_line
from services.formats.office.docx_package import Element, child, name_of, value_of
from services.formats.office.word.runs import deleted_text

MAX_DEPTH = 60
"""Levels of tables, content controls and text boxes within each other. Word allows about twenty."""

WRAPPERS = frozenset(("w:sdt", "w:sdtContent", "w:customXml", "w:smartTag", "w:ins", "w:moveTo"))
_TWIPS_PER_POINT = 20
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{0,9})?)(pt|in|mm|cm|pc|pi)?", re.ASCII)
_MAX_SPAN = 63
"""Source: Word's limit of columns in a table."""


def check_depth(depth: int) -> None:
    """Raises UnreadableDocument (`nesting_too_deep`)."""
    if depth > MAX_DEPTH:
        raise UnreadableDocument(
            f"The document nests tables or text boxes more than {MAX_DEPTH} deep. It was not read.",
            code="nesting_too_deep",
        )


def in_body(section: Element) -> bool:
    """True for the properties of a section of the body: its last child, or in a paragraph that is a child of it."""
    parent = section.getparent()
    if name_of(parent.tag) == "w:pPr":
        return name_of(parent.getparent().getparent().tag) == "w:body"
    return name_of(parent.tag) == "w:body"


def _unwrapped(holder: Element, name: str) -> Iterator[Element]:
    stack: list[Iterator[Element]] = [iter(holder)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif name_of(item.tag) == name:
            yield item
        elif name_of(item.tag) in WRAPPERS and len(stack) < MAX_DEPTH:
            stack.append(iter(item))


def table_rows(table: Element) -> Iterable[Element]:
    """The rows of a table, those that a tracked change took out left out."""
    return (row for row in _unwrapped(table, "w:tr") if not _is_removed(row))


def removed_text(table: Element) -> str:
    """What the rows said that a tracked change took out, a line for each; empty without such."""
    lines = (
        " | ".join(one_line(" ".join(map(deleted_text, cell.iter("{*}p")))) for cell in row_cells(row))
        for row in _unwrapped(table, "w:tr")
        if _is_removed(row)
    )
    return "\n".join(line for line in lines if line.strip(" |"))


def _is_removed(row: Element) -> bool:
    return child(child(row, "w:trPr"), "w:del") is not None


def row_cells(row: Element) -> Iterable[Element]:
    """The cells of a row."""
    return _unwrapped(row, "w:tc")


def cell_span(cell: Element) -> int:
    """Columns that the cell takes."""
    return min(max(1, _number(value_of(child(cell, "w:tcPr"), "w:gridSpan"))), _MAX_SPAN)


def skipped_columns(row: Element) -> int:
    """Columns of the grid that lie before the row's first cell."""
    return min(_number(value_of(child(row, "w:trPr"), "w:gridBefore")), _MAX_SPAN)


def goes_on_above(cell: Element) -> bool:
    """True for a cell that only continues the one above it."""
    merged = value_of(child(cell, "w:tcPr"), "w:vMerge")
    return merged is not None and merged != "restart"


def _number(value: str | None) -> int:
    return int(value) if value and value.isdecimal() and len(value) <= 3 else 0


def points_of(value: str) -> float:
    """Twips, or a length with its unit as strict files write it, in points; 0 where it is neither."""
    units = {"pt": 1.0, "in": 72.0, "mm": 72 / 25.4, "cm": 72 / 2.54, "pc": 12.0, "pi": 12.0}
    match = _LENGTH.fullmatch(value)
    if match is None:
        return 0.0
    unit = match.group(2)
    return round(float(match.group(1)) * units[unit], 2) if unit else int(float(match.group(1))) / _TWIPS_PER_POINT
