"""HTML: what a reader of the page would see, as blocks.

Nothing is fetched, and no script or style comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from services.content import DocumentInfo, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.decoding import decode_text
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.web.tree import Element, TreeReader

_META_CHARSET = re.compile(rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.I)
_XML_ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{2,40})", re.I)
_CHARSET_WITHIN = 4096
"""Source: HTML Living Standard, 13.2.3.2, asks for the first 1,024 bytes; real pages are less tidy."""

MAX_DEPTH = 256
"""Elements inside each other. Source: what libxml2's HTML parser allows unless it is told to take huge pages."""

MAX_ATTRIBUTES = 1000
"""Of one element: libxml2 2.14 takes time in their square, 1.8 s for 40,000; people write some ten."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


def extract_html(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page. Raises UnreadableDocument (`nesting_too_deep`, `too_many_attributes`, `unreadable_html`)."""
    data = upload.path.read_bytes()
    text, _ = decode_text(data, declared_charset(data))
    del data
    page = PageBuilder(1)
    root = parse_html(text)
    if root is None:
        yield DocumentInfo()
        yield from give_pages([page.build()], context)
        return
    reader = TreeReader(page)
    reader.read(root)
    yield describe_html(root)
    if wants_pictures(1, context):
        writer = PictureWriter(context)
        for picture in reader.pictures:
            yield from writer.write_data_uri(picture.source, page=1, alt=picture.alt, caption=picture.caption)
        yield from writer.close()
    yield from give_pages([page.build()], context)


def declared_charset(data: bytes) -> str:
    """The encoding that a page names in its beginning, as it is written there.

    Empty without one.
    """
    start = data[:_CHARSET_WITHIN]
    declared = _META_CHARSET.search(start) or _XML_ENCODING.match(start)
    return declared.group(1).decode("ascii") if declared else ""


def parse_html(text: str) -> Element | None:
    """The root element; None where there is none. Raises UnreadableDocument."""
    from lxml import etree
    from lxml import html as lxml_html

    if not text.strip():
        return None
    data = text.encode("utf-8")
    # `huge_tree` only lifts the bound of 10 MB on one text or attribute, which a picture in an address may pass.
    settings: dict[str, Any] = {
        "encoding": "utf-8", "huge_tree": True, "no_network": True, "remove_comments": True, "remove_pis": True,
    }  # fmt: skip
    with suppress(etree.LxmlError):  # the same error comes again below
        etree.fromstring(data, etree.HTMLParser(target=_Bounds(), **settings))
    try:
        root = lxml_html.document_fromstring(data, parser=lxml_html.HTMLParser(**settings))
    except etree.ParserError:
        return None
    except etree.LxmlError as error:
        raise UnreadableDocument(
            "The HTML cannot be parsed. Save the page anew and upload it again.", code="unreadable_html"
        ) from error
    return root


class _Bounds:
    """Sees the elements of a page as they are parsed, before a tree is made of them."""

    def __init__(self) -> None:
        self._depth = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Raises UnreadableDocument."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableDocument(
                f"The page nests its elements more than {MAX_DEPTH} deep, which no browser's page does. It was not "
                "read.",
                code="nesting_too_deep",
            )
        if len(attributes) > MAX_ATTRIBUTES:
            raise UnreadableDocument(
                f"An element of the page has more than {MAX_ATTRIBUTES:,} attributes, which nobody writes. It was not "
                "read.",
                code="too_many_attributes",
            )

    def end(self, tag: str) -> None:
        self._depth -= 1

    def close(self) -> None:
        """Called at the end of the page."""


def describe_html(root: Element) -> DocumentInfo:
    """What the page says of itself: title, author and language."""
    title = one_line(next((e.text_content() for e in root.iter("title")), ""))
    named: dict[str, str] = {}
    for meta in root.iter("meta"):
        name = (meta.get("name") or meta.get("property") or "").lower()
        named.setdefault(name, one_line(meta.get("content") or ""))
    if not title:
        title = named.get("og:title", "") or one_line(next((e.text_content() for e in root.iter("h1")), ""))
    language = (root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang") or "").strip()
    return DocumentInfo(
        title=title[:500],
        author=(named.get("author") or named.get("dc.creator") or "")[:500],
        language=language if _LANGUAGE.fullmatch(language) else "",
    )
