"""Reads the comments, text boxes, charts and pictures of a worksheet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from services.content import BlockKind
from services.errors import UnreadableDocument
from services.formats.kit.xml import Element
from services.formats.office.charts import read_chart
from services.formats.office.drawing_text import plain_text
from services.formats.office.markup import attribute, children, first, local, text_at, whole_number
from services.formats.office.package import OfficePackage
from services.formats.office.sheets.cells import cell_place
from services.formats.office.sheets.layout import CellComment
from services.formats.office.sheets.parts import string_item
from services.formats.office.smartart import diagram_points
from services.formats.office.word.runs import alternative

_THREAD_PLACEHOLDER = "[Threaded comment]"
"""How Excel begins the copy of a thread that it keeps for older versions. Source: [MS-XLSX] 2.6.203."""

_MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class AnchoredPicture:
    """A picture and the row, from 0, at which its upper edge lies."""

    target: str
    alt: str
    row: int


@dataclass(slots=True)
class Drawings:
    """What is drawn over a sheet."""

    texts: list[tuple[BlockKind, str]] = field(default_factory=list)
    pictures: list[AnchoredPicture] = field(default_factory=list)
    damaged: int = 0
    """Parts that could not be read."""


def read_persons(package: OfficePackage, main: str) -> dict[str, str]:
    """Names of those who wrote threaded comments, by id."""
    names: dict[str, str] = {}
    for part in package.related(main, "person"):
        root = package.xml(part)
        for item in root if root is not None else ():
            names[(item.get("id") or "").upper()] = item.get("displayName") or ""
    return names


def read_comments(package: OfficePackage, part: str, persons: dict[str, str]) -> list[CellComment]:
    """The remarks on the cells of the sheet in `part`.

    Threads as their single remarks.
    """
    found: list[CellComment] = []
    threaded: set[tuple[int, int]] = set()
    for name in package.related(part, "threadedComment"):
        root = package.xml(name)
        for item in root if root is not None else ():
            place = cell_place(item.get("ref") or "")
            text = text_at(item, "text").strip()
            if place is not None and text:
                threaded.add(place)
                found.append(CellComment(*place, persons.get((item.get("personId") or "").upper(), ""), text))
    for name in package.related(part, "comments"):
        root = package.xml(name)
        authors = [(item.text or "").strip() for item in children(first(root, "authors"))]
        for item in children(first(root, "commentList")):
            place = cell_place(item.get("ref") or "")
            holder = first(item, "text")
            text = string_item(holder).strip() if holder is not None else ""
            if place is None or not text or (place in threaded and text.startswith(_THREAD_PLACEHOLDER)):
                continue
            number = whole_number(item.get("authorId"), -1)
            author = authors[number] if 0 <= number < len(authors) else ""
            author = "" if author.startswith("tc={") else author
            text = text.removeprefix(f"{author}:").strip() or text
            found.append(CellComment(*place, author, text))
    return found


def read_drawings(package: OfficePackage, part: str) -> Drawings:
    """The drawings of the sheet in `part`, in their order.

    Damaged parts are counted and left out.
    """
    found = Drawings()
    for name in package.related(part, "drawing"):
        try:
            root = package.xml(name)
            for anchor in root if root is not None else ():
                row = whole_number(text_at(anchor, "from", "row"))
                _read_anchor(package, name, anchor, max(row, 0), found)
        except UnreadableDocument:
            found.damaged += 1
    return found


def _read_anchor(package: OfficePackage, part: str, anchor: Element, row: int, found: Drawings) -> None:
    relations = package.relations(part)
    for item in _shapes(anchor):
        name = local(item)
        if name == "sp":
            text = plain_text(first(item, "txBody"))
            if text:
                found.texts.append((BlockKind.PARAGRAPH, text))
        elif name == "pic":
            relation = relations.get(attribute(first(item, "blipFill", "blip"), "r:embed"))
            if relation is not None:
                properties = first(item, "nvPicPr", "cNvPr")
                alt = (properties.get("descr") or "") if properties is not None else ""
                found.pictures.append(AnchoredPicture(relation.target, alt, row))
        elif name == "graphicFrame":
            found.texts.extend(_frame(package, part, item, found))


def _shapes(anchor: Element) -> Iterator[Element]:
    stack: list[Iterator[Element]] = [iter(anchor)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif local(item) == "AlternateContent" and len(stack) < _MAX_DEPTH:
            stack.append(iter(alternative(item)))
        elif local(item) == "grpSp" and len(stack) < _MAX_DEPTH:
            stack.append(iter(item))
        else:
            yield item


def _frame(package: OfficePackage, part: str, frame: Element, found: Drawings) -> Iterator[tuple[BlockKind, str]]:
    """Words of a chart or a diagram; a chart's values stand in the cells already."""
    relations = package.relations(part)
    for item in frame.iter():
        name = local(item)
        relation = relations.get(attribute(item, "r:dm" if name == "relIds" else "r:id"))
        if relation is None or name not in ("chart", "relIds"):
            continue
        try:
            root = package.xml(relation.target)
        except UnreadableDocument:
            found.damaged += 1
            continue
        if root is not None and name == "chart":
            yield from chart_texts(root)
        elif root is not None:
            for point in diagram_points(root):
                yield BlockKind.PARAGRAPH, point.text


def chart_texts(root: Element) -> Iterator[tuple[BlockKind, str]]:
    """A chart's title as a caption, and below it the names of its axes and series."""
    chart = read_chart(root)
    yield BlockKind.CAPTION, chart.title
    yield BlockKind.PARAGRAPH, ", ".join(dict.fromkeys((*chart.axes, *chart.series)))
