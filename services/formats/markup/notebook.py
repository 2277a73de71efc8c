"""Reads Jupyter notebooks.

Prose cells are Markdown, code cells code, with what they printed and their pictures.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.content import BlockKind, DocumentInfo, Issue, Page, Part, Picture, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.decoding import clean_text, decode_text
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.markup.markdown import MarkdownReader

PAGE_CHARS = 1_000_000
"""A page is closed at the first cell beyond this, as for JSON."""

_MAX_OUTPUT_CHARS = 100_000
"""Of what one cell printed; the rest is left out with an Issue. Source: Jupyter itself cuts off after some thousand
lines; what is longer is a log."""

_PICTURES = ("image/png", "image/jpeg")
_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]|\[(?:\d{1,2}(?:;\d{1,3}){0,4})m")
_ATTACHMENT = re.compile(r"!\[([^\]\n]{0,500})\]\(attachment:([^)\s]{1,300})\)")

Json = Mapping[str, Any]


def extract_notebook(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """Parts of a notebook of the formats 3 and 4 (nbformat's schemas). Nothing is run.

    Raises UnreadableDocument: `malformed_json`, `malformed_notebook`, `nesting_too_deep`.
    """
    text, _ = decode_text(upload.path.read_bytes())
    try:
        notebook = json.loads(text)
    except RecursionError as error:
        raise UnreadableDocument(
            "The notebook nests its values too deep. It was not read.", code="nesting_too_deep"
        ) from error
    except ValueError as error:
        raise UnreadableDocument(
            f"The notebook is damaged: {error}. Save it again in Jupyter and upload it.", code="malformed_json"
        ) from error
    del text
    cells = _cells(notebook)
    metadata = _object(notebook.get("metadata"))
    language = _language(metadata)
    reader = _NotebookReader(language, context)
    for cell in cells:
        reader.read(_object(cell))
    pages = reader.finish()
    check_page_count(len(pages), context.limits)
    authors = metadata.get("authors")
    names = [_text(_object(author).get("name")) for author in authors] if isinstance(authors, list) else []
    yield DocumentInfo(
        title=(one_line(_text(metadata.get("title"))) or reader.title)[:500],
        author=", ".join(name for name in names if name)[:500],
        page_count=len(pages),
    )
    yield from reader.issues
    for page in pages:
        if wants_pictures(page.number, context):
            yield from reader.pictures(page.number)
        yield from give_pages([page], context)


def _cells(notebook: Any) -> list[Any]:
    if isinstance(notebook, Mapping):
        cells = notebook.get("cells")
        if isinstance(cells, list):
            return cells
        sheets = notebook.get("worksheets")
        if isinstance(sheets, list):
            return [cell for sheet in sheets for cell in _list(_object(sheet).get("cells"))]
    raise UnreadableDocument(
        "The notebook has no cells. Save it again in Jupyter and upload it.", code="malformed_notebook"
    )


def _language(metadata: Json) -> str:
    for part in ("language_info", "kernelspec"):
        found = _object(metadata.get(part))
        name = _text(found.get("name") if part == "language_info" else found.get("language"))
        if name:
            return re.sub(r"[^\w+#.-]", "", name)[:32]
    return ""


class _NotebookReader:
    def __init__(self, language: str, context: ExtractContext) -> None:
        self.issues: list[Issue] = []
        self.title = ""
        self._language = language
        self._writer = PictureWriter(context)
        self._page = PageBuilder(1)
        self._markdown = MarkdownReader(self._page, self.issues)
        self._pages: list[Page] = []
        self._found: list[tuple[int, str, str]] = []

    def read(self, cell: Json) -> None:
        """Appends what a cell holds."""
        if self._page.chars >= PAGE_CHARS:
            self._pages.append(self._page.build())
            self._page = PageBuilder(self._page.number + 1)
            self._markdown = MarkdownReader(self._page, self.issues)
        source = _text(cell.get("source", cell.get("input")))
        match cell.get("cell_type"):
            case "markdown":
                self._prose(source, _object(cell.get("attachments")))
            case "heading":  # of format 3
                level = cell.get("level")
                self._page.add(
                    BlockKind.HEADING,
                    one_line(source),
                    level=level if isinstance(level, int) and 1 <= level <= 6 else 1,
                )
            case "code":
                named = _text(cell.get("language"))
                self._page.add(BlockKind.CODE, source, language=(named or self._language)[:32])
                for output in _list(cell.get("outputs")):
                    self._output(_object(output))
            case _:
                self._page.add(BlockKind.CODE, source)

    def finish(self) -> list[Page]:
        """All pages."""
        if not self._page.is_empty or not self._pages:
            self._pages.append(self._page.build())
        return self._pages

    def pictures(self, number: int) -> Iterator[Picture | Issue]:
        """The pictures that cells of page `number` show."""
        for page, encoded, alt in self._found:
            if page == number:
                try:
                    data = base64.b64decode(encoded, validate=False)
                except (binascii.Error, ValueError):
                    yield Issue("picture_unreadable", "A picture of the notebook could not be read.", number)
                    continue
                yield from self._writer.write(data, page=number, alt=alt)

    def _prose(self, source: str, attachments: Json) -> None:
        for alt, name in _ATTACHMENT.findall(source):
            self._keep(_object(attachments.get(name)), alt)
        self._markdown.read(_ATTACHMENT.sub(r"\1", source))
        self.title = self.title or self._markdown.first_heading

    def _output(self, output: Json) -> None:
        kind = output.get("output_type")
        if kind == "stream":
            self._print(_text(output.get("text")))
        elif kind in ("error", "pyerr"):
            self._print(f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}")
        else:
            # Format 3 has the representations in the output itself, under short names.
            data = _object(output.get("data")) or {
                "text/plain": output.get("text"), "text/html": output.get("html"), "image/png": output.get("png"),
                "image/jpeg": output.get("jpeg"),
            }  # fmt: skip
            self._show(data)

    def _show(self, data: Json) -> None:
        """Writes the richest of the representations that is read."""
        if self._keep(data, ""):
            return
        page = _text(data.get("text/html"))
        if "<table" in page.lower() and self._html(page):
            return
        prose = _text(data.get("text/markdown"))
        if prose:
            self._markdown.read(prose)
        else:
            self._print(_text(data.get("text/plain")))

    def _html(self, source: str) -> bool:
        from services.formats.web.html import parse_html
        from services.formats.web.tree import read_tree

        try:
            root = parse_html(source[:_MAX_OUTPUT_CHARS])
        except UnreadableDocument:
            return False
        if root is None:
            return False
        read_tree(root, self._page)
        return True

    def _print(self, text: str) -> None:
        if len(text) > _MAX_OUTPUT_CHARS:
            self.issues.append(
                Issue(
                    "output_cut",
                    f"What a cell printed was cut off after {_MAX_OUTPUT_CHARS:,} of {len(text):,} characters.",
                    self._page.number,
                )
            )
            text = text[:_MAX_OUTPUT_CHARS]
        self._page.add(BlockKind.CODE, clean_text(_ANSI.sub("", text)))

    def _keep(self, data: Json, alt: str) -> bool:
        for media_type in _PICTURES:
            encoded = _text(data.get(media_type))
            if encoded:
                self._found.append((self._page.number, encoded, alt))
                return True
        return False


def _text(value: Any) -> str:
    """A string, which notebooks may hold as a list of its lines."""
    if isinstance(value, str):
        return value
    return "".join(line for line in value if isinstance(line, str)) if isinstance(value, list) else ""


def _object(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
