"""Reads charts of presentations and workbooks.

Their title, axes, and the values that the file keeps with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.formats.kit.page_builder import one_line
from services.formats.kit.xml import Element
from services.formats.office.markup import first, local, whole_number
from services.formats.office.sheets.number_formats import compile_format, general

MAX_POINTS = 50_000
"""Values of one chart that are read; a person reads some hundred."""

_MAX_CELLS = 1_000_000
"""Of one chart's table, empty ones counted: series whose points share no number fill a square of them."""

_MAX_AXES = 100

_Points = dict[int, str]
_Series = tuple[str, _Points, list[tuple[str, _Points]]]
"""(name, categories, [(name of a dimension, values)]), points by their numbers."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart says."""

    title: str
    axes: tuple[str, ...]
    series: tuple[str, ...]
    """Names of the series."""
    tables: tuple[tuple[tuple[str, ...], ...], ...]
    """Header row first, then a row for each category; one table for the series that share their categories."""

    @property
    def words(self) -> str:
        """All of it on one line, for places that hold no table."""
        rows = (" ".join(cell for cell in row if cell) for table in self.tables for row in table)
        return one_line(" ".join((self.title, ", ".join(self.axes), *rows)))


def read_chart(root: Element) -> Chart:
    """The chart of a chart part, of the kinds of 2007 (`c:`) and of 2016 (`cx:`)."""
    title = ""
    axes: dict[str, None] = {}
    found: list[_Series] = []
    budget = MAX_POINTS
    for item in root.iter():
        name = local(item)
        if name == "title":
            words = _words(item)
            parent = local(item.getparent()) if item.getparent() is not None else ""
            if parent == "chart":
                title = title or words
            elif words and len(axes) < _MAX_AXES:
                axes[words] = None
        elif name == "ser":
            categories, values = _series(item)
            budget -= 1 + len(categories) + sum(len(points) for _, points in values)
            if budget < 0:
                break
            found.append((_series_name(item), categories, values))
        elif name == "data" and first(item, "strDim") is not None:
            extended = list(_extended(item))
            budget -= sum(len(categories) + sum(len(p) for _, p in values) for _, categories, values in extended)
            if budget < 0:
                break
            found.extend(extended)
    return Chart(title, tuple(axes), tuple(name for name, _, _ in found if name), tuple(_tables(found)))


def _words(element: Element) -> str:
    parts: list[str] = []
    for item in element.iter():
        name = local(item)
        if name in ("p", "v"):
            parts.append(" ")
        if name in ("t", "v"):
            parts.append(item.text or "")
    return one_line("".join(parts))


def _series_name(series: Element) -> str:
    holder = first(series, "tx")
    return "" if holder is None else _words(holder)


def _series(series: Element) -> tuple[_Points, list[tuple[str, _Points]]]:
    """(categories, [(name of the dimension, values)]) of a series, by the points' numbers."""
    categories: _Points = {}
    values: list[tuple[str, _Points]] = []
    for item in series:
        name = local(item)
        if name in ("cat", "xVal"):
            categories = _points(item)
        elif name in ("val", "yVal", "bubbleSize"):
            points = _points(item)
            if points:
                values.append(("size" if name == "bubbleSize" else "", points))
    return categories, values


def _points(holder: Element) -> _Points:
    levels: list[_Points] = []
    code, count = "General", 0
    current: _Points = {}
    for item in holder.iter():
        name = local(item)
        if name in ("strCache", "numCache", "strLit", "numLit", "lvl"):
            current = {}
            levels.append(current)
            code = "General"
        elif name == "formatCode":
            code = item.text or "General"
        elif name == "pt":
            value = first(item, "v")
            text = (value.text or "") if value is not None else ""
            numeric = local(item.getparent()) in ("numCache", "numLit")
            current[whole_number(item.get("idx"), -1)] = (
                _shown(text, item.get("formatCode") or code) if numeric else one_line(text)
            )
            count += 1
            if count >= MAX_POINTS:
                break
    levels = [level for level in levels if level]
    if len(levels) < 2:
        return levels[0] if levels else {}
    return _joined(levels)


def _joined(levels: list[_Points]) -> _Points:
    """Categories of several levels, innermost first in the file, as `outer / inner`."""
    joined = {}
    outer = [""] * len(levels)
    for index in sorted(levels[0]):
        for at, level in enumerate(levels):
            outer[at] = level.get(index, outer[at])
        joined[index] = " / ".join(part for part in reversed(outer) if part)
    return joined


def _shown(text: str, code: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return one_line(text)
    return compile_format(code).show(number) or general(number)


def _extended(data: Element) -> Iterator[_Series]:
    """Series of a chart of 2016: waterfalls, trees, funnels."""
    categories: _Points = {}
    values: list[tuple[str, _Points]] = []
    for dimension in data:
        levels = [
            {whole_number(p.get("idx"), -1): one_line(p.text or "") for p in level if local(p) == "pt"}
            for level in dimension
            if local(level) == "lvl"
        ]
        if local(dimension) == "strDim" and levels:
            categories = _joined(levels) if len(levels) > 1 else levels[0]
        elif local(dimension) == "numDim" and levels:
            values.append((dimension.get("type") or "", {at: _shown(v, "General") for at, v in levels[0].items()}))
    yield "", categories, values


def _tables(found: list[_Series]) -> Iterator[tuple[tuple[str, ...], ...]]:
    groups: dict[tuple[tuple[int, str], ...], list[tuple[str, _Points]]] = {}
    for name, categories, values in found:
        key = tuple(sorted(categories.items()))
        columns = groups.setdefault(key, [])
        columns.extend((" ".join(part for part in (name, extra) if part), points) for extra, points in values)
    for key, columns in groups.items():
        labels = dict(key)
        indexes = sorted({index for _, points in columns for index in points} | set(labels))
        columns = columns[: max(1, _MAX_CELLS // max(1, len(indexes)))]
        named = any(name for name, _ in columns)
        rows = [("", *(name for name, _ in columns))] if named else []
        rows += [
            (labels.get(index, str(index + 1)), *(points.get(index, "") for _, points in columns)) for index in indexes
        ]
        if rows and columns:
            yield tuple(rows)
