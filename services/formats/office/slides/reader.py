"""Reads PPTX and PPTM, a page for each slide.

With the boxes of its shapes, speaker notes, comments and pictures.

Read from the XML parts and not through python-pptx, which inflates every part without a limit, ends at the first
relationship that leads nowhere, and knows neither diagrams, threaded comments nor alternate content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from services.content import BlockKind, Box, DocumentInfo, Issue, Page, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.kit.xml import Element
from services.formats.office.encryption import is_ole
from services.formats.office.markup import attribute, children, first, is_on, whole_number
from services.formats.office.package import OfficePackage, damaged_parts, open_package
from services.formats.office.slides.layouts import EMU_PER_POINT, Layout, read_layout
from services.formats.office.slides.order import reading_order
from services.formats.office.slides.remarks import comments, read_authors, speaker_notes
from services.formats.office.slides.shapes import Piece, Shape, ShapeReader

_USUAL_SIZE = (9_144_000, 6_858_000)
"""Source: ECMA-376 part 1, 19.2.1.39, `screen4x3`."""

_MAX_CAPTION_CHARS = 200
_CAPTION_WITHIN_PT = 30.0
"""Below a picture; a line of 18 points and the margin of its box."""

_CAPTION_SHAPES = 1000
"""Shapes of a slide up to which captions are looked for; each picture is compared with each shape."""

_BACKGROUND_FROM_SLIDES = 4
"""Slides from which a picture that is on more than half of them is taken for a logo or a background."""


def extract_pptx(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page a slide, in the order of the presentation.

    Hidden ones are kept and marked.

    Raises:
        UnreadableDocument: `corrupt_archive`, `corrupt_document`, `xml_entities`.
        TooLarge: `archive_too_large`, `compression_ratio`, `too_many_entries`, `too_many_pages`.
        EncryptedDocument: `password_required`, `password_wrong`, `encryption_unsupported`.
    """
    if is_ole(upload.path):
        from services.formats.office.encrypted import extract_encrypted

        yield from extract_encrypted(upload, context)
        return
    with open_package(upload, context) as package:
        yield from _Presentation(package, context).parts()


class _Presentation:
    """A presentation that is being read."""

    def __init__(self, package: OfficePackage, context: ExtractContext) -> None:
        self._package = package
        self._context = context
        self._writer = PictureWriter(context)
        self._layouts: dict[str, Layout] = {}
        self._authors: dict[str, str] = {}
        self._decoration: frozenset[str] = frozenset()
        self._size = _USUAL_SIZE

    def parts(self) -> Iterator[Part]:
        """All parts of the document."""
        package = self._package
        main = package.main_part("ppt/presentation.xml")
        root = package.xml(main) if main is not None else None
        if main is None or root is None:
            raise UnreadableDocument(
                "The file lacks the part that lists its slides. Save it anew in PowerPoint and upload it again.",
                code="corrupt_document",
            )
        size = first(root, "sldSz")
        if size is not None:
            wide, high = whole_number(size.get("cx")), whole_number(size.get("cy"))
            self._size = (wide, high) if 0 < wide < 1 << 31 and 0 < high < 1 << 31 else _USUAL_SIZE
        slides = self._slides(main, root)
        check_page_count(len(slides), self._context.limits)
        title, author, language = package.properties()
        title = title or self._first_title(slides)
        yield DocumentInfo(title[:500], author[:500], language[:64], page_count=max(1, len(slides)))
        try:
            self._authors = read_authors(package, main)
        except UnreadableDocument as error:
            yield Issue(error.code, f"The names of those who commented could not be read: {error.detail}")
        self._decoration = self._repeated_pictures(slides)
        for number, part in enumerate(slides, 1):
            yield from self._slide(number, part)
        if not slides:
            yield from give_pages([PageBuilder(1).build()], self._context)
        yield from self._writer.close()
        yield from damaged_parts(package)

    def _slides(self, main: str, root: Element) -> list[str]:
        """Names of the slides' parts in order.

        The empty string for one that the file refers to and lacks.
        """
        relations = self._package.relations(main)
        found = []
        for number, item in enumerate(children(first(root, "sldIdLst")), 1):
            relation = relations.get(attribute(item, "r:id"))
            usual = "" if relations else f"ppt/slides/slide{number}.xml"
            found.append(relation.target if relation is not None and relation.kind == "slide" else usual)
        if not any(found):
            found = self._package.related(main, "slide")
        return found

    def _first_title(self, slides: Sequence[str]) -> str:
        for part in slides[:1]:
            try:
                root = self._package.xml(part) if part else None
                shapes = self._shapes(part, root)[0] if root is not None else []
            except UnreadableDocument:
                return ""
            return next((_text(p) for s in shapes if s.role == "title" for p in s.pieces), "")
        return ""

    def _repeated_pictures(self, slides: Sequence[str]) -> frozenset[str]:
        """Parts of the pictures that are on more than half of the slides."""
        if len(slides) < _BACKGROUND_FROM_SLIDES:
            return frozenset()
        counts: Counter[str] = Counter()
        for part in slides:
            try:
                counts.update(set(self._package.related(part, "image")) if part else ())
            except UnreadableDocument:
                continue
        return frozenset(name for name, count in counts.items() if 2 * count > len(slides))

    def _shapes(self, part: str, root: Element) -> tuple[list[Shape], int]:
        """The shapes of a slide, and how many of their parts are damaged."""
        reader = ShapeReader(self._package, part, self._layout(part))
        return reader.read(first(root, "cSld", "spTree")), reader.damaged

    def _layout(self, part: str) -> Layout:
        key = next(iter(self._package.related(part, "slideLayout")), "")
        if key not in self._layouts:
            self._layouts[key] = read_layout(self._package, part)
        return self._layouts[key]

    def _slide(self, number: int, part: str) -> Iterator[Part]:
        builder = PageBuilder(
            number, width=round(self._size[0] / EMU_PER_POINT, 2), height=round(self._size[1] / EMU_PER_POINT, 2)
        )
        hidden = False
        try:
            root = self._package.xml(part) if part else None
            if root is None:
                yield Issue("slide_missing", f"The file lacks slide {number}.", number)
            else:
                hidden = root.get("show") is not None and not is_on(root.get("show"))
                shapes, damaged = self._shapes(part, root)
                if damaged:
                    message = f"{damaged} charts or diagrams could not be read and were left out."
                    yield Issue("drawing_unreadable", message, number)
                flat = _in_order(shapes, builder.width)
                for shape in flat:
                    if shape.pictures and len(flat) <= _CAPTION_SHAPES:
                        shape.caption = _take_caption(shape, flat)
                for shape in flat:
                    for piece in shape.pieces:
                        _add(builder, piece, shape.box, hidden=hidden)
                yield from self._pictures(number, flat)
        except UnreadableDocument as error:
            yield Issue(error.code, f"Slide {number} could not be read: {error.detail}", number)
        yield from self._remarks(number, part, builder, hidden=hidden)
        yield from give_pages(_pages(builder), self._context)

    def _remarks(self, number: int, part: str, builder: PageBuilder, *, hidden: bool) -> Iterator[Issue]:
        if not part:
            return
        try:
            builder.add(BlockKind.SPEAKER_NOTE, speaker_notes(self._package, part), hidden=hidden)
        except UnreadableDocument as error:
            yield Issue(error.code, f"The notes to slide {number} could not be read: {error.detail}", number)
        try:
            for remark in comments(self._package, part, self._authors):
                builder.add(BlockKind.COMMENT, remark, hidden=hidden)
        except UnreadableDocument as error:
            yield Issue(error.code, f"The comments on slide {number} could not be read: {error.detail}", number)

    def _pictures(self, number: int, shapes: Sequence[Shape]) -> Iterator[Part]:
        if not wants_pictures(number, self._context):
            return
        for shape in shapes:
            for picture in shape.pictures:
                if picture.target in self._decoration:
                    self._writer.left_out += 1
                    continue
                if not self._writer.wants(picture.target, number):
                    continue
                try:
                    data = self._package.archive.read(picture.target)
                except UnreadableDocument as error:
                    yield Issue(error.code, "A picture could not be unpacked and was left out.", number)
                    continue
                if data is not None:
                    yield from self._writer.write(
                        data, page=number, box=shape.box, alt=picture.alt, caption=shape.caption
                    )


def _pages(builder: PageBuilder) -> Iterator[Page]:
    yield builder.build()


def _in_order(shapes: Sequence[Shape], width: float) -> list[Shape]:
    """All shapes in reading order: header, title, the rest, footers.

    What a group holds stays together.
    """
    ranks = {"header": 0, "title": 1, "footer": 3}
    found: list[Shape] = []
    groups = [_ordered([s for s in shapes if ranks.get(s.role, 2) == rank], width) for rank in range(4)]
    stack = [iter([shape for group in groups for shape in group])]
    while stack:
        shape = next(stack[-1], None)
        if shape is None:
            stack.pop()
        else:
            found.append(shape)
            if shape.inner:
                stack.append(iter(_ordered(shape.inner, width)))
    return found


def _ordered(shapes: list[Shape], width: float) -> list[Shape]:
    return reading_order(shapes, lambda shape: shape.box, width)


def _add(builder: PageBuilder, piece: Piece, box: Box | None, *, hidden: bool) -> None:
    if piece.rows:
        builder.add_table(piece.rows, hidden=hidden, box=box)
    elif piece.paragraph is not None:
        builder.add(
            piece.kind,
            piece.paragraph.text,
            level=piece.level,
            ordered=piece.ordered,
            hidden=hidden,
            box=box,
            marks=piece.paragraph.marks,
        )


def _text(piece: Piece) -> str:
    return one_line(piece.paragraph.text) if piece.paragraph is not None else ""


def _take_caption(picture: Shape, shapes: Sequence[Shape]) -> str:
    """The short text right below a picture, within its width, which becomes its caption; empty without one."""
    if picture.box is None:
        return ""
    left, _, right, bottom = picture.box
    for shape in shapes:
        if shape.role or shape.box is None or len(shape.pieces) != 1:
            continue
        piece, text = shape.pieces[0], _text(shape.pieces[0])
        middle = (shape.box[0] + shape.box[2]) / 2
        is_below = left <= middle <= right and -5 <= shape.box[1] - bottom <= _CAPTION_WITHIN_PT
        if is_below and piece.kind in (BlockKind.PARAGRAPH, BlockKind.CAPTION) and len(text) <= _MAX_CAPTION_CHARS:
            shape.pieces = [replace(piece, kind=BlockKind.CAPTION)]
            return text
    return ""
