"""Reads a PDF's bookmarks and its structure tree.

The tree gives the roles of text and alternative texts.
"""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pypdfium2

MAX_BOOKMARKS = 20_000
MAX_ELEMENTS = 20_000
"""Elements of the structure tree looked at on one page; a dense table has a few thousand."""

MAX_TAG_DEPTH = 100
MAX_ALT_CHARS = 1000

_HEADING = re.compile(r"H([1-6])")
_NOT_WORD = re.compile(r"[\W_]+")
_SECTION_NUMBER = re.compile(
    r"^\s*(?:chapter|kapitel|chapitre|section|appendix|part)?\s*[\dA-Z]{0,3}(?:\.\d+)*[.:)]?\s+"
)


@dataclass(slots=True)
class PageTags:
    """By marked-content id: the role of text (`H1` to `H6`, `Caption`, `Note`, `Code`), and a figure's other text."""

    roles: dict[int, str] = field(default_factory=dict)
    alts: dict[int, str] = field(default_factory=dict)


def read_outline(document: pypdfium2.PdfDocument) -> Mapping[int, Mapping[str, int]]:
    """Levels 1 to 6 of the bookmarks by page number and by `title_key` of their titles."""
    import pypdfium2

    outline: dict[int, dict[str, int]] = {}
    try:
        for mark in itertools.islice(document.get_toc(max_depth=6), MAX_BOOKMARKS):
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            key = title_key(mark.get_title())
            if index is not None and index >= 0 and key:
                outline.setdefault(index + 1, {}).setdefault(key, mark.level + 1)
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        return outline
    return outline


def title_key(text: str) -> str:
    """`text` as it is compared with bookmarks: letters and digits only, without the number of a section."""
    bare = _SECTION_NUMBER.sub("", text, count=1)
    return _NOT_WORD.sub("", (bare or text).casefold())[:200]


def read_tags(page: pypdfium2.PdfPage) -> PageTags:
    """The roles and alternative texts that the structure tree gives to the content of `page`."""
    from pypdfium2 import raw

    tags = PageTags()
    tree = raw.FPDF_StructTree_GetForPage(page)
    if not tree:
        return tags
    try:
        count = raw.FPDF_StructTree_CountChildren(tree)
        stack = [(raw.FPDF_StructTree_GetChildAtIndex(tree, i), "", "", 0) for i in range(min(count, MAX_ELEMENTS))]
        stack.reverse()
        for _ in range(MAX_ELEMENTS):
            if not stack:
                break
            element, role, alt, depth = stack.pop()
            if not element:
                continue
            kind = _string(raw.FPDF_StructElement_GetType, element)
            if _HEADING.fullmatch(kind) or kind in ("Caption", "Note", "FENote", "Code"):
                role = "Note" if kind == "FENote" else kind
            elif kind in ("H", "Title"):
                role = "H1"
            if kind in ("Figure", "Formula"):
                alt = _string(raw.FPDF_StructElement_GetAltText, element) or alt
            if role or alt:
                _note_content(raw, element, role, alt, tags)
            if depth < MAX_TAG_DEPTH:
                children = min(raw.FPDF_StructElement_CountChildren(element), MAX_ELEMENTS)
                stack.extend(
                    (raw.FPDF_StructElement_GetChildAtIndex(element, i), role, alt, depth + 1)
                    for i in range(children - 1, -1, -1)
                )
    finally:
        raw.FPDF_StructTree_Close(tree)
    return tags


def _note_content(raw: Any, element: Any, role: str, alt: str, tags: PageTags) -> None:
    for index in range(min(max(0, raw.FPDF_StructElement_GetMarkedContentIdCount(element)), MAX_ELEMENTS)):
        content = raw.FPDF_StructElement_GetMarkedContentIdAtIndex(element, index)
        if content < 0:
            continue
        if role:
            tags.roles.setdefault(content, role)
        if alt:
            tags.alts.setdefault(content, " ".join(alt.split())[:MAX_ALT_CHARS])


def _string(get: Callable[..., int], element: Any) -> str:
    """A string of the structure tree, of at most some thousand characters."""
    size = get(element, None, 0)
    if not 2 < size <= 1 << 16:
        return ""
    buffer = ctypes.create_string_buffer(size)
    get(element, buffer, size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace")
