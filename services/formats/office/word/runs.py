"""Reads what stands inside a paragraph of a Word document.

Text, links, changes, breaks, references to notes, pictures and text boxes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from services.formats.kit.run_text import LinkStart, Words
from services.formats.kit.xml import Element
from services.formats.office.charts import Chart, read_chart
from services.formats.office.formulas import omml_text
from services.formats.office.markup import attribute, first, is_property_on, name_of
from services.formats.office.package import OfficePackage

_WORDS_OF_LEFT_OUT = (
    "w:pPr w:rPr w:delText w:fldData w:rubyPr w:sdtPr w:sdtEndPr w:annotationRef w:footnoteRef w:endnoteRef "
    "w:proofErr w:bookmarkStart w:bookmarkEnd w:delInstrText"
)
_LEFT_OUT = frozenset(_WORDS_OF_LEFT_OUT.split())
_CHARACTERS = {"w:tab": "\t", "w:ptab": "\t", "w:cr": "\n", "w:noBreakHyphen": "-", "w:softHyphen": ""}
_NOTE_REFERENCES = {"w:footnoteReference": "footnote", "w:endnoteReference": "endnote", "w:commentReference": "comment"}
_PRIVATE_SYMBOLS = range(0xF000, 0xF100)
_HYPERLINK = re.compile(r"\s*HYPERLINK\s+(?:(?P<quoted>\"[^\"]{1,2000}\")|(?P<plain>[^\s\"\\]{1,2000}))?"
                        r"(?:\s*\\l\s+\"(?P<anchor>[^\"]{1,500})\")?", re.I)  # fmt: skip
"""Source: ECMA-376 part 1, 17.16.5.25."""
_MAX_INSTRUCTION_CHARS = 5000
_REFERENCES_TO_WORDS = frozenset(("c:chart", "cx:chart", "dgm:relIds"))
"""Charts and diagrams, whose words lie in parts of their own. Beside a chart of 2016 stands a box for older programs
that only says that the chart cannot be shown."""


class Break(Enum):
    """Where a page ends."""

    EXPLICIT = auto()
    """The author put it there."""
    RENDERED = auto()
    """Word noted that a page began here when it last laid the document out."""


class End(Enum):
    """Where a run with a meaning of its own ends."""

    LINK = auto()
    INSERTION = auto()


@dataclass(frozen=True, slots=True)
class InsertionStart:
    """Where a tracked insertion begins."""

    author: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a tracked change took out here."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A reference to a footnote, endnote or comment."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class PictureRef:
    """A picture in the part called `part`; without one, only its alternative text."""

    part: str
    alt: str


Inline = Words | LinkStart | InsertionStart | End | Deletion | Break | Note | PictureRef | Chart | Element
"""An element stands for the content of a text box."""


@dataclass(slots=True)
class _Field:
    """A field such as HYPERLINK, whose code comes before the text that it shows."""

    code: list[str] = field(default_factory=list)
    is_shown: bool = False
    is_link: bool = False


@dataclass(slots=True)
class _Open:
    """An element whose children are being read."""

    children: Iterator[Element]
    hidden: bool = False
    closing: Inline | None = None
    """Given when it ends."""


def read_inline(paragraph: Element, part: str, package: OfficePackage) -> Iterator[Inline]:
    """The pieces of a paragraph in order. Iterative: markup may nest without end."""
    stack = [_Open(iter(paragraph))]
    fields: list[_Field] = []
    while stack:
        outer = stack[-1]
        item = next(outer.children, None)
        if item is None:
            stack.pop()
            if outer.closing is not None:
                yield outer.closing
            continue
        name = name_of(item.tag)
        if not name or name in _LEFT_OUT:
            continue
        word = _word_of(name, item, hidden=outer.hidden)
        if word is not None:
            yield word
        elif name == "w:instrText":
            if fields and not fields[-1].is_shown:
                fields[-1].code.append((item.text or "")[:_MAX_INSTRUCTION_CHARS])
        elif name == "w:fldChar":
            yield from _turn_field(fields, attribute(item, "w:fldCharType"))
        elif name == "mc:AlternateContent":
            stack.append(_Open(iter(alternative(item)), outer.hidden))
        elif name == "w:drawing":
            yield from _read_drawing(item, part, package)
        elif name in ("w:pict", "w:object"):
            yield from _read_vml(item, part, package)
        else:
            inner = _Open(iter(item), outer.hidden)
            yield from _begin(name, item, inner, part, package)
            stack.append(inner)


def _word_of(name: str, item: Element, *, hidden: bool) -> Inline | None:
    """What an element says by itself.

    None for those whose children, field or drawing say it.
    """
    if name == "w:t":
        return Words(item.text or "", hidden)
    if name in _CHARACTERS:
        return Words(_CHARACTERS[name], hidden)
    if name == "w:br":
        return Break.EXPLICIT if attribute(item, "w:type") == "page" else Words("\n", hidden)
    if name == "w:lastRenderedPageBreak":
        return Break.RENDERED
    if name == "w:sym":
        return Words(_symbol(attribute(item, "w:char")), hidden)
    if name in _NOTE_REFERENCES:
        return Note(_NOTE_REFERENCES[name], attribute(item, "w:id"))
    if name in ("w:del", "w:moveFrom"):
        return Deletion(deleted_text(item))
    if name in ("m:oMath", "m:oMathPara"):
        return Words(f" {omml_text(item)} ", hidden)
    return None


def _begin(name: str, item: Element, inner: _Open, part: str, package: OfficePackage) -> Iterator[Inline]:
    """The piece that an element with children begins with.

    Tells `inner` what holds inside, and what ends it.
    """
    match name:
        case "w:r":
            inner.hidden = inner.hidden or is_property_on(first(item, "w:rPr"), "w:vanish")
        case "w:rt":
            yield Words(" (", inner.hidden)
            inner.closing = Words(") ", inner.hidden)
        case "w:ins" | "w:moveTo":
            yield InsertionStart(attribute(item, "w:author"))
            inner.closing = End.INSERTION
        case "w:hyperlink" | "w:fldSimple":
            is_link = name == "w:hyperlink"
            address = _address(item, part, package) if is_link else _field_address(attribute(item, "w:instr"))
            if address:
                yield LinkStart(address)
                inner.closing = End.LINK
        case _:
            pass


def _turn_field(fields: list[_Field], kind: str) -> Iterator[Inline]:
    if kind == "begin" and len(fields) < 20:
        fields.append(_Field())
    elif kind == "separate" and fields:
        fields[-1].is_shown = True
        address = _field_address("".join(fields[-1].code))
        if address:
            fields[-1].is_link = True
            yield LinkStart(address)
    elif kind == "end" and fields and fields.pop().is_link:
        yield End.LINK


def _address(item: Element, part: str, package: OfficePackage) -> str:
    address = package.link(part, attribute(item, "r:id"))
    anchor = attribute(item, "w:anchor")
    return f"{address}#{anchor}" if anchor and "#" not in address else address


def _field_address(code: str) -> str:
    """Where a HYPERLINK field leads; empty for another field."""
    match = _HYPERLINK.match(code[:_MAX_INSTRUCTION_CHARS])
    if match is None:
        return ""
    address = (match.group("quoted") or match.group("plain") or "").strip('"')
    anchor = match.group("anchor")
    return f"{address}#{anchor}" if anchor else address


def deleted_text(change: Element) -> str:
    """The text below `change`, which is no longer said."""
    parts: list[str] = []
    for item in change.iter():
        name = name_of(item.tag)
        if name in ("w:delText", "w:t"):
            parts.append(item.text or "")
        elif name in _CHARACTERS:
            parts.append(_CHARACTERS[name])
        elif name == "w:br":
            parts.append("\n")
    return "".join(parts)


def alternative(content: Element) -> Element:
    """The choice that is read, of several ways to write the same: the first that holds text."""
    options = [item for item in content if name_of(item.tag) in ("mc:Choice", "mc:Fallback")]
    return next((item for item in options if _holds_text(item)), options[0] if options else content)


def _holds_text(element: Element) -> bool:
    return any(
        (name_of(item.tag) in ("w:t", "m:t", "a:t") and item.text) or name_of(item.tag) in _REFERENCES_TO_WORDS
        for item in element.iter()
    )


def _symbol(code: str) -> str:
    """The character of a symbol.

    Empty for those that only a font of its own gives a meaning.
    """
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    if number in _PRIVATE_SYMBOLS or not 0x20 <= number <= 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return ""
    return chr(number)


def _read_drawing(drawing: Element, part: str, package: OfficePackage) -> Iterator[Inline]:
    relations = package.relations(part)
    alt = ""
    pictures: list[str] = []
    boxes: list[Element] = []
    for item in _outside_boxes(drawing, boxes):
        name = name_of(item.tag)
        if name == "wp:docPr":
            alt = attribute(item, "descr") or alt
        elif name == "a:blip":
            relation = relations.get(attribute(item, "r:embed"))
            if relation is not None and relation.kind == "image":
                pictures.append(relation.target)
        elif name in ("c:chart", "cx:chart"):
            relation = relations.get(attribute(item, "r:id"))
            root = package.optional_xml(relation.target) if relation else None
            if root is not None:
                yield read_chart(root)
        elif name == "dgm:relIds":
            relation = relations.get(attribute(item, "r:dm"))
            yield from _drawing_text(package, relation.target if relation else "")
        elif name == "a:t":
            yield Words(f" {item.text or ''} ")
    for target in pictures:
        yield PictureRef(target, alt)
    if alt:
        yield PictureRef("", alt)
    yield from boxes


def _read_vml(holder: Element, part: str, package: OfficePackage) -> Iterator[Inline]:
    relations = package.relations(part)
    boxes: list[Element] = []
    for item in _outside_boxes(holder, boxes):
        if name_of(item.tag) == "v:imagedata":
            relation = relations.get(attribute(item, "r:id"))
            if relation is not None and relation.kind == "image":
                yield PictureRef(relation.target, attribute(item, "title") or "")
        elif name_of(item.tag) == "v:textpath":
            yield Words(f" {attribute(item, 'string')} ")
    yield from boxes


def _outside_boxes(root: Element, boxes: list[Element]) -> Iterator[Element]:
    """Descendants of `root`, but of its text boxes only the content's element, into `boxes`."""
    stack: list[Iterator[Element]] = [iter(root)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif name_of(item.tag) == "w:txbxContent":
            boxes.append(item)
        elif name_of(item.tag) == "mc:AlternateContent":
            stack.append(iter(alternative(item)))
        else:
            yield item
            stack.append(iter(item))


def _drawing_text(package: OfficePackage, target: str) -> Iterator[Words]:
    """Words of a diagram, which lie in a part of their own."""
    root = package.optional_xml(target) if target else None
    for item in root.iter() if root is not None else ():
        if name_of(item.tag) == "a:t" and item.text:
            yield Words(f" {item.text} ")
