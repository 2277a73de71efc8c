"""The order in which the shapes of a slide are read.

An XY cut, columns before rows where there are real columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from services.content import Box

Item = TypeVar("Item")

MAX_CUT_ITEMS = 400
"""Shapes up to which gaps are looked for; slides that were made by hand have some dozens."""

_MIN_COLUMN_SHARE = 0.2
"""Of the slide's width; narrower columns are labels beside their text."""

_MAX_COLUMNS = 4
_OVERLAP = 0.15
"""Share of the smaller extent by which neighbours may lie over each other and still be parted: boxes of text are
larger than their text."""


def reading_order(items: Sequence[Item], box_of: Callable[[Item], Box | None], page_width: float) -> list[Item]:
    """`items` in reading order; those without a box come last.

    Source: Nagy and Seth, Hierarchical representation of optically scanned documents, 1984.
    """
    boxed = [(box, item) for item in items if (box := box_of(item)) is not None]
    rest = [item for item in items if box_of(item) is None]
    done: list[Item] = []
    stack: list[list[tuple[Box, Item]]] = [boxed] if boxed else []
    while stack:
        group = stack.pop()
        parts = _parts(group, page_width) if 1 < len(group) <= MAX_CUT_ITEMS else []
        if len(parts) > 1:
            stack.extend(reversed(parts))
        else:
            done.extend(item for _, item in sorted(group, key=lambda pair: (pair[0][1], pair[0][0])))
    return done + rest


def _parts(group: list[tuple[Box, Item]], page_width: float) -> list[list[tuple[Box, Item]]]:
    columns = _columns(group, page_width)
    if columns:
        return columns
    rows = _cut(group, 1)
    if len(rows) < 2:
        return _cut(group, 0)
    parts: list[list[tuple[Box, Item]]] = []
    for row in rows:
        if parts and _columns(parts[-1], page_width) and _columns(parts[-1] + row, page_width):
            parts[-1] = parts[-1] + row
        else:
            parts.append(row)
    return parts


def _columns(group: list[tuple[Box, Item]], page_width: float) -> list[list[tuple[Box, Item]]]:
    """The columns of the group, of which each is wide enough to be read by itself.

    Empty where it has none.
    """
    columns = _cut(group, 0)
    wide = all(
        max(box[2] for box, _ in column) - min(box[0] for box, _ in column) >= _MIN_COLUMN_SHARE * page_width
        for column in columns
    )
    return columns if wide and 1 < len(columns) <= _MAX_COLUMNS else []


def _cut(group: list[tuple[Box, Item]], axis: int) -> list[list[tuple[Box, Item]]]:
    """The group parted at its gaps along an axis, 0 for columns and 1 for rows."""
    ordered = sorted(group, key=lambda pair: (pair[0][axis], pair[0][1 - axis]))
    parts: list[list[tuple[Box, Item]]] = []
    end = smallest = 0.0
    for box, item in ordered:
        extent = box[axis + 2] - box[axis]
        if parts and box[axis] < end - _OVERLAP * min(extent, smallest):
            parts[-1].append((box, item))
            end, smallest = max(end, box[axis + 2]), min(smallest, extent)
        else:
            parts.append([(box, item)])
            end, smallest = max(end, box[axis + 2]) if parts[:-1] else box[axis + 2], extent
    return parts
