"""Reads the shapes of a slide as blocks with boxes.

Text, tables, charts, diagrams and pictures, groups unfolded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from services.content import BlockKind, Box
from services.errors import UnreadableDocument
from services.formats.kit.page_builder import one_line
from services.formats.kit.xml import Element
from services.formats.office.charts import read_chart
from services.formats.office.drawing_text import Paragraph, paragraphs, plain_text
from services.formats.office.markup import attribute, children, first, is_on, local, whole_number
from services.formats.office.package import OfficePackage
from services.formats.office.slides.layouts import (
    EMU_PER_POINT,
    FOOTERS,
    TITLES,
    Bullet,
    Frame,
    Layout,
    bullet_of,
    bullets_of,
    frame_of,
    placeholder_of,
)
from services.formats.office.smartart import diagram_points
from services.formats.office.word.runs import alternative

MAX_SHAPES = 20_000
"""Of one slide; charts that were taken apart have some thousands."""

_MAX_DEPTH = 60
_MAX_CELLS = 100_000
_MAX_POINTS = 1e9
"""Groups inside each other can stretch a box beyond what a number holds; a slide has some thousand points."""

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A block to be: text, or a table where it has rows."""

    kind: BlockKind
    paragraph: Paragraph | None = None
    level: int = 0
    ordered: bool = False
    rows: Rows = ()


@dataclass(frozen=True, slots=True)
class SlidePicture:
    """A picture in the part called `target`."""

    target: str
    alt: str


@dataclass(slots=True)
class Shape:
    """What one shape, or one group of them, shows."""

    box: Box | None
    role: str = ""
    """`title`, `footer`, `header`, or empty."""
    pieces: list[Piece] = field(default_factory=list)
    pictures: list[SlidePicture] = field(default_factory=list)
    inner: list[Shape] = field(default_factory=list)
    caption: str = ""
    """Of its pictures; the text stands in another shape."""


@dataclass(frozen=True, slots=True)
class _Space:
    """How a group's coordinates become those of the slide."""

    dx: float = 0.0
    dy: float = 0.0
    sx: float = 1.0
    sy: float = 1.0

    def box(self, frame: Frame | None) -> Box | None:
        if frame is None:
            return None
        x, y = (self.dx + frame[0] * self.sx) / EMU_PER_POINT, (self.dy + frame[1] * self.sy) / EMU_PER_POINT
        box = (x, y, x + frame[2] * self.sx / EMU_PER_POINT, y + frame[3] * self.sy / EMU_PER_POINT)
        if not all(abs(side) < _MAX_POINTS for side in box):
            return None
        return (round(box[0], 2), round(box[1], 2), round(box[2], 2), round(box[3], 2))

    def inside(self, group: Element) -> _Space:
        transform = first(group, "grpSpPr", "xfrm")
        offset, extent = first(transform, "off"), first(transform, "ext")
        inner_offset, inner_extent = first(transform, "chOff"), first(transform, "chExt")
        if offset is None or extent is None or inner_offset is None or inner_extent is None:
            return self
        wide, high = whole_number(inner_extent.get("cx")), whole_number(inner_extent.get("cy"))
        sx = whole_number(extent.get("cx")) / wide if wide > 0 else 1.0
        sy = whole_number(extent.get("cy")) / high if high > 0 else 1.0
        dx = whole_number(offset.get("x")) - whole_number(inner_offset.get("x")) * sx
        dy = whole_number(offset.get("y")) - whole_number(inner_offset.get("y")) * sy
        return _Space(self.dx + dx * self.sx, self.dy + dy * self.sy, self.sx * sx, self.sy * sy)


class ShapeReader:
    """Reads the shapes of one slide."""

    def __init__(self, package: OfficePackage, part: str, layout: Layout) -> None:
        self._package = package
        self._part = part
        self._layout = layout
        self._relations = package.relations(part)
        self._links = package.links(part)
        self.damaged = 0
        """Charts, diagrams and the like whose part could not be read."""

    def read(self, tree: Element | None) -> list[Shape]:
        """The shapes of a shape tree in their order.

        A group is one shape with others inside.
        """
        top: list[Shape] = []
        if tree is None:
            return top
        stack: list[tuple[Iterator[Element], _Space, list[Shape]]] = [(iter(tree), _Space(), top)]
        count = 0
        while stack:
            items, space, into = stack[-1]
            item = next(items, None)
            if item is None:
                stack.pop()
                continue
            count += 1
            if count > MAX_SHAPES:
                break
            name = local(item)
            if name == "AlternateContent" and len(stack) < _MAX_DEPTH:
                stack.append((iter(alternative(item)), space, into))
            elif name == "grpSp" and len(stack) < _MAX_DEPTH:
                group = Shape(space.box(frame_of(first(item, "grpSpPr", "xfrm"))))
                into.append(group)
                stack.append((iter(item), space.inside(item), group.inner))
            elif name in ("sp", "cxnSp"):
                into.append(self._text_shape(item, space))
            elif name == "pic":
                shape = Shape(space.box(self._frame(item, first(item, "spPr", "xfrm"))))
                shape.pictures.extend(self._pictures(item))
                into.append(shape)
            elif name == "graphicFrame":
                into.append(self._graphic(item, space))
        return top

    def _frame(self, item: Element, transform: Element | None) -> Frame | None:
        frame = frame_of(transform)
        if frame is None and (placeholder := placeholder_of(item)) is not None:
            frame = self._layout.inherited(*placeholder).frame
        return frame

    def _text_shape(self, item: Element, space: _Space) -> Shape:
        shape = Shape(space.box(self._frame(item, first(item, "spPr", "xfrm"))))
        placeholder = placeholder_of(item)
        kind = placeholder[0] if placeholder is not None else None
        body = first(item, "txBody")
        found = list(paragraphs(body, self._links))
        if kind in TITLES:
            shape.role = "title"
            shape.pieces = [Piece(BlockKind.HEADING, _joined(found), level=1)] if found else []
        elif kind in FOOTERS or kind == "hdr":
            shape.role = "header" if kind == "hdr" else "footer"
            block = BlockKind.PAGE_HEADER if kind == "hdr" else BlockKind.PAGE_FOOTER
            shape.pieces = [Piece(block, _joined(found))] if found else []
        else:
            bullets = self._layout.inherited(*placeholder).bullets if placeholder is not None else {}
            own = {**bullets, **bullets_of(first(body, "lstStyle"))}
            shape.pieces = [_piece(paragraph, own) for paragraph in found]
        shape.pictures.extend(self._pictures(item))
        return shape

    def _pictures(self, item: Element) -> Iterator[SlidePicture]:
        """The picture of a shape, or the one that it is filled with."""
        blip = first(item, "blipFill", "blip")
        if blip is None:
            blip = first(item, "spPr", "blipFill", "blip")
        relation = self._relations.get(attribute(blip, "r:embed"))
        if relation is not None:
            holder = next((part for part in item if local(part) in ("nvPicPr", "nvSpPr")), None)
            properties = first(holder, "cNvPr")
            alt = (properties.get("descr") or properties.get("title") or "") if properties is not None else ""
            yield SlidePicture(relation.target, one_line(alt))

    def _graphic(self, item: Element, space: _Space) -> Shape:
        """A table, chart, diagram or embedded object."""
        shape = Shape(space.box(self._frame(item, first(item, "xfrm"))))
        data = first(item, "graphic", "graphicData")
        stack: list[Iterator[Element]] = [iter(data)] if data is not None else []
        while stack:
            part = next(stack[-1], None)
            if part is None:
                stack.pop()
                continue
            name = local(part)
            if name == "tbl":
                rows = _table(part)
                if rows:
                    shape.pieces.append(Piece(BlockKind.TABLE, rows=rows))
            elif name == "chart":
                shape.pieces.extend(self._chart(attribute(part, "r:id")))
            elif name == "relIds":
                shape.pieces.extend(self._diagram(attribute(part, "r:dm")))
            elif name == "pic":
                shape.pictures.extend(self._pictures(part))
            elif name == "AlternateContent":
                stack.append(iter(_with_picture(part)))
            elif len(stack) < _MAX_DEPTH:
                stack.append(iter(part))
        return shape

    def _root(self, identifier: str) -> Element | None:
        relation = self._relations.get(identifier)
        try:
            root = self._package.xml(relation.target) if relation is not None else None
        except UnreadableDocument:
            root = None
        self.damaged += root is None
        return root

    def _chart(self, identifier: str) -> Iterator[Piece]:
        root = self._root(identifier)
        if root is None:
            return
        chart = read_chart(root)
        if chart.title:
            yield Piece(BlockKind.CAPTION, _words(chart.title))
        if chart.axes:
            yield Piece(BlockKind.PARAGRAPH, _words(", ".join(chart.axes)))
        for rows in chart.tables:
            yield Piece(BlockKind.TABLE, rows=rows)

    def _diagram(self, identifier: str) -> Iterator[Piece]:
        root = self._root(identifier)
        for point in diagram_points(root) if root is not None else ():
            yield Piece(BlockKind.LIST_ITEM, _words(point.text), level=point.level + 1)


def _with_picture(content: Element) -> Element:
    """Of several ways to show an embedded object, the one with a picture of it.

    It holds no text.
    """
    options = [item for item in children(content) if local(item) in ("Choice", "Fallback")]
    return next((item for item in options if any(local(i) == "pic" for i in item.iter())), alternative(content))


def _words(text: str) -> Paragraph:
    return Paragraph(text, 0, None)


def _joined(found: Sequence[Paragraph]) -> Paragraph:
    """Several lines of a title or footer as one paragraph.

    Their links are kept where there is one line.
    """
    if len(found) == 1 and "\n" not in found[0].text:
        return found[0]
    return _words(one_line(" ".join(paragraph.text for paragraph in found)))


def _piece(paragraph: Paragraph, bullets: dict[int, Bullet]) -> Piece:
    bullet = bullet_of(paragraph.properties) or bullets.get(paragraph.level)
    if bullet is None or not bullet.shown:
        return Piece(BlockKind.PARAGRAPH, paragraph)
    return Piece(BlockKind.LIST_ITEM, paragraph, level=paragraph.level + 1, ordered=bullet.ordered)


def _table(table: Element) -> Rows:
    """The cells of a table; one that spans several has its text in the first."""
    rows: list[tuple[str, ...]] = []
    count = 0
    for row in children(table):
        if local(row) != "tr":
            continue
        cells = []
        for cell in children(row):
            if local(cell) == "tc":
                covered = is_on(cell.get("hMerge")) or is_on(cell.get("vMerge"))
                cells.append("" if covered else one_line(plain_text(first(cell, "txBody"))))
        count += len(cells)
        if count > _MAX_CELLS:
            break
        rows.append(tuple(cells))
    return tuple(rows)
