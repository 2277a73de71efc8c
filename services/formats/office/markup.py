"""The names and values that the XML of Office documents uses.

They are the same for strict and transitional files.
"""

from __future__ import annotations

from typing import Any

from services.formats.kit.xml import Element

_PREFIXES = {
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main": "w",
    "http://purl.oclc.org/ooxml/wordprocessingml/main": "w",
    "http://schemas.openxmlformats.org/drawingml/2006/main": "a",
    "http://purl.oclc.org/ooxml/drawingml/main": "a",
    "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing": "wp",
    "http://purl.oclc.org/ooxml/drawingml/wordprocessingDrawing": "wp",
    "http://schemas.openxmlformats.org/officeDocument/2006/math": "m",
    "http://purl.oclc.org/ooxml/officeDocument/math": "m",
    "http://schemas.openxmlformats.org/drawingml/2006/chart": "c",
    "http://purl.oclc.org/ooxml/drawingml/chart": "c",
    "http://schemas.openxmlformats.org/drawingml/2006/diagram": "dgm",
    "http://schemas.microsoft.com/office/drawing/2014/chartex": "cx",
    "http://purl.oclc.org/ooxml/drawingml/diagram": "dgm",
    "http://schemas.openxmlformats.org/markup-compatibility/2006": "mc",
    "http://schemas.microsoft.com/office/word/2010/wordprocessingShape": "wps",
    "urn:schemas-microsoft-com:vml": "v",
    "http://schemas.microsoft.com/office/word/2010/wordml": "w14",
    "http://schemas.microsoft.com/office/word/2012/wordml": "w15",
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships": "r",
    "http://purl.oclc.org/ooxml/officeDocument/relationships": "r",
}
"""Transitional and strict names of the same vocabularies. Source: ECMA-376 part 1 and part 4."""

_names: dict[str, str] = {}


def name_of(name: Any) -> str:
    """An element's or attribute's name as `prefix:local`, the same for strict and transitional files."""
    if not isinstance(name, str):
        return ""
    known = _names.get(name)
    if known is None:
        space, _, local = name[1:].partition("}") if name.startswith("{") else ("", "", name)
        prefix = _PREFIXES.get(space, "" if not space else "?")
        known = f"{prefix}:{local}" if prefix else local
        if len(_names) < 10_000:
            _names[name] = known
    return known


def local(element: Element) -> str:
    """An element's name without its namespace; empty for what is no element."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Element | None, name: str) -> str:
    """The value of the attribute `prefix:local`, in whichever of its namespaces.

    Empty without it.
    """
    if element is None:
        return ""
    return next((str(value) for key, value in element.attrib.items() if name_of(key) == name), "")


def first(element: Element | None, *path: str) -> Element | None:
    """The element reached from `element` by going to the first child of each name in turn.

    A name is `prefix:local`, or `local` for a child of any namespace.
    """
    for name in path:
        if element is None:
            return None
        if ":" in name:
            element = next((item for item in element if name_of(item.tag) == name), None)
        else:
            element = next((item for item in element if local(item) == name), None)
    return element


def children(element: Element | None) -> list[Element]:
    """The elements directly inside `element`; none without it."""
    return [] if element is None else [item for item in element if isinstance(item.tag, str)]


def text_at(element: Element | None, *path: str) -> str:
    """The text of the element that `first` finds; empty without one."""
    found = first(element, *path)
    return "" if found is None else found.text or ""


def value_of(element: Element | None, name: str) -> str | None:
    """`w:val` of the child called `name`.

    None without such a child, empty without the attribute.
    """
    found = first(element, name)
    return None if found is None else attribute(found, "w:val")


def is_property_on(properties: Element | None, name: str) -> bool:
    """True where an on/off property of Word is there and not switched off.

    Without a value it is on.
    """
    value = value_of(properties, name)
    return value is not None and value not in ("0", "false", "off")


def is_on(value: str | None) -> bool:
    """True for the spellings of true in XML Schema.

    An attribute that is missing is off.
    """
    return (value or "").strip().lower() in ("1", "true", "on")


def whole_number(value: str | None, default: int = 0) -> int:
    """`value` as an integer of at most 18 digits; `default` where it is none."""
    text = (value or "").strip()
    sign = text[:1] == "-"
    digits = text[1:] if sign else text
    return (
        (-1 if sign else 1) * int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else default
    )


def level_number(value: str | None) -> int | None:
    """`value` as a level or count of at most six digits, without a sign.

    None where it is none.
    """
    return int(value) if value and value.isdecimal() and len(value) < 7 else None
