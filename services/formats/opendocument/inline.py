"""What stands inside a paragraph of OpenDocument: text, links, changes, notes, comments, drawings and page breaks."""

from __future__ import annotations

from collections.abc import Iterator
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


def read_inline(paragraph: Element, styles: Styles) -> Iterator[Inline]:
    """The pieces of a paragraph in order. Iterative: spans may lie inside each other without end."""
    if paragraph.text:
        yield Words(paragraph.text)
    stack: list[tuple[Iterator[Element], bool, Inline | None, str | None]] = [(iter(paragraph), False, None, None)]
    while stack:
        children, hidden, closing, tail = stack[-1]
        item = next(children, None)
        if item is None:
            stack.pop()
            if closing is not None:
                yield closing
            if tail:
                yield Words(tail, stack[-1][1] if stack else False)
            continue
        name = name_of(item.tag)
        if name == "text:s":
            yield Words(" " * count_of(item, "text:c", at_most=_MAX_SPACES), hidden, verbatim=True)
        elif name == "text:tab":
            yield Words("\t", hidden, verbatim=True)
        elif name == "text:line-break":
            yield Sign.LINE
        elif name == "text:soft-page-break":
            yield Sign.PAGE
        elif name == "text:page-number" and not any(map(str.isdecimal, item.text or "")):
            pass  # a stand-in such as `<number>`, which the program replaces when it shows the page
        elif name in _YIELDED or name in SHAPES:
            yield item
        elif name not in _LEFT_OUT and name:
            inner = hidden
            end: Words | Sign | None = None
            if name == "text:span":
                inner = hidden or styles.says("text", attribute(item, "text:style-name"), "text:display") == "none"
            elif name in ("text:hidden-text", "text:hidden-paragraph"):
                inner = True
                if not item.text:
                    yield Words(attribute(item, "text:string-value"), True)
            elif name == "text:a":
                yield LinkStart(attribute(item, "xlink:href"))
                end = Sign.LINK_END
            elif name == "text:ruby-text":
                yield Words(" (", hidden)
                end = Words(") ", hidden)
            if item.text:
                yield Words(item.text, inner)
            stack.append((iter(item), inner, end, item.tail))
            continue
        if item.tail:
            yield Words(item.tail, hidden)
