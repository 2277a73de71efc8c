"""Reads what stands inside a paragraph of OpenDocument.

Text, links, changes, notes, comments, drawings and page breaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from services.formats.kit.run_text import LinkStart, Words
from services.formats.kit.xml import Element
from services.formats.opendocument.package import attribute, count_of, name_of
from services.formats.opendocument.styles import Styles

_MAX_SPACES = 200
_WORDS_OF_LEFT_OUT = (
    "text:tracked-changes text:script office:annotation-end office:event-listeners text:bookmark text:bookmark-start "
    "text:bookmark-end text:reference-mark text:note-citation text:alphabetical-index-mark text:toc-mark "
    "text:user-index-mark svg:title svg:desc"
)
_LEFT_OUT = frozenset(_WORDS_OF_LEFT_OUT.split())
_YIELDED = frozenset(("text:note", "office:annotation", "text:change-start", "text:change-end", "text:change"))
_WORDS_OF_SHAPES = (
    "draw:frame draw:custom-shape draw:rect draw:ellipse draw:circle draw:line draw:polyline draw:polygon "
    "draw:regular-polygon draw:path draw:g draw:connector draw:caption draw:measure draw:a dr3d:scene"
)
SHAPES = frozenset(_WORDS_OF_SHAPES.split())
"""Elements of drawings that may hold text or a picture."""


class Sign(Enum):
    """What is met in a paragraph beside text and elements."""

    LINE = auto()
    PAGE = auto()
    """The program noted that a page began here when it last laid the document out."""
    LINK_END = auto()


Inline = Words | LinkStart | Sign | Element
"""An element is a note, a comment, a place of a tracked change, or a drawing."""


@dataclass(slots=True)
class _Open:
    """An element whose children are being read."""

    children: Iterator[Element]
    hidden: bool = False
    closing: Inline | None = None
    """Given when it ends."""
    tail: str | None = None
    """The text behind it."""


def read_inline(paragraph: Element, styles: Styles) -> Iterator[Inline]:
    """The pieces of a paragraph in order.

    Iterative: spans may lie inside each other without end.
    """
    if paragraph.text:
        yield Words(paragraph.text)
    stack = [_Open(iter(paragraph))]
    while stack:
        outer = stack[-1]
        item = next(outer.children, None)
        if item is None:
            stack.pop()
            if outer.closing is not None:
                yield outer.closing
            if outer.tail:
                yield Words(outer.tail, stack[-1].hidden if stack else False)
            continue
        name = name_of(item.tag)
        sign = _sign_of(name, item, hidden=outer.hidden)
        if sign is not None:
            yield sign
        elif name in _YIELDED or name in SHAPES:
            yield item
        elif name and name not in _LEFT_OUT and not _is_stand_in(name, item):
            inner = _Open(iter(item), outer.hidden, None, item.tail)
            yield from _begin(name, item, inner, styles)
            stack.append(inner)
            continue
        if item.tail:
            yield Words(item.tail, outer.hidden)


def _sign_of(name: str, item: Element, *, hidden: bool) -> Words | Sign | None:
    """What an element without content says by itself; None for all others."""
    match name:
        case "text:s":
            return Words(" " * count_of(item, "text:c", at_most=_MAX_SPACES), hidden, verbatim=True)
        case "text:tab":
            return Words("\t", hidden, verbatim=True)
        case "text:line-break":
            return Sign.LINE
        case "text:soft-page-break":
            return Sign.PAGE
        case _:
            return None


def _is_stand_in(name: str, item: Element) -> bool:
    """True for what the program replaces when it shows the page, such as `<number>`."""
    return name == "text:page-number" and not any(map(str.isdecimal, item.text or ""))


def _begin(name: str, item: Element, inner: _Open, styles: Styles) -> Iterator[Inline]:
    """The pieces that an element with content begins with.

    Tells `inner` what holds inside, and what ends it.
    """
    outside = inner.hidden
    if name == "text:span":
        style = attribute(item, "text:style-name")
        inner.hidden = outside or styles.says("text", style, "text:display") == "none"
    elif name in ("text:hidden-text", "text:hidden-paragraph"):
        inner.hidden = True
        if not item.text:
            yield Words(attribute(item, "text:string-value"), True)
    elif name == "text:a":
        yield LinkStart(attribute(item, "xlink:href"))
        inner.closing = Sign.LINK_END
    elif name == "text:ruby-text":
        yield Words(" (", outside)
        inner.closing = Words(") ", outside)
    if item.text:
        yield Words(item.text, inner.hidden)
