"""What stands inside a paragraph: text, breaks, references to notes, pictures, formulas and text boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from services.formats.docx_package import Element, Package, attribute, name_of

_WORDS_OF_LEFT_OUT = (
    "w:pPr w:rPr w:del w:moveFrom w:delText w:instrText w:fldData w:rubyPr w:sdtPr w:sdtEndPr w:annotationRef "
    "w:footnoteRef w:endnoteRef w:proofErr w:bookmarkStart w:bookmarkEnd w:delInstrText m:rPr m:ctrlPr m:fPr "
    "m:dPr m:sSupPr m:sSubPr m:naryPr m:radPr m:accPr m:funcPr"
)
_LEFT_OUT = frozenset(_WORDS_OF_LEFT_OUT.split())
_CHARACTERS = {"w:tab": "\t", "w:ptab": "\t", "w:cr": "\n", "w:noBreakHyphen": "-", "w:softHyphen": ""}
_NOTE_REFERENCES = {"w:footnoteReference": "footnote", "w:endnoteReference": "endnote", "w:commentReference": "comment"}
_FORMULA_BEGINS = {"m:sup": "^", "m:sub": "_", "m:den": "/"}
"""Linear format of formulas, without its parentheses. Source: Unicode Technical Note 28."""
_PRIVATE_SYMBOLS = range(0xF000, 0xF100)


class Break(Enum):
    """Where a page ends."""

    EXPLICIT = auto()
    """The author put it there."""
    RENDERED = auto()
    """Word noted that a page began here when it last laid the document out."""


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


Inline = str | Break | Note | PictureRef | Element
"""An element stands for the content of a text box."""


def read_inline(paragraph: Element, part: str, package: Package) -> Iterator[Inline]:
    """The pieces of a paragraph in order, deletions left out. Iterative: markup may nest without end."""
    stack: list[tuple[Iterator[Element], str]] = [(iter(paragraph), "")]
    while stack:
        children, closing = stack[-1]
        item = next(children, None)
        if item is None:
            stack.pop()
            if closing:
                yield closing
            continue
        name = name_of(item.tag)
        if not name or name in _LEFT_OUT:
            continue
        if name in ("w:t", "m:t"):
            yield item.text or ""
        elif name in _CHARACTERS:
            yield _CHARACTERS[name]
        elif name == "w:br":
            yield Break.EXPLICIT if attribute(item, "w:type") == "page" else "\n"
        elif name == "w:lastRenderedPageBreak":
            yield Break.RENDERED
        elif name == "w:sym":
            yield _symbol(attribute(item, "w:char"))
        elif name in _NOTE_REFERENCES:
            yield Note(_NOTE_REFERENCES[name], attribute(item, "w:id"))
        elif name == "mc:AlternateContent":
            stack.append((iter(alternative(item)), ""))
        elif name == "w:drawing":
            yield from _read_drawing(item, part, package)
        elif name in ("w:pict", "w:object"):
            yield from _read_vml(item, part, package)
        elif name == "w:rt":
            yield " ("
            stack.append((iter(item), ") "))
        elif name in ("m:oMath", "m:oMathPara"):
            yield " "
            stack.append((iter(item), " "))
        else:
            if name in _FORMULA_BEGINS and len(item):
                yield _FORMULA_BEGINS[name]
            stack.append((iter(item), ""))


def alternative(content: Element) -> Element:
    """The choice that is read, of several ways to write the same: the first that holds text."""
    options = [item for item in content if name_of(item.tag) in ("mc:Choice", "mc:Fallback")]
    return next((item for item in options if _holds_text(item)), options[0] if options else content)


def _holds_text(element: Element) -> bool:
    return any(name_of(item.tag) in ("w:t", "m:t", "a:t") and item.text for item in element.iter())


def _symbol(code: str) -> str:
    """The character of a symbol; empty for those that only a font of its own gives a meaning."""
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    if number in _PRIVATE_SYMBOLS or not 0x20 <= number <= 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return ""
    return chr(number)


def _read_drawing(drawing: Element, part: str, package: Package) -> Iterator[Inline]:
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
        elif name == "c:chart":
            relation = relations.get(attribute(item, "r:id"))
            yield from _drawing_text(package, relation.target if relation else "")
        elif name == "dgm:relIds":
            relation = relations.get(attribute(item, "r:dm"))
            yield from _drawing_text(package, relation.target if relation else "")
        elif name == "a:t":
            yield f" {item.text or ''} "
    for target in pictures:
        yield PictureRef(target, alt)
    if alt:
        yield PictureRef("", alt)
    yield from boxes


def _read_vml(holder: Element, part: str, package: Package) -> Iterator[Inline]:
    relations = package.relations(part)
    boxes: list[Element] = []
    for item in _outside_boxes(holder, boxes):
        if name_of(item.tag) == "v:imagedata":
            relation = relations.get(attribute(item, "r:id"))
            if relation is not None and relation.kind == "image":
                yield PictureRef(relation.target, attribute(item, "title") or "")
        elif name_of(item.tag) == "v:textpath":
            yield f" {attribute(item, 'string')} "
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


def _drawing_text(package: Package, target: str) -> Iterator[str]:
    """Words of a chart or a diagram, which lie in a part of their own."""
    root = package.xml(target) if target else None
    for item in root.iter() if root is not None else ():
        if (name_of(item.tag) == "a:t" and item.text) or (
            name_of(item.tag) == "c:v" and item.text and name_of(item.getparent().getparent().tag) == "c:strCache"
        ):
            yield f" {item.text} "
