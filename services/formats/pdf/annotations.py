"""Reads the links, remarks and form fields of a PDF page."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.content import BlockKind, Box, Mark, Word
from services.formats.kit.page_builder import link
from services.formats.pdf.geometry import PageGeometry
from services.formats.pdf.text import TextLine
from services.ocr.layout import Line, LooseBlock, LooseWord

if TYPE_CHECKING:
    import pypdfium2

MAX_ANNOTATIONS = 5000
"""Of one page; a table of contents with an index has some hundred."""

MAX_CHARS = 20_000
"""Of one remark or field."""

_CHECKED, _UNCHECKED = "\u2612", "\u2610"
_PASSWORD_FIELD = 1 << 13
"""Flag of a text field whose value is not shown. Source: ISO 32000-1, table 228."""

_BAND_PT = 24.0
"""Height of the bands by which the words under a link are looked up."""

MAX_FIELDS = 1000
MAX_REMARKS = 500
"""Of one page, each of which is compared with its blocks."""

_HIDDEN = 1 << 1
_NO_VIEW = 1 << 5
"""Flags of annotations that are not shown. Source: ISO 32000-1, table 165."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A reader's remark, `author: text`, with the box of what it is about."""

    text: str
    box: Box


@dataclass(slots=True)
class Annotations:
    """What lies on a page; boxes are points of the page as shown."""

    links: list[tuple[Box, str]] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    fields: list[tuple[Box, str]] = field(default_factory=list)
    """The values of form fields; a box that is ticked or not is one character."""


def read_annotations(page: pypdfium2.PdfPage, geometry: PageGeometry) -> Annotations:
    """The links with an address, the remarks and the filled fields of `page`."""
    from pypdfium2 import raw

    found = Annotations()
    form = page.formenv.raw if page.formenv is not None else None
    remark_kinds = {
        raw.FPDF_ANNOT_TEXT, raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_HIGHLIGHT, raw.FPDF_ANNOT_UNDERLINE,
        raw.FPDF_ANNOT_STRIKEOUT, raw.FPDF_ANNOT_SQUIGGLY, raw.FPDF_ANNOT_STAMP, raw.FPDF_ANNOT_CARET,
        raw.FPDF_ANNOT_INK, raw.FPDF_ANNOT_SQUARE, raw.FPDF_ANNOT_CIRCLE, raw.FPDF_ANNOT_LINE,
        raw.FPDF_ANNOT_POLYGON, raw.FPDF_ANNOT_POLYLINE,
    }  # fmt: skip
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), MAX_ANNOTATIONS)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            box = _box(raw, annotation, geometry)
            if box is None:
                continue
            if kind == raw.FPDF_ANNOT_LINK:
                _add_links(raw, page.pdf, annotation, box, geometry, found)
            elif raw.FPDFAnnot_GetFlags(annotation) & (_HIDDEN | _NO_VIEW):
                continue
            elif kind == raw.FPDF_ANNOT_WIDGET and form is not None:
                value = _field_value(raw, form, annotation)
                if value:
                    found.fields.append((box, value))
            elif kind in remark_kinds:
                text = _string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents").strip()
                if text:
                    author = " ".join(_string(raw.FPDFAnnot_GetStringValue, annotation, b"T").split())
                    found.remarks.append(Remark(f"{author}: {text}" if author else text, box))
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
    return found


def _box(raw: Any, annotation: Any, geometry: PageGeometry) -> Box | None:
    """The box of an annotation as far as it lies on the page.

    None where nothing of it does.
    """
    rectangle = raw.FS_RECTF()
    if not raw.FPDFAnnot_GetRect(annotation, rectangle):
        return None
    return _on_page(geometry.box(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top), geometry)


def _on_page(box: Box, geometry: PageGeometry) -> Box | None:
    x0, y0, x1, y1 = box
    x0, x1 = max(0.0, x0), min(geometry.width, x1)
    y0, y1 = max(0.0, y0), min(geometry.height, y1)
    return (x0, y0, x1, y1) if x0 <= x1 and y0 <= y1 else None


def _add_links(raw: Any, document: Any, annotation: Any, box: Box, geometry: PageGeometry, found: Annotations) -> None:
    reference = raw.FPDFAnnot_GetLink(annotation)
    action = raw.FPDFLink_GetAction(reference) if reference else None
    if not action or raw.FPDFAction_GetType(action) != raw.PDFACTION_URI:
        return
    size = raw.FPDFAction_GetURIPath(document, action, None, 0)
    if not 1 < size <= 8192:
        return
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFAction_GetURIPath(document, action, buffer, size)
    address = buffer.value.decode("utf-8", "replace")
    boxes = []
    points = raw.FS_QUADPOINTSF()
    for index in range(min(raw.FPDFAnnot_CountAttachmentPoints(annotation), 100)):
        if raw.FPDFAnnot_GetAttachmentPoints(annotation, index, points):
            xs = (points.x1, points.x2, points.x3, points.x4)
            ys = (points.y1, points.y2, points.y3, points.y4)
            part = _on_page(geometry.box(min(xs), min(ys), max(xs), max(ys)), geometry)
            if part is not None:
                boxes.append(part)
    found.links.extend((part, address) for part in boxes or [box])


def _field_value(raw: Any, form: Any, annotation: Any) -> str:
    """What a form field shows; empty for buttons, passwords and what nobody filled in."""
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        return _CHECKED if raw.FPDFAnnot_IsChecked(form, annotation) else _UNCHECKED
    if kind not in (raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
        return ""
    if kind == raw.FPDF_FORMFIELD_TEXTFIELD and raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD_FIELD:
        return ""
    if kind == raw.FPDF_FORMFIELD_LISTBOX:
        count = min(max(0, raw.FPDFAnnot_GetOptionCount(form, annotation)), 1000)
        chosen = [i for i in range(count) if raw.FPDFAnnot_IsOptionSelected(form, annotation, i)]
        if chosen:
            labels = [_string(raw.FPDFAnnot_GetOptionLabel, form, annotation, i) for i in chosen]
            return "\n".join(labels)[:MAX_CHARS].strip()
    return _string(raw.FPDFAnnot_GetFormFieldValue, form, annotation).strip()


def _string(get: Callable[..., int], *arguments: Any) -> str:
    """A string of PDFium of at most `MAX_CHARS`, without controls but line ends."""
    size = get(*arguments, None, 0)
    if size <= 2:
        return ""
    size = min(size, 4 * 1024 * 1024)
    buffer = ctypes.create_string_buffer(size)
    get(*arguments, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    text = buffer.raw[: size - 2].decode("utf-16-le", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c.isprintable() or c in "\n\t")[:MAX_CHARS]


def with_fields(lines: Sequence[TextLine], fields: Iterable[tuple[Box, str]]) -> list[TextLine]:
    """`lines` with the values of form fields, each behind the text on its left, else behind the text above it."""
    result = list(lines)
    boxes = [line.box for line in lines]
    for box, value in sorted(fields, key=lambda item: (item[0][1], item[0][0]))[:MAX_FIELDS]:
        shown = _field_lines(box, value)
        if shown:
            at = _place(result, boxes, box)
            result[at:at] = shown
            boxes[at:at] = [line.box for line in shown]
    return result


def _field_lines(box: Box, value: str) -> list[TextLine]:
    """The lines of a field's value with boxes that part the field's box evenly."""
    rows = [row.split() for row in value.splitlines() if row.strip()]
    if not rows:
        return []
    high = (box[3] - box[1]) / len(rows)
    size = max(1.0, min(high * 0.75, 12.0))
    lines = []
    for number, row in enumerate(rows):
        wide = min((box[2] - box[0]) / max(1, sum(len(word) + 1 for word in row)), 0.6 * size)
        top = box[1] + number * high
        x = box[0]
        words = []
        for text in row:
            words.append(LooseWord(text, (x, top, x + wide * len(text), top + high)))
            x += wide * (len(text) + 1)
        lines.append(TextLine(words, size, baseline=top + 0.8 * high))
    return lines


def _place(lines: Sequence[TextLine], boxes: Sequence[Box], box: Box) -> int:
    """The index among `lines` at which what stands in `box` is read."""
    best, distance = len(lines), float("inf")
    middle = (box[1] + box[3]) / 2
    for index, (line, other) in enumerate(zip(lines, boxes, strict=True)):
        if line.quarter:
            continue
        if other[1] - 2 <= middle <= other[3] + 2:
            # Labels stand on the left of fields to fill in and on the right of boxes to tick.
            gap = box[0] - other[2] if other[0] < box[0] else 1000 + other[0] - box[2]
            here = index + 1 if other[0] < box[0] else index
        elif other[3] <= middle:
            gap, here = 10_000 + 10 * (middle - other[3]) + (abs(box[0] - other[0])), index + 1
        else:
            continue
        if gap < distance:
            best, distance = here, gap
    if distance == float("inf") and lines:
        return 0
    return best


def with_remarks(blocks: Sequence[LooseBlock], remarks: Sequence[Remark]) -> list[LooseBlock]:
    """`blocks` with each remark behind the block that it lies on or beside."""
    result = list(blocks)
    for remark in remarks[:MAX_REMARKS]:
        words = [LooseWord(text, remark.box) for text in remark.text.split()]
        if words:
            comment = LooseBlock(BlockKind.COMMENT, [Line(words, 10.0)], box=remark.box)
            result.insert(_nearest(result, remark.box) + 1, comment)
    return result


def _nearest(blocks: Sequence[LooseBlock], box: Box) -> int:
    """Index of the block whose box is nearest to `box`, the last of equals.

    -1 where there is none.
    """
    best, distance = -1, float("inf")
    for index, block in enumerate(blocks):
        other = block_box(block)
        if other is None:
            continue
        across = max(0.0, max(other[0], box[0]) - min(other[2], box[2]))
        down = max(0.0, max(other[1], box[1]) - min(other[3], box[3]))
        if across + 2 * down <= distance:
            best, distance = index, across + 2 * down
    return best


def block_box(block: LooseBlock) -> Box | None:
    """The box of `block`; None where it has no words."""
    from services.ocr.layout import union

    if block.box is not None:
        return block.box
    boxes = [w.box for line in block.lines for w in line.words]
    boxes.extend(w.box for row in block.cells for cell in row for w in cell)
    return union(boxes) if boxes else None


def link_marks(words: Sequence[Word], links: Iterable[tuple[Box, str]]) -> tuple[Mark, ...]:
    """Marks over the words that stand in the boxes of `links`, in order of their starts."""
    marks: list[Mark] = []
    bands: dict[int, list[int]] = {}
    for index, word in enumerate(words):
        bands.setdefault(int((word.box[1] + word.box[3]) / 2 // _BAND_PT), []).append(index)
    for box, address in links:
        last = -2
        run: list[Word] = []
        near = (bands.get(b, ()) for b in range(int((box[1] - 1) // _BAND_PT), int((box[3] + 1) // _BAND_PT) + 1))
        for index in sorted(itertools.chain.from_iterable(near)):
            word = words[index]
            x, y = (word.box[0] + word.box[2]) / 2, (word.box[1] + word.box[3]) / 2
            if box[0] <= x <= box[2] and box[1] - 1 <= y <= box[3] + 1:
                if run and index != last + 1:
                    marks.extend(link(run[0].char_start, run[-1].char_end, address))
                    run = []
                run.append(word)
                last = index
        if run:
            marks.extend(link(run[0].char_start, run[-1].char_end, address))
    unique = {(mark.char_start, mark.char_end, mark.target): mark for mark in marks}
    return tuple(sorted(unique.values(), key=lambda mark: (mark.char_start, -mark.char_end)))
