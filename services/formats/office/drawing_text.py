"""Reads the text of DrawingML shapes as paragraphs.

With their breaks, fields, formulas and links.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.content import Mark
from services.formats.kit.page_builder import link
from services.formats.kit.xml import Element
from services.formats.office.markup import attribute, first, local, text_at, whole_number
from services.formats.office.word.runs import alternative

_LEFT_OUT = frozenset(("pPr", "rPr", "endParaRPr", "fldPr", "ctrlPr", "extLst"))
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of a shape."""

    text: str
    level: int
    """Nesting, from 0 to 8."""
    properties: Element | None
    marks: tuple[Mark, ...] = ()
    """Links; their offsets count from the start of `text`."""


def paragraphs(body: Element | None, links: Mapping[str, str]) -> Iterator[Paragraph]:
    """The paragraphs of a `txBody` that hold text.

    `links` are the addresses of its part by id.
    """
    for item in body if body is not None else ():
        if local(item) != "p":
            continue
        properties = first(item, "pPr")
        text, marks = _read(item, links)
        if text.strip():
            level = whole_number(properties.get("lvl")) if properties is not None else 0
            yield Paragraph(text, min(max(level, 0), 8), properties, marks)


def plain_text(body: Element | None) -> str:
    """All words of a `txBody`, a line for each paragraph."""
    return "\n".join(paragraph.text.strip() for paragraph in paragraphs(body, {}))


def _read(paragraph: Element, links: Mapping[str, str]) -> tuple[str, tuple[Mark, ...]]:
    parts: list[str] = []
    marks: list[Mark] = []
    length = 0
    stack: list[Iterator[Element]] = [iter(paragraph)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            continue
        name = local(item)
        if name in ("r", "fld") and first(item, "t") is not None:
            text = text_at(item, "t")
            if item.get("type") == "slidenum" and not any(map(str.isdecimal, text)):
                continue  # a stand-in such as `<number>`, which the program replaces when it shows the slide
            address = links.get(attribute(first(item, "rPr", "hlinkClick"), "r:id"), "") if links else ""
            if address:
                marks.extend(link(length, length + len(text), address))
        elif name == "br":
            text = "\n"
        elif name == "tab":
            text = "\t"
        elif name == "t":
            text = item.text or ""
        elif name == "AlternateContent":
            stack.append(iter(alternative(item)))
            continue
        elif name and name not in _LEFT_OUT and len(stack) < _MAX_DEPTH:
            stack.append(iter(item))
            continue
        else:
            continue
        text = text.replace("\x0b", "\n")
        parts.append(text)
        length += len(text)
    return "".join(parts), tuple(marks)
