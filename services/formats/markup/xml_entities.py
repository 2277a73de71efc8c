"""Takes the document type off an XML text before a parser sees it.

Its harmless entities are put in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.entities import html5

from services.content import Issue
from services.errors import UnreadableDocument

_BEFORE_ROOT = re.compile(r"\s*(?:<\?(?:(?!\?>).){0,4096}\?>|<!--(?:(?!-->).){0,65536}-->)", re.S)
_DOCTYPE = re.compile(r"\s*<!DOCTYPE(?:[^>\[\"']|\"[^\"]{0,2048}\"|'[^']{0,2048}'){0,2048}", re.S)
_SUBSET_PART = re.compile(
    r"[^\]<\"']+|<!--(?:(?!-->).){0,65536}-->|<\?(?:(?!\?>).){0,4096}\?>|\"[^\"]*\"|'[^']*'|<", re.S
)
_ENTITY = re.compile(r"<!ENTITY\s+(%\s+)?([^\s\"'>]{1,200})\s+(?:\"([^\"]*)\"|'([^']*)'|(?:SYSTEM|PUBLIC)\b)", re.S)
_REFERENCE = re.compile(r"&([A-Za-z_][\w.:-]{0,199});")
_PREDEFINED = frozenset({"amp", "lt", "gt", "quot", "apos"})
_MAX_PROLOG = 64
_MAX_ADDED_CHARS = 1_000_000
"""Characters that a file's own entities may add to its text. Source: those of DocBook manuals add a few thousand."""


def without_entities(text: str) -> tuple[str, tuple[Issue, ...]]:
    """(`text` without its declaration and document type and with its named characters put in, issues).

    Entities that lie outside the file are never fetched: they are left out, and an Issue (`xml_entities`) says so.

    Raises UnreadableDocument (`xml_entities`) where entities are made of entities or blow the text up, as in a bomb.
    """
    start, declared = _after_prolog(text)
    outside = [name for name, value in declared.items() if value is None]
    own = {name: value for name, value in declared.items() if value is not None}
    if any(_REFERENCE.search(_without_named(value)) for value in own.values()):
        raise _refused("it declares entities that are made of other entities")
    added = 0

    def put_in(match: re.Match[str]) -> str:
        nonlocal added
        name = match.group(1)
        if name in _PREDEFINED:
            return match.group()
        value = own.get(name)
        if value is not None:
            added += len(value)
            if added > _MAX_ADDED_CHARS:
                raise _refused("its entities make it many times as long")
            return value
        if name in declared:
            return ""
        found = html5.get(f"{name};")
        return "&amp;" + match.group()[1:] if found is None else found.replace("&", "&amp;").replace("<", "&lt;")

    text = _REFERENCE.sub(put_in, text[start:]) if "&" in text else text[start:]
    if not outside:
        return text, ()
    return text, (
        Issue("xml_entities", f"Text that lies outside the file was left out: entity {', '.join(outside[:5])}."),
    )


def _without_named(value: str) -> str:
    """`value` without the references that stand for a character."""
    return _REFERENCE.sub(
        lambda match: "" if match.group(1) in _PREDEFINED or f"{match.group(1)};" in html5 else match.group(), value
    )


def _after_prolog(text: str) -> tuple[int, Mapping[str, str | None]]:
    """(where the root element's part of the text begins, entities by name; None for one outside the file)."""
    position = 0
    declared: dict[str, str | None] = {}
    for _ in range(_MAX_PROLOG):
        match = _BEFORE_ROOT.match(text, position)
        if match:
            position = match.end()
            continue
        doctype = _DOCTYPE.match(text, position)
        if not doctype:
            break
        position = doctype.end()
        if text.startswith("[", position):
            subset_end = _end_of_subset(text, position + 1)
            for parameter, name, double, single in _ENTITY.findall(text, position, subset_end):
                if not parameter and len(declared) < 10_000:
                    is_outside = not double and not single
                    declared.setdefault(name, None if is_outside else double or single)
            position = subset_end + 1
        closing = text.find(">", position)
        if closing < 0 or text[position:closing].strip():
            raise _refused("its document type is damaged")
        position = closing + 1
    return position, declared


def _end_of_subset(text: str, position: int) -> int:
    """Where the `]` of an internal subset stands."""
    while position < len(text) and text[position] != "]":
        part = _SUBSET_PART.match(text, position)
        if part is None:
            break
        position = part.end()
    else:
        if position < len(text):
            return position
    raise _refused("its document type is damaged")


def _refused(why: str) -> UnreadableDocument:
    return UnreadableDocument(
        f"The XML was not read, for {why}. Save it without a document type, with its entities put in.",
        code="xml_entities",
    )
