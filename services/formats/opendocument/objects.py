"""Reads formulas, charts and documents inside an OpenDocument file.

Also finds where its pictures lie.
"""

from __future__ import annotations

from services.errors import UnreadableDocument
from services.formats.kit.page_builder import one_line
from services.formats.kit.xml import Element
from services.formats.office.formulas import mathml_text
from services.formats.opendocument.package import OdfPackage, attribute, count_of, name_of, qualified

_MAX_CHART_ROWS = 2000
_MAX_CHART_COLUMNS = 100
_MAX_OBJECTS = 1000


class ObjectReader:
    """Reads the objects of one document, each with its own part.

    A broken one is empty.
    """

    def __init__(self, package: OdfPackage) -> None:
        self._package = package
        self._left = _MAX_OBJECTS

    def read(self, item: Element) -> tuple[str, list[list[str]]]:
        """(text, rows of a chart's data) of a `draw:object`."""
        inner = next((e for e in item if name_of(e.tag) in ("math:math", "office:document")), None)
        if inner is not None:
            return _read_object(inner)
        name = self._package.member(attribute(item, "xlink:href") + "/content.xml")
        if name is None or self._left <= 0:
            return "", []
        self._left -= 1
        try:
            root = self._package.xml(name)
        except UnreadableDocument:
            return "", []
        return _read_object(root) if root is not None else ("", [])


def picture_of(package: OdfPackage, image: Element) -> str:
    """The member of the archive that a `draw:image` shows.

    Empty where it lies outside the file.
    """
    return package.member(attribute(image, "xlink:href")) or ""


def _read_object(root: Element) -> tuple[str, list[list[str]]]:
    if name_of(root.tag) == "math:math":
        return mathml_text(root), []
    if next(root.iter(qualified("chart:chart")), None) is None:
        return "\n".join(_paragraphs(root)), []
    titles = [
        text
        for name in ("chart:title", "chart:subtitle", "chart:footer")
        for found in root.iter(qualified(name))
        for text in _paragraphs(found)
    ]
    rows: list[list[str]] = []
    for row in root.iter(qualified("table:table-row")):
        if len(rows) >= _MAX_CHART_ROWS:
            break
        line: list[str] = []
        for cell in row.iterchildren(qualified("table:table-cell")):
            again = count_of(cell, "table:number-columns-repeated", at_most=_MAX_CHART_COLUMNS)
            line += [" ".join(_paragraphs(cell))] * again
        rows.append(line[:_MAX_CHART_COLUMNS])
    return "\n".join(titles), rows


def _paragraphs(holder: Element) -> list[str]:
    found = (one_line("".join(e.itertext())) for e in holder.iter(qualified("text:p"), qualified("text:h")))
    return [text for text in found if text]
